"""Average precision of boxes, masks and entities, equal to pycocotools' (see casl.metrics.tables).

Every metric here is `f(gt, dt) -> {"AP", "AP50", "AP70", "AP75", "APs", "APm", "APl"}`: gt a COCO ground truth, dt a
list of COCO results, values in percent, -1.0 where nothing of that size is there to be found. AP is the mean over IoU
.50:.05:.95 and over classes; AP50, AP70 and AP75 are at one IoU; s, m and l count objects up to 32², up to 96² and
above 96² pixels. 101 recall points, at most 100 predictions an image and class, predictions on crowds neither right nor
wrong. Inputs are never changed, nothing is printed, and bad input is a DataError (see casl.metrics.results).

What is an area? It decides which of s, m and l an object belongs to, and nothing else.
    ground truth   the `area` field, as written; where absent the mask's, without mask the box's
    predictions    width x height of the box; where there is no box the mask's; in ap_e_mask always the mask's
That is `COCO.loadRes`, so ap_seg of a file with boxes and masks equals pycocotools on that file. detectron2 and the
Entity reference drop the box before they score masks; ap_e_mask does so too, and for ap_seg leave `bbox` out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from casl.metrics.matching import checked_sides
from casl.metrics.results import GroundTruth, Result
from casl.metrics.tables import precision_table, summary

SIZES = ("s", "m", "l")


def ap_det(gt: GroundTruth, dt: Sequence[Result], classes: Collection[int] | None = None) -> dict[str, float]:
    """AP^det: boxes, mean over classes, or over those with these category ids. Source: pycocotools `bbox`."""
    return _average_precision(gt, dt, masks=False, agnostic=False, classes=classes)


def ap_det_a(gt: GroundTruth, dt: Sequence[Result]) -> dict[str, float]:
    """Class-agnostic AP of boxes: all categories of both sides become one, then as ap_det.

    Classes stay on in pycocotools, there is just one of them; at most 100 predictions an image over all labels.
    """
    return _average_precision(gt, dt, masks=False, agnostic=True)


def ap_seg(gt: GroundTruth, dt: Sequence[Result]) -> dict[str, float]:
    """AP^seg: masks, mean over classes. Source: pycocotools `segm`."""
    return _average_precision(gt, dt, masks=True, agnostic=False)


def ap_seg_a(gt: GroundTruth, dt: Sequence[Result]) -> dict[str, float]:
    """Class-agnostic AP of masks: all categories of both sides become one, then as ap_seg."""
    return _average_precision(gt, dt, masks=True, agnostic=True)


def ap_e(gt: GroundTruth, dt: Sequence[Result]) -> dict[str, float]:
    """Entity AP (AP^e), box form: things and stuff are one class.

    Args:
        gt: COCO ground truth whose annotations are entities, that is every segment of a panoptic image.
        dt: COCO results; their category_id is ignored.

    Returns:
        The values of this module, percent.

    Matching, thresholds, limits and size ranges are plain COCO's; the reference changes only this:

        - ground truth has one category {id 1}, and every prediction gets category 1;
        - size buckets: the ground truth's `area` is taken from its file. Plain COCO writes the *mask* area there. The
          Entity converter writes the area of a *box* one pixel short each way, (x2 - x1)(y2 - y1) of inclusive pixel
          indices; so on its files APs, APm and APl group objects by box. A file with mask areas groups them by mask,
          and those three values then differ from the reference's on the same images;
        - boxes are compared as written. The converter's are [x1, y1, x2 - x1, y2 - y1] of inclusive indices, one pixel
          short each way, and so are its model's; plain COCO boxes are not. Ground truth and predictions of different
          conventions lose some box AP; masks do not care;
        - crowds: its converter leaves them out, so predictions on them are wrong. An annotation marked iscrowd = 1 in
          the file is still treated as COCO does;
        - overlap between predicted masks is removed by the model beforehand, not here.

    So ap_e equals ap_det_a on the same file; it has its own name because the ground truth is another one.

    Source: github.com/qqlu/Entity, modified_cocoapi (`COCO(file, class_agnostic=True)`) and entity_evaluation.py.
    """
    return ap_det_a(gt, dt)


def ap_e_mask(gt: GroundTruth, dt: Sequence[Result]) -> dict[str, float]:
    """Entity AP (AP^e), mask form: as ap_e with masks for boxes; a prediction's area is always that of its mask."""
    return _average_precision(gt, dt, masks=True, agnostic=True, mask_area=True)


def _average_precision(
    gt: GroundTruth,
    dt: Sequence[Result],
    masks: bool,
    agnostic: bool,
    mask_area: bool = False,
    classes: Collection[int] | None = None,
) -> dict[str, float]:
    truth, found = checked_sides(gt, dt, masks, agnostic, mask_area)
    known = sorted(category["id"] for category in truth["categories"])  # before they are numbered anew
    table = precision_table(truth, found, "segm" if masks else "bbox")
    if classes is not None:
        table = table[:, :, [place for place, number in enumerate(known) if number in classes]]
    return summary(table, SIZES)
