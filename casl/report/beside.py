"""What the pages beside a table share: those on its classes, on kinds of errors and on its trainings."""

from __future__ import annotations

from collections.abc import Callable

from casl.report import blocks, html, markdown
from casl.report.canvas import Drawing
from casl.report.table import Table
from casl.report.written import Contents, suffixed


def links_above(table: Table) -> tuple[blocks.Link, blocks.Link]:
    """To all tables, and to the table itself."""
    return blocks.ALL_TABLES, blocks.Link(table.title, f"{table.name}.html")


def contents(name: str, page: Callable[[str | bytes], blocks.Page], image: Drawing, record: str = "") -> Contents:
    """A page with its picture, by file name.

    Args:
        name: of the files, without a suffix.
        page: makes the page around a picture, which is as in blocks.Picture.
        record: the JSON, where that is to be written too.
    """
    made: dict[str, str | bytes] = {
        "md": markdown.write(page(f"{name}.png")),
        "html": html.write(page(image.svg)),
        **({"json": record} if record else {}),
        "png": image.png,
        "svg": image.svg,
    }
    return suffixed(name, made)
