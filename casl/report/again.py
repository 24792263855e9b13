"""Pages of shipped reports anew, from the JSON that lies beside them: `python -m casl.report.again FOLDER...`.

For changes of how pages look. Numbers are read, not made: JSON, CSV and pictures stay as they are; an SVG that is not
there is drawn. What follows from the numbers, verdicts on claims and the answer of a search, is told anew.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from casl import catalog
from casl.files import read_json
from casl.report import labels, markdown, search_pages
from casl.report.figure import drawing
from casl.report.index import refresh_index
from casl.report.latex import to_latex
from casl.report.recall import RecallLine
from casl.report.render import others_of
from casl.report.setting import Setting
from casl.report.stored import read_table, stored_tables
from casl.report.table import Table
from casl.report.table_page import MLFLOW, to_html, to_markdown
from casl.report.today import Today, of_folder
from casl.report.written import Contents, write_files
from casl.spec.search import SEARCHES


def write_again(folder: Path) -> list[Path]:
    """The page of every table of a folder, as HTML, Markdown and LaTeX, of labels and searches, then index and claims.

    Raises:
        DataError: a table cannot be read.
        StoreError: the folder cannot be written.
    """
    written: list[Path] = []

    def read() -> list[Table]:
        return stored_tables(folder, lambda _: Path(), lambda _: None)[0]

    setting = Setting(today=of_folder(folder.name, read()))
    for path in sorted(folder.glob("*.json")):
        record = read_json(path)
        if "cells" in record:
            table, lines = read_table(path), [RecallLine(**line) for line in record.get("recall", ())]
            drawn = path.with_suffix(".svg")
            svg = drawn.read_bytes() if drawn.is_file() else drawing(table).svg
            contents: Contents = {
                f"{table.name}.html": to_html(table, svg, MLFLOW, lines, others_of(table, folder), setting),
                f"{table.name}.md": to_markdown(table, lines, setting),
                f"{table.name}.tex": to_latex(table),
                f"{table.name}.svg": svg,
            }
            written += write_files(folder, contents)
    written += _records(folder, setting.today)
    claims = [claim for name in catalog.CLAIMS for claim in catalog.load("claims", name)]
    return written + refresh_index(claims, folder, read, "", setting=setting)


def _records(folder: Path, today: Today) -> list[Path]:
    """The pages on the quality of labels and of searches, which say what follows from the numbers beside them."""
    contents: dict[str, str | bytes] = {}
    for path in folder.glob(f"{labels.NAME}.json"):
        record = read_json(path)
        made = labels.page(labels.read_labels(record), bool(record["warning"]), today.of_record(path))
        contents[f"{labels.NAME}.md"] = markdown.write(made)
    for path in sorted(folder.glob(f"{SEARCHES}*.json")):
        search, drawn = search_pages.read_search(read_json(path)), path.with_suffix(".svg")
        svg = drawn.read_bytes() if drawn.is_file() else search_pages.drawing(search).svg
        contents |= {drawn.name: svg, **search_pages.texts(search, svg, {}, "", today.of_record(path))}
    return write_files(folder, contents)


def main(folders: Sequence[str]) -> None:
    """Write all folders again and print their pages."""
    for folder in folders:
        print("\n".join(map(str, write_again(Path(folder)))))


if __name__ == "__main__":
    main(sys.argv[1:])
