"""HTC++ in parts: what a cascade, masks in it, Soft-NMS and several views add, without and with a warmup (val2017).

Run:     casl run htc_8 && casl report htc_8
Expect:  nothing was published for these rows; the whole with Swin-L stands in Table 8, 58.2 without and 60.9 with a
         warmup.

The target is Table 8's other one, Swin-T, after the default warmup: backbone and neck are handed over, as to every
framework that is no FCOS. Each row adds something to the one above; the last two test the HTC of the second.
"""

from __future__ import annotations

from collections.abc import Iterator

from casl.spec import Ablation, Applied, Cell, Profile, evaluate, finetune, warmup

COLUMNS = ("no warmup", "warmup")
# Soft-NMS as HTC++ has it: linear, on all that scores more than .001. Published sizes of its test images are not known.
SOFT = Applied(suppression="linear", least=0.001)
PLUS = Applied(suppression="linear", least=0.001, scales=(0.75, 1.0, 1.25), flip=True)
CASCADE, HTC = "Cascade R-CNN", "HTC"
# row -> (detector, how it is tested)
ROWS = {
    CASCADE: ("cascade_rcnn", Applied()),
    HTC: ("htc", Applied()),
    "HTC + Soft-NMS": ("htc", SOFT),
    "HTC + Soft-NMS + multi-scale test": ("htc", PLUS),  # HTC++
}


def lacking(profile: Profile) -> str:
    """Why HTC cannot be trained on a profile's data, as a sentence; empty where it can."""
    return "" if profile.data.has_masks else f"not measured: HTC learns masks, and {profile.data.name} has boxes only"


def labels_of(profile: Profile) -> str:
    """What HTC learns: objects and stuff, or objects alone where a data set has no stuff; `branch` says so."""
    return "panoptic" if profile.data.stuff else "objects"


def branch(profile: Profile) -> str:
    """What is to be said of the semantic branch, for the note of a cell."""
    return "" if profile.data.stuff else f"without semantic branch: {profile.data.name} has no stuff"


def cells(profile: Profile) -> Iterator[Cell]:
    for row, (detector, applied) in ROWS.items():
        is_htc = detector == "htc"
        for column, init in zip(COLUMNS, (None, warmup(profile)), strict=True):
            if is_htc and (sentence := lacking(profile)):
                yield Cell(row=row, column=column, metric="ap_det", stage=None, note=sentence)
                continue
            model = finetune(profile, init, detector=detector, labels=labels_of(profile) if is_htc else None)
            said = (profile.start if init is None else "", branch(profile) if is_htc else "")
            yield Cell(
                row=row,
                column=column,
                metric="ap_det",
                stage=evaluate(profile, model, "ap_det", applied=applied),
                note="; ".join(filter(None, said)),
            )


ABLATION = Ablation(
    name="htc_8",
    title="HTC++ in parts",
    source="not in the paper; CA-SSL (ECCV 2022), Table 8 has the whole",
    cells=cells,
    rows="detector and test",
    columns="start",
    unit="row",
    figure="bars",
    baseline=COLUMNS[0],
)
