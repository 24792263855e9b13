"""Pages and pictures of shipped reports anew, from the JSON beside them: `python -m casl.report.again FOLDER...`.

For changes of how they look. Numbers are read, not made: JSON and CSV stay as they are. What follows from the numbers,
verdicts on claims and the answer of a search, is told anew, on pages and in pictures; what is older than the code says
so on both. Training curves and the story need the store and stay.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from casl.files import read_json
from casl.report import error_kinds, labels, markdown, per_class, search_pages
from casl.report.canvas import Drawing
from casl.report.claims import registered
from casl.report.figure import drawing
from casl.report.index import refresh_index
from casl.report.latex import to_latex
from casl.report.recall import RecallLine
from casl.report.render import others_of
from casl.report.setting import Setting
from casl.report.stored import read_table, stored_tables
from casl.report.table import Table
from casl.report.table_page import to_html, to_markdown
from casl.report.today import Today, of_folder
from casl.report.written import Contents, write_files
from casl.spec.search import SEARCHES


def write_again(folder: Path, *, pictures: bool = True) -> list[Path]:
    """The pages of every table of a folder, of its labels and searches, with their pictures, then index and claims.

    Args:
        pictures: whether pictures are drawn anew too; else those that are there stay.

    Raises:
        DataError: a table cannot be read.
        StoreError: the folder cannot be written.
    """
    written: list[Path] = []

    def read() -> list[Table]:
        return stored_tables(folder, lambda _: Path(), lambda _: None)[0]

    setting = Setting(today=of_folder(folder, read()))
    for path in sorted(folder.glob("*.json")):
        if "cells" in (record := read_json(path)):
            table = read_table(path)
            for contents in _of_table(table, record, folder, setting, pictures=pictures):
                written += write_files(folder, contents)
    for contents in _records(folder, setting.today, pictures=pictures):
        written += write_files(folder, contents)
    return written + refresh_index(registered(), folder, read, setting=setting)


def _of_table(
    table: Table, record: Mapping[str, Any], folder: Path, setting: Setting, *, pictures: bool
) -> list[Contents]:
    """The page of a table, and those on its errors and classes that are there."""
    said = setting.today.of_table(table)
    older = setting.today.on_picture(said)
    image = _image(folder, table.name, partial(drawing, table, older), anew=pictures)
    lines = [RecallLine(**line) for line in record.get("recall", ())]
    made: list[Contents] = [
        {
            f"{table.name}.html": to_html(table, image.svg, lines, others_of(table, folder), setting),
            f"{table.name}.md": to_markdown(table, lines, setting),
            f"{table.name}.tex": to_latex(table),
            f"{table.name}.png": image.png,
            f"{table.name}.svg": image.svg,
        }
    ]
    name = error_kinds.errors_name(table)
    if (path := folder / f"{name}.json").is_file():
        errors = error_kinds.read_errors(read_json(path), table)
        image = _image(folder, name, partial(error_kinds.drawing, errors, older), anew=pictures)
        made.append(error_kinds.contents(errors, image, said))
    name = per_class.classes_name(table)
    if (path := folder / f"{name}.json").is_file():
        classes = per_class.read_classes(read_json(path), table)
        image = _image(folder, name, partial(per_class.drawing, classes, older), anew=pictures)
        made.append(per_class.contents(classes, image, said))
    return made


def _image(folder: Path, name: str, draw: Callable[[], Drawing], *, anew: bool) -> Drawing:
    """A picture as it lies there, or drawn: where that is wanted, and where a file of it is gone."""
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    if anew or not (png.is_file() and svg.is_file()):
        return draw()
    return Drawing(png.read_bytes(), svg.read_bytes())


def _records(folder: Path, today: Today, *, pictures: bool) -> list[Contents]:
    """The pages on the quality of labels and of searches, which say what follows from the numbers beside them."""
    made: list[Contents] = []
    for path in folder.glob(f"{labels.NAME}.json"):
        record, said = read_json(path), today.of_record(path)
        found, small = labels.read_labels(record), bool(record["warning"])
        contents: dict[str, str | bytes] = {f"{path.stem}.md": markdown.write(labels.page(found, small, said))}
        if pictures or not path.with_suffix(".png").is_file():
            contents[f"{path.stem}.png"] = labels.picture(found, small, today.on_picture(said))
        made.append(contents)
    for path in sorted(folder.glob(f"{SEARCHES}*.json")):
        search, said = search_pages.read_search(read_json(path)), today.of_record(path)
        older = today.on_picture(said)
        image = _image(folder, path.stem, partial(search_pages.drawing, search, older), anew=pictures)
        texts = search_pages.texts(search, image.svg, {}, "", said)
        made.append({**texts, f"{path.stem}.png": image.png, f"{path.stem}.svg": image.svg})
    return made


def main(folders: Sequence[str]) -> None:
    """Write all folders again and print their pages."""
    for folder in folders:
        print("\n".join(map(str, write_again(Path(folder)))))


if __name__ == "__main__":
    main(sys.argv[1:])
