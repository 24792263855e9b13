"""Whether photographs may be shown to everyone: what the annotations of a data set say of their licences.

COCO's files have a list `licenses`, and each image names one of them by `license`. A list of one stands for all images.
A licence counts as open where everyone may pass a picture on with boxes drawn on it, for any purpose: not where it
excludes commerce or changes. Where a file names no licence, the user may state one for all images of the data set.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from casl.coco.licences import Licences
from casl.coco.reading import read_object
from casl.data.layout import MANIFEST, SplitFiles
from casl.errors import SpecError

_OPEN = re.compile(
    r"creativecommons\.org/(licenses/by(-sa)?/|publicdomain/)|flickr\.com/commons/usage|usa\.gov/"
    r"|^(cc-by(-sa)?-\d|cc0-|mit$|apache-2|bsd-[23]|pddl-)",
    re.IGNORECASE,
)
_CLOSED = re.compile(r"\bn[cd]\b|non-?commercial|no-?deriv|\bnot\b", re.IGNORECASE)


@dataclass(frozen=True)
class Terms:
    """What may be done with pictures of a data set. closed: why they may not be passed on, "" where they may.

    credit: licences of the images, and where their text is, for the page that shows them.
    """

    closed: str = ""
    credit: tuple[str, ...] = ()


def check_stated(licence: str) -> None:
    """Check what a user states of all images of a data set; "" states nothing.

    Raises:
        SpecError: it does not let everyone pass the images on, or is none that is known.
    """
    if licence and (_CLOSED.search(licence) or not any(_OPEN.search(word) for word in (licence, *licence.split()))):
        raise SpecError(
            f"--licence {licence!r}: none that is known to let everyone pass photographs on, with boxes drawn on them, "
            "for any purpose.\n  known: CC-BY-4.0 and its other versions, CC-BY-SA, CC0, MIT, Apache-2.0, BSD, PDDL, "
            "addresses of Creative Commons; `casl report` without --publish shows all photographs on this machine."
        )


def terms(files: SplitFiles, kind: str, names: Collection[str], stated: str = "") -> Terms:
    """What the annotations of a split say of some of its images.

    Args:
        kind: of annotations, as in SplitFiles.source.
        names: of the files of the images, relative to the folder of the split.
        stated: licence of the images that the file says nothing of, as `check_stated` lets it pass; "" for none.

    Raises:
        DataError: the split has no such annotations, or they cannot be read.
    """
    path = files.source(kind)
    data = {} if path.suffix == MANIFEST else read_object(path)
    known = Licences(data)
    if not known:
        return Terms(credit=(stated,)) if stated else Terms(f"{path.name} names no licence")
    of = {image["file_name"]: known.of(image) for image in data["images"]}
    credit: dict[str, None] = {}
    for name in names:
        if (licence := of.get(name)) is None:
            return Terms(f"{path.name} names no licence of {name}")
        if not any(_OPEN.search(text) for text in (licence.url, licence.name)):
            return Terms(f"the licence of {name} does not let everyone pass it on: {licence.words}")
        credit[licence.words] = None
    return Terms(credit=tuple(credit))
