"""Table 4.5 and Figure 4.3 of the dissertation: semantic segmentation, and how much of a gain lies at boundaries.

Run:     make dissertation, or casl run pre_4_5 --seeds 3
Expect:  detection above class only in mIoU (published: 2.6 and 2.9 over ImageNet-CLS), by about as much inside the
         bands around boundaries as outside of them, whatever their width: it is not a matter of boundaries.

The map judged is that of PanopticFPN's semantic branch, which has the kinds of stuff and one class for all things, in
the place of PASCAL VOC's 21; void is not counted. A band of width 1 holds the pixels with a neighbour of another class,
and each further pixel of width adds the neighbours of the band.
"""

from __future__ import annotations

from collections.abc import Iterator

from ablations.pretraining import BOXES, CLASSES, CLS, SOURCE, absent, gain, note, starts, target
from casl.spec import Ablation, Cell, Profile, evaluate, quoted

WIDTHS = (1, 2, 3)  # pixels
COLUMNS = {"mIoU": "mIoU"} | {
    f"{side} {width} px": f"mIoU_{ending}{width}"
    for width in WIDTHS
    for side, ending in (("inside", "in"), ("outside", "out"))
}
PUBLISHED = {"DCNv1": 75.2, CLS: 75.7, "ImageNet-LOC": 78.3, "OpenImages": 78.6}
MEASURED_AS = {CLS: CLS, BOXES: "OpenImages"}
QUOTED = {
    "DCNv1": "another network with ImageNet-CLS; published only",
    "ImageNet-LOC": "casl has one source; published only",
}
OTHER_TARGET = "published for DeepLab with a deformable ResNet-101 on PASCAL VOC 2012"


def published_gain(row: str) -> float:
    """Over ImageNet-CLS."""
    return gain(PUBLISHED[row], PUBLISHED[CLS])


def cells(profile: Profile) -> Iterator[Cell]:
    for row, why in QUOTED.items():
        yield quoted(row, "mIoU", "miou", PUBLISHED[row], figure="mIoU", note=why)
    lacking = profile.lacks("miou")
    for row, start in starts(profile).items():
        paper = {"mIoU": PUBLISHED[MEASURED_AS[row]]} if row in MEASURED_AS else {}
        if lacking or isinstance(start, str):
            yield from absent(row, COLUMNS, "miou", lacking or str(start), paper)
            continue
        told = note(profile, row, start) + (f"; {OTHER_TARGET}" if paper else "")
        if row == BOXES:
            told += f", there {published_gain('OpenImages'):.1f} over {CLS}"
        stage = evaluate(profile, target(profile, row, start, "panoptic_fpn"), "miou")
        for column, figure in COLUMNS.items():
            yield Cell(row, column, "miou", stage, paper.get(column), figure, told)


ABLATION = Ablation(
    name="pre_4_5",
    title="Semantic segmentation after pre-training on classes or on boxes",
    source=f"{SOURCE}, Table 4.5 and Figure 4.3",
    cells=cells,
    rows="pre-training",
    columns="pixels",
    unit="row",
    baseline=CLASSES,
)
