"""Tables for LaTeX: each as a table environment, which needs booktabs and graphicx, and a document that has all.

LaTeX itself measures a table, which is made smaller only where it is wider than the text around it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from casl.report.blocks import typeset
from casl.report.layout import Gain, column_groups, gains, positions
from casl.report.significance import LEVEL, TEST
from casl.report.table import PUBLISHED, Table
from casl.report.wording import (
    best,
    compared_rows,
    difference_label,
    gain_label,
    has_paper,
    headline,
    missing,
    number,
    ours,
    plus_minus,
    quoted,
    together,
)

DOCUMENT = "tables.tex"
PACKAGES = (r"\usepackage{booktabs}", r"\usepackage{graphicx}")
_LONG_WORD = re.compile(r"(\S{60})\S+")
_FITTED = (  # box 0, no wider than the text around it and no taller than a page beside its caption
    r"\ifdim\wd0>\linewidth\sbox0{\resizebox{\linewidth}{!}{\usebox0}}\fi",
    r"\ifdim\dimexpr\ht0+\dp0\relax>.7\textheight\sbox0{\resizebox*{!}{.7\textheight}{\usebox0}}\fi",
    r"\usebox0",
)
_GAP = 4  # points on each side of a column
_PLAIN = re.compile(r"[\w.+-]+", re.ASCII)  # names of files that \input takes as they are
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "−": r"$-$",
    "–": r"--",
    "—": r"---",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "←": r"$\leftarrow$",
    "→": r"$\rightarrow$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "δ": r"$\delta$",
    "λ": r"$\lambda$",
    "σ": r"$\sigma$",
}


def to_latex(table: Table) -> str:
    """One booktabs table with blocks of rows: ours, the paper's, the difference; comments say what is missing.

    Gains over a baseline column stand in brackets as in the paper, those over a baseline row in blocks of their own.
    """
    return "\n".join(
        [
            f"% Needs {' and '.join(PACKAGES)}.",
            *(f"% {text}" for text in _comments(table)),
            r"\begin{table}",
            r"\centering\emergencystretch=3em",
            rf"\caption{{{_caption(table)}}}",
            rf"\label{{tab:{_label(table.name)}}}",
            rf"\setlength{{\tabcolsep}}{{{_GAP}pt}}\small",
            r"\sbox0{%",
            rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
            r"\toprule",
            *_heads(table),
            *_blocks(table),
            r"\bottomrule",
            r"\end{tabular}}%",
            *_FITTED,
            r"\end{table}",
            "",
        ]
    )


def document(names: Iterable[str]) -> str:
    """A document of its own with the tables of these names, whose files lie beside it: `pdflatex tables.tex`.

    A table whose name is not of plain letters, which LaTeX would not find, is named in a comment.
    """
    lines = []
    for name in names:
        lines += [rf"\input{{{name}}}", r"\clearpage"] if _PLAIN.fullmatch(name) else [f"% left out: {name!a}"]
    begin = ["% All tables of this folder: pdflatex tables.tex", r"\documentclass{article}", *PACKAGES]
    return "\n".join([*begin, r"\begin{document}", *lines, r"\end{document}", ""])


def _blocks(table: Table) -> list[str]:
    top, top_paper = best(table)
    found = gains(table)
    beside = found if table.baseline in table.columns else {}
    lines = _block(table, "Ours", table.rows, lambda i: _ours(table, i, top) + _beside(beside.get(i), paper=False))
    if found and not beside:
        lines += _block(table, gain_label(table), _rows_of(table, found), lambda i: _gain(found.get(i), paper=False))
    if has_paper(table):
        lines += _block(
            table, "Paper", table.rows, lambda i: _paper(table, i, top_paper) + _beside(beside.get(i), paper=True)
        )
    if has_paper(table) and found and not beside:
        head = f"{gain_label(table)}, paper"
        lines += _block(table, head, _rows_of(table, found), lambda i: _gain(found.get(i), paper=True))
    if has_paper(table) and (compared := compared_rows(table)):
        difference = difference_label(table)
        lines += _block(table, difference, compared, lambda i: _figures(number(table.cells[i].difference, signed=True)))
    return lines


def _rows_of(table: Table, found: Mapping[int, Gain]) -> list[str]:
    return [row for row in table.rows if any(table.cells[i].row == row for i in found)]


def escape(text: str) -> str:
    """Text that LaTeX shows as it is; letters beyond European ones and control characters, which stop pdflatex, become
    "?"."""
    return "".join(_SPECIAL.get(c, c if c.isprintable() and ord(c) < 0x180 else "?") for c in " ".join(text.split()))


def _heads(table: Table) -> list[str]:
    """One line of column headings, or two where columns share their first word."""
    groups = column_groups(table)
    if not any(word for word, _ in groups):
        return [_row("", [_heading(column) for column in table.columns])]
    upper, rules, lower, at = [], [], [], 2
    for word, columns in groups:
        upper.append(rf"\multicolumn{{{len(columns)}}}{{c}}{{{escape(word)}}}")
        rules += [rf"\cmidrule(lr){{{at}-{at + len(columns) - 1}}}"] if word else []
        lower += [_heading(column.removeprefix(word).strip()) for column in columns]
        at += len(columns)
    return [_row("", upper), "".join(rules), _row("", lower)]


def _block(table: Table, head: str, rows: Sequence[str], text: Callable[[int], str]) -> list[str]:
    """A heading over the whole width, then one line a row; text gives the LaTeX of one of table.cells."""
    lines = [r"\midrule", rf"\multicolumn{{{len(table.columns) + 1}}}{{l}}{{\emph{{{escape(head)}}}}} \\"]
    for row in rows:
        places = [positions(table, row, column) for column in table.columns]
        lines.append(_row(row, [together([text(i) for i in at]) for at in places]))
    return lines


def _row(heading: str, texts: list[str]) -> str:
    first = _heading(heading)
    guard = "{}" if first[:1] in ("[", "*") else ""  # which the line break before it would take for its own argument
    return f"{guard}{first} & {' & '.join(texts)} \\\\"


def _heading(text: str) -> str:
    """Raised and lowered letters as in the paper, which the kernel's own commands can do."""

    def raised(up: str, down: str) -> str:
        return rf"\textsuperscript{{{up}}}" + (rf"\textsubscript{{{down}}}" if down else "")

    return typeset(" ".join(text.split()), _spaced, raised)


