"""How Sphinx makes the site of README.md, docs/ and the docstrings: `make site`.

The same Markdown is read on a code host and here. Three things are done to it on its way into the site: the list of
pages in docs/README.md becomes the menu, the names in docs/reference.md become what their docstrings say, and links to
files that are no pages lead to copies beside the pages.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

project = "casl"
author = "the casl developers"
html_title = "casl"
root_doc = "docs/README"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
include_patterns = ["*.md", "docs/*.md", "notebooks/README.md", "benchmarks/*.md", "reports/README.md"]
exclude_patterns = [".*", "build", "casl", "dist", "notebooks/out", "reports/*/**", "store", "tests"]
html_theme = "furo"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
myst_heading_anchors = 4
suppress_warnings = [
    "ref.python"
]  # two classes are called Model, casl's and casl.spec's; signatures name the one that is meant
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
pygments_style = "friendly"
pygments_dark_style = "github-dark"

FIRST = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>casl</title>
<meta http-equiv="refresh" content="0; url={root_doc}.html">
<a href="{root_doc}.html">casl</a>
</html>
"""
PUBLISHED = ROOT / "reports" / "published"
PAGE = re.compile(r"^- \[[^]]+\]\(([^)#]+)\.md\)", re.MULTILINE)
MARKDOWN = re.compile(r"\]\(([^)#:]+)\.md")
NAME = re.compile(r"^- \[`([\w.]+)`\]\([^)]+\)$", re.MULTILINE)


def menu(text: str) -> str:
    """docs/README.md with each of its lists as a part of the menu, which the page itself does not show twice."""
    folder, trees = Path("docs"), []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        caption = section.partition("\n")[0]
        pages = [os.path.normpath(folder / page) for page in PAGE.findall(section)]
        trees.append(
            "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *(f"/{p}" for p in pages), "```"])
        )
    return "\n\n".join([text, *trees]) + "\n"


def documented(match: re.Match[str]) -> str:
    """A name of docs/reference.md as the directive that shows its signature and docstring."""
    module, _, name = match[1].rpartition(".")
    thing = getattr(importlib.import_module(module), name)
    kind = "autoclass" if inspect.isclass(thing) else "autofunction" if callable(thing) else "py:data"
    options = ["   :members:"] if kind == "autoclass" else []
    return "\n".join(["```{eval-rst}", f".. {kind}:: {match[1]}", *options, "```"])


def as_page(match: re.Match[str], page: Path) -> str:
    """A link to a report in Markdown: the site has the same report in HTML, or that file as it is."""
    report = Path(os.path.normpath(page.parent / match[1]))
    if not report.is_relative_to(PUBLISHED):
        return match[0]
    return f"]({match[1]}.html" if report.with_suffix(".html").exists() else f"](path:{match[1]}.md"


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = MARKDOWN.sub(lambda match: as_page(match, ROOT / docname), source[0])
    if docname == root_doc:
        source[0] = menu(source[0])
    if docname == "docs/reference":
        source[0] = NAME.sub(documented, source[0])


def place_of(file: Path) -> str:
    """Where the site has a file of the repository that is no page, relative to its top."""
    path = file.relative_to(ROOT)
    return str(path) if file.suffix in (".png", ".svg", ".html") else f"{path}.txt"  # text, so that browsers show it


def copy_linked(app: Sphinx, tree: nodes.document) -> None:
    """Links to files that are no pages: they lead to copies. Before Sphinx collects them as downloads, see `setup`."""
    site, page = Path(app.outdir), Path(app.env.docname).parent
    for link in list(tree.findall(addnodes.download_reference)):
        file = Path(os.path.normpath(ROOT / page / link["reftarget"]))
        place = place_of(file)
        (site / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, site / place)
        link.replace_self(nodes.reference("", "", *link.children, refuri=os.path.relpath(place, page)))


def finish(app: Sphinx, error: Exception | None) -> None:
    """What the site needs beside its pages: the shipped reports, and a first page at its top."""
    if error is None and app.builder.format == "html":
        shutil.copytree(PUBLISHED, Path(app.outdir) / "reports" / "published", dirs_exist_ok=True)
        (Path(app.outdir) / "index.html").write_text(FIRST)


def as_rst(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text: a name that ends in _ is no link, and what is indented after a colon is code."""
    text = re.sub(r"(?<![\w`])([\w.]+_)(?=[\s.,;)])", r"``\1``", "\n".join(lines))
    lines[:] = re.sub(r"(?<=\w):\n\n(?=    \S)", "::\n\n", text).split("\n")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", as_rst, priority=100)
    app.connect("doctree-read", copy_linked, priority=100)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
