"""A Table as a LaTeX table environment; the document that inputs it needs \\usepackage{booktabs} and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from casl.report.table import Table
from casl.report.wording import best, difference_label, has_paper, headline, missing, number, ours, positions

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
    """One booktabs table with blocks of rows: ours, the paper's, the difference; comments say what is missing."""
    top, top_paper = best(table)
    width = len(table.columns)
    lines = [f"% {text}" for text in _comments(table)]
    lines += [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_caption(table)}}}",
        rf"\label{{tab:{_label(table.name)}}}",
    ]
    lines += [r"\setlength{\tabcolsep}{4pt}\small", rf"\begin{{tabular}}{{l{'r' * width}}}", r"\toprule"]
    lines += [_row("", [escape(column) for column in table.columns])]
    lines += _block(table, "Ours", lambda i: _bold(ours(table.cells[i], table.seeds), i in top))
    if has_paper(table):
        lines += _block(table, "Paper", lambda i: _bold(number(table.cells[i].paper), i in top_paper))
        difference = difference_label(table)
        lines += _block(table, difference, lambda i: _figures(number(table.cells[i].difference, signed=True)))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def escape(text: str) -> str:
    """Text that LaTeX shall show as it is; letters beyond European ones, which stop pdflatex, become "?"."""
    return "".join(_SPECIAL.get(c, c if ord(c) < 0x180 else "?") for c in " ".join(text.split()))


def _block(table: Table, head: str, text: Callable[[int], str]) -> list[str]:
    """A heading over the whole width, then one line a row; text gives the LaTeX of one of table.cells."""
    lines = [r"\midrule", rf"\multicolumn{{{len(table.columns) + 1}}}{{l}}{{\emph{{{escape(head)}}}}} \\"]
    for row in table.rows:
        places = [positions(table, row, column) for column in table.columns]
        lines.append(_row(row, [" / ".join(text(i) for i in at) for at in places]))
    return lines


def _row(heading: str, texts: list[str]) -> str:
    return f"{escape(heading)} & {' & '.join(texts)} \\\\"


def _bold(text: str, bold: bool) -> str:
    return rf"\textbf{{{_figures(text)}}}" if bold else _figures(text)


def _figures(text: str) -> str:
    """Numbers with real signs."""
    return escape(text.replace("-", "−")).replace("+", "$+$")


def _comments(table: Table) -> list[str]:
    """Comments may hold anything but a line's end."""
    lines = [table.warning, *headline(table), *missing(table)]
    return [" ".join(line.split()) for line in lines if line]


def _caption(table: Table) -> str:
    axes = f"Rows: {table.row_axis}; columns: {table.column_axis}."
    warning = rf"\textbf{{{escape(table.warning)}.}}" if table.warning else ""
    return " ".join(
        part for part in (warning, escape(f"{table.title}."), escape(axes), *map(escape, headline(table))) if part
    )


def _label(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)