def _spaced(text: str) -> str:
    """A piece of a heading, spaces at its ends kept."""
    return " " * (text[:1] == " ") + escape(text) + " " * (text[-1:] == " " and len(text) > 1)


def _ours(table: Table, i: int, top: set[int]) -> str:
    text = _figures(ours(table.cells[i], table.seeds))
    if table.cells[i].status == PUBLISHED:
        return rf"\textit{{{text}}}"
    return rf"\textbf{{{text}}}" if i in top else text


def _paper(table: Table, i: int, top: set[int]) -> str:
    text = _figures(number(table.cells[i].paper))
    return rf"\textbf{{{text}}}" if i in top else text


def _gain(gain: Gain | None, *, paper: bool) -> str:
    """The gain over the baseline; "" where there is none."""
    if gain is None:
        return ""
    if paper:
        return "" if gain.paper is None else _figures(number(gain.paper, signed=True))
    if gain.ours is None:
        return _figures(number(None))
    return _figures(number(gain.ours.value, signed=True) + plus_minus(gain.ours.half_width)) + _star(gain)


def _beside(gain: Gain | None, *, paper: bool) -> str:
    """The gain in small brackets behind its number, without its test; "" where there is none."""
    value = None if gain is None else gain.paper if paper else gain.ours.value if gain.ours else None
    if value is None:
        return ""
    return rf" {{\scriptsize({_figures(number(value, signed=True))})}}" + ("" if paper else _star(gain))


def _star(gain: Gain | None) -> str:
    significant = gain and gain.ours and gain.ours.p is not None and gain.ours.p < LEVEL
    return "$^{*}$" if significant else ""


def _figures(text: str) -> str:
    """Numbers with typographic signs."""
    return escape(text.replace("-", "−")).replace("+", "$+$")


def _comments(table: Table) -> list[str]:
    """Lines for comments; line breaks, which would end a comment, become spaces."""
    lines = [table.warning, *headline(table), *missing(table), *(f"Quoted: {line}" for line in quoted(table))]
    return [" ".join(line.split()) for line in lines if line]


def _caption(table: Table) -> str:
    axes = f"Rows: {table.row_axis}; columns: {table.column_axis}."
    if table.baseline in table.columns:
        axes += f" In brackets: the gain over {table.baseline}."
    if table.baseline and table.seeds > 1:
        axes += f" *: a gain that is significant, {TEST}."
    if table.measurable < len(table.cells):
        axes += " In italics: published figures, only quoted."
    warning = rf"\textbf{{{escape(table.warning)}.}}" if table.warning else ""
    texts = [escape(_with_short_words(text)) for text in (f"{table.title}.", axes, *headline(table))]
    return " ".join(part for part in (warning, *texts) if part)


def _with_short_words(text: str) -> str:
    """LaTeX measures a caption as one line, of at most 5.7 m: names of hundreds of letters would not fit."""
    return _LONG_WORD.sub(r"\1...", text)


def _label(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name)
