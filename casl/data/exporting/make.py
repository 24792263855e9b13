"""Which writer a format has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from casl.data.exporting.coco import CocoWriter, is_of_labels
from casl.data.exporting.voc import VocWriter
from casl.data.exporting.writer import Json, Writer
from casl.data.exporting.yolo import YoloWriter
from casl.data.importing.write import refuse_if_there
from casl.errors import SpecError, unknown
from casl.files import refuse_foreign

FORMATS: Mapping[str, type[Writer]] = {"coco": CocoWriter, "voc": VocWriter, "yolo": YoloWriter}


def writer_of(form: str, out: Path, classes: Mapping[int, str], about: Json) -> Writer:
    """The writer of a format, see `Writer`.

    Args:
        form: a key of FORMATS.
        out: of COCO a file, which is replaced if it is one of pseudo labels; of others a folder, which must be empty or
            not there.
        classes: names by category id.
        about: as Writer's; has "description".

    Raises:
        SpecError: no such format, a folder where a file is meant, or a file of something else, as an image or
            annotations of people.
        DataError: the folder is there and not empty.
    """
    if form not in FORMATS:
        raise SpecError(unknown("format of labels", form, FORMATS))
    kind = FORMATS[form]
    if kind.is_folder:
        refuse_if_there(out)
    elif out.is_dir():
        raise SpecError(f"{out} is a folder; --format {form} is one file: name it, as {out / 'labels.json'}.")
    else:
        refuse_foreign(out, is_of_labels, "file of pseudo labels")
    return kind(out, classes, about)
