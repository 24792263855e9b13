"""What all HTML pages share: one file each, no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from casl.report.heading import tagged

MLFLOW_PAGE = "http://127.0.0.1:5000"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1c1c1c; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p { margin: .2rem 0; } .warning { background: #b3261e; color: #fff; font-weight: 600; padding: .5rem .8rem;
border-radius: .3rem; margin: .6rem 0; display: inline-block; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0; }
th { font-weight: 600; padding: .3rem .7rem; text-align: left; } thead th { text-align: center; }
sup, sub { font-size: .7em; line-height: 0; } .grid tbody th { white-space: nowrap; }
.grid td { padding: .45rem .8rem; text-align: center; border: 2px solid #fff; min-width: 6.5rem; }
.grid small { display: block; font-size: .75rem; opacity: .85; } .grid td.gap { background: #eee; color: #666; }
.grid th.group { border-bottom: 2px solid #555; } .quoted, .grid td.quoted { color: #777; font-style: italic; }
.grid td.quoted { background: repeating-linear-gradient(135deg, #fff, #fff 6px, #f4f4f4 6px, #f4f4f4 12px); }
.grid b { font-size: 1.1rem; font-weight: 500; white-space: nowrap; }
.grid td.quoted b { font-size: 1rem; font-weight: 400; }
.grid .best { font-weight: 800; border: 2px solid; border-radius: .3rem; padding: 0 .35rem; }
.grid a { color: inherit; text-decoration: none; } .grid a:hover { text-decoration: underline; }
.list td, .list th { border-bottom: 1px solid #ddd; padding: .2rem .6rem; font-size: .85rem; text-align: left; }
.list td:not(:last-child) { white-space: nowrap; } .list.words td { white-space: normal; vertical-align: top; }
code { font-size: .8rem; } img { max-width: 100%; } td.n, th.n { text-align: right !important; }
.verdict { display: inline-block; border-radius: .3rem; padding: .05rem .55rem; font-weight: 600; white-space: nowrap; }
.v-supported { background: #d9efdd; color: #14532d; } .v-not-supported { background: #f8d7d3; color: #7f1d1d; }
.v-undecided { background: #fdf0cf; color: #713f12; } .v-not-run { background: #e8e8e8; color: #444; }
summary { cursor: pointer; margin: .5rem 0; }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """A whole page under its title; parts are HTML, empty ones are left out."""
    words = escape(title)
    head = f'<html lang="en"><head><meta charset="utf-8"><title>{words}</title><style>{_STYLE}</style></head><body>'
    return "\n".join(["<!DOCTYPE html>", head, f"<h1>{words}</h1>", *(p for p in parts if p), "</body></html>\n"])


def warned(warning: str) -> str:
    """The red box that a small profile's pages begin with; "" without a warning."""
    return f'<p class="warning">{escape(warning)}</p>' if warning else ""


def listed(heading: str, lines: Sequence[str]) -> str:
    """A heading and a list of lines; "" without lines."""
    items = "".join(f"<li>{tagged(line)}</li>" for line in lines)
    return f"<h2>{escape(heading)}</h2><ul>{items}</ul>" if items else ""


def run_address(mlflow_page: str, run_id: str) -> str:
    """Where MLflow shows a run, escaped for an attribute."""
    return escape(f"{mlflow_page.rstrip('/')}/#/runs/{run_id}", quote=True)


def run_link(mlflow_page: str, run_id: str | None) -> str:
    """A link to a run, or a dash."""
    return f'<a href="{run_address(mlflow_page, run_id)}">run</a>' if run_id else "–"


def rows_of(heads: Sequence[str], lines: Sequence[Sequence[str]], style: str = "list") -> str:
    """A plain table; heads are text, entries are HTML."""
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    body = ["<tr>" + "".join(f"<td>{text}</td>" for text in line) + "</tr>" for line in lines]
    return "\n".join([f'<div class="scroll"><table class="{style}">', f"<tr>{top}</tr>", *body, "</table></div>"])
