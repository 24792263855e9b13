"""What CA-SSL (ECCV 2022) claims, each sentence as comparisons between cells of its tables.

`casl report` judges them by the measured cells and writes claims.html, claims.md and claims.json beside the tables.
"""

from __future__ import annotations

from functools import partial

from ablations import confusable, finetune_length, forgetting, fractions, rivals, strength
from ablations.controls import LONG, STRONG_LONG
from casl.spec.claim import Claim, Gap, Place, Term, highest, rising

PSEUDO = ("Objects (P, S)", "Objects (P, A)", "Entities (P, A)")
RIVALS = (
    "MoCo-v2, 1.28M, R-50-FPN",
    "DenseCL, 1.28M, R-50-FPN",
    "DetCo, 1.28M, R-50 Mask R-CNN",
    "DetCon, 1.28M, R-50-FPN",
    "PreDet, 50.00M, R-50 Mask R-CNN",
    "Proposal learning, 0.12M, R-50-FPN",
    "STAC, 0.12M, R-50-FPN",
    "Self-training, 2.90M, R-50-FPN (SimCLR)",
    "Soft Teacher, 1.74M, Swin-T FCOS",
    "Soft Teacher, 3.66M, Swin-L HTC++",
)
# row of Table 10 -> metric and figure
FRAMEWORKS = {
    "FCOS (E)": ("ap_det", "AP"),
    "RetinaNet (P)": ("ap_det", "AP"),
    "FPN (P)": ("ap_det", "AP"),
    "CondInst (E)": ("ap_seg", "AP"),
    "Mask R-CNN (P)": ("ap_seg", "AP"),
    "CondInst entity (E)": ("ap_e_mask", "AP"),
    "Mask R-CNN keypoint (P)": ("ap_point", "AP"),
    "PanopticFPN (P)": ("pq", "PQ"),
}

# id, better and worse row of the table `rivals`, whose methods train as long on the same images, and question
AS_LONG = (
    (
        "beats-length-with-strong-augmentation",
        rivals.OURS,
        STRONG_LONG,
        "With as many iterations, does CA-SSL beat strong augmentation alone?",
    ),
    ("beats-length-when-finetuned-longer", rivals.OURS_LATE, STRONG_LONG, ""),
    ("is-better-when-finetuned-longer", rivals.OURS_LATE, rivals.OURS, ""),
    ("beats-stac-as-long", rivals.OURS, rivals.STAC, "With as many iterations, does CA-SSL beat STAC?"),
    ("beats-self-training-as-long", rivals.OURS, rivals.SELF, ""),
    (
        "beats-soft-teacher-as-long",
        rivals.OURS,
        rivals.SOFT,
        "With as many iterations, does CA-SSL beat Soft Teacher?",
    ),
    ("beats-unbiased-teacher-as-long", rivals.OURS, rivals.UNBIASED, ""),
    ("adds-to-soft-teacher", rivals.BOTH, rivals.SOFT, ""),
    (
        "stac-adds-to-strong-augmentation",
        rivals.STRONGLY.format(rivals.STAC),
        STRONG_LONG,
        "With strong augmentation on both sides and as many iterations, do STAC's unlabeled images help?",
    ),
)

t2 = partial(Place, "table2")
t4 = partial(Place, "table4", metric="ap_det")
t6 = partial(Place, "table6")
t9 = partial(Place, "table9", column="AP^det", metric="ap_det")


def label_loss(column: str, metric: str) -> Gap:
    """Table 1: what is lost by training on pseudo labels instead of ground truth."""
    return Gap(Place("table1", "pseudo labels", column, metric), Place("table1", "ground truth", column, metric))


def gain(row: str) -> Gap:
    """Table 8: what unlabeled images add."""
    with_them, without = (Place("table8", row, column, "ap_det") for column in ("with unlabeled", "train2017 only"))
    return Gap(with_them, without)


def as_long_as(name: str, better: str, worse: str, question: str) -> Claim:
    """Rivals: one method above another at equal length."""
    first, second = (Place("rivals", row, rivals.STUDENT, "ap_det") for row in (better, worse))
    text = f"At equal length and on the same images: {better} is above {worse}."
    source = "not in the paper: the table rivals"
    return Claim(name, text, source, better=(first,), worse=(second,), question=question)


def without_classes(side: str) -> Gap:
    """Confusable: what a finetune gains by a warmup on labels without classes instead of with them."""
    of, over = (
        Place("confusable", row, f"{side} AP^det", "ap_det") for row in (confusable.AGNOSTIC, confusable.SPECIFIC)
    )
    return Gap(of, over)


def without_after(length: int) -> Gap:
    """Finetune length: what a target finetuned for so many x gains by labels without classes instead of with them."""
    of, over = (
        Place("finetune_length", finetune_length.row_of(length), column, "ap_det")
        for column in (finetune_length.WITHOUT, finetune_length.WITH)
    )
    return Gap(of, over)


def share_gain(percent: int) -> Gap:
    """Fractions: what a warmup gains over none where so many percent of the images have labels."""
    of, over = (
        Place("fractions", fractions.row_of(percent), column, "ap_det") for column in (fractions.WARM, fractions.NONE)
    )
    return Gap(of, over)


def schedules() -> tuple[Place, list[Place]]:
    """Table 4: the paper's best place and all others."""
    places = [t4(f"F {f}x", f"W {w}x") for f in range(1, 6) for w in range(1, 6)]
    best = t4("F 3x", "W 5x")
    return best, [place for place in places if place != best]


def warmup_epochs(*lengths: int) -> list[Term]:
    return [Place("table3", f"{12 * k} ({k}x)", "AP^e", "ap_e") for k in lengths]


def scales(column: str, metric: str) -> list[Term]:
    return [Place("table7", row, column, metric) for row in ("Tiny", "Small", "Base", "Large")]


def transfers() -> Claim:
    rows = FRAMEWORKS.items()
    return Claim(
        "helps-every-framework",
        "One warmed-up model helps every framework and task: detection, instances, entities, keypoints, panoptic.",
        "Sec. 4.1, Table 10",
        better=tuple(Place("table10", row, "ours", *what) for row, what in rows),
        worse=tuple(Place("table10", row, "ImageNet", *what) for row, what in rows),
        question="After the same warmup, does every framework end above its baseline?",
    )


BEST, OTHERS = schedules()
WARMED, FINETUNED = scales("warmup AP^e", "ap_e"), scales("finetuned AP^det", "ap_det")
BACKBONES = ("R-101", "Swin-T", "Swin-S", "Swin-B", "Swin-L")
NONE, BACKBONE, NECK, HEAD, ALL = (
    t9(row) for row in ("none", "backbone", "backbone + neck", "backbone + neck + head", "all")
)
CA_SSL_BASE, CA_SSL_LARGE, CA_SSL_HTC = (
    gain(f"CA-SSL, {what}") for what in ("1.74M, Swin-T FCOS", "3.66M, Swin-T FCOS", "3.66M, Swin-L HTC++")
)

CLAIMS = (
    Claim(
        "agnostic-labels-cost-less",
        "Class-agnostic pseudo labels are closer to ground truth than class-specific ones: they cost less AP.",
        "Sec. 3.1, Table 1",
        better=(label_loss("class-agnostic", "ap_det_a"),),
        worse=(label_loss("class-specific", "ap_det"),),
    ),
    Claim(
        "warmup-helps",
        "Warming up on pseudo labels beats starting from ImageNet weights.",
        "Sec. 4.1, Table 2",
        better=(
            *(t2(row, "AP^det", "ap_det") for row in PSEUDO),
            *(t2(row, "AP^seg", "ap_seg") for row in PSEUDO[1:]),
            *(t2(row, "PQ", "pq", "PQ") for row in PSEUDO[1:]),
        ),
        worse=(
            *(t2("ImageNet", "AP^det", "ap_det") for _ in PSEUDO),
            *(t2("ImageNet", "AP^seg", "ap_seg") for _ in PSEUDO[1:]),
            *(t2("ImageNet", "PQ", "pq", "PQ") for _ in PSEUDO[1:]),
        ),
        question="With the same finetune, does a warmup beat none?",
    ),
    Claim(
        "warmup-helps-at-equal-length",
        "Warming up on pseudo labels beats training as long without it.",
        "not in the paper: the control of Tables 2 and 10",
        better=(
            *(t2(row, "AP^det", "ap_det") for row in PSEUDO),
            *(t2(row, "AP^seg", "ap_seg") for row in PSEUDO[1:]),
            *(t2(row, "PQ", "pq", "PQ") for row in PSEUDO[1:]),
            *(Place("table10", row, "ours", *what) for row, what in FRAMEWORKS.items()),
        ),
        worse=(
            *(t2(LONG, "AP^det", "ap_det") for _ in PSEUDO),
            *(t2(LONG, "AP^seg", "ap_seg") for _ in PSEUDO[1:]),
            *(t2(LONG, "PQ", "pq", "PQ") for _ in PSEUDO[1:]),
            *(Place("table10", row, LONG, *what) for row, what in FRAMEWORKS.items()),
        ),
        question="With as many iterations, does a warmup beat none?",
    ),
    Claim(
        "new-images-beat-truth",
        "Warming up on pseudo labels of new images beats warming up on ground truth of the images finetuned on.",
        "Sec. 4.1, Table 2",
        better=tuple(t2(row, "AP^det", "ap_det") for row in PSEUDO),
        worse=tuple(t2("Objects (G, A)", "AP^det", "ap_det") for _ in PSEUDO),
    ),
    Claim(
        "agnostic-beats-specific",
        "Class-agnostic beats class-specific pseudo labels.",
        "Sec. 4.1, Table 2: 48.1 against 47.1",
        better=(t2("Objects (P, A)", "AP^det", "ap_det"),),
        worse=(t2("Objects (P, S)", "AP^det", "ap_det"),),
        question="Are labels without classes the better warmup?",
    ),
    Claim(
        "entities-raise-pq",
        "Entities, with their stuff regions, raise panoptic quality over objects.",
        "Sec. 4.1, Table 2: 43.7 against 42.5",
        better=(t2("Entities (P, A)", "PQ", "pq", "PQ"),),
        worse=(t2("Objects (P, A)", "PQ", "pq", "PQ"),),
        question="Are entities better than objects for panoptic quality?",
    ),
    Claim(
        "entities-help-objects",
        "Entities help detection and instance segmentation too, though these are about objects.",
        "Sec. 3.2, Table 2",
        better=(t2("Entities (P, A)", "AP^det", "ap_det"), t2("Entities (P, A)", "AP^seg", "ap_seg")),
        worse=(t2("Objects (P, A)", "AP^det", "ap_det"), t2("Objects (P, A)", "AP^seg", "ap_seg")),
    ),
    rising(
        "longer-warmup-helps",
        "A longer warmup is better, from 12 to 48 epochs.",
        "Sec. 4.1, Table 3",
        warmup_epochs(1, 2, 3, 4),
        question="Does a longer warmup make a better warmed-up model?",
    ),
    Claim(
        "warmup-saturates",
        "The warmup saturates: 60 epochs are within 0.2 of 48 (the paper gives no margin; 0.2 is ours).",
        "Sec. 4.1, Table 3",
        better=tuple(warmup_epochs(5)),
        worse=tuple(warmup_epochs(4)),
        within=0.2,
    ),
    highest("best-schedule", "60 epochs of warmup with 36 of finetuning are best.", "Sec. 4.1, Table 4", BEST, OTHERS),
    rising(
        "better-labeler-helps",
        "A better pseudo labeler makes a better warmed-up detector.",
        "Sec. 4.1, Table 5",
        [Place("table5", "warmed-up target", backbone, "ap_e") for backbone in BACKBONES],
        question="Does a better labeler make a better warmed-up model?",
    ),
    Claim(
        "strong-augmentation-helps",
        "Strong augmentation helps in each stage alone.",
        "Sec. 4.1, Table 6",
        better=(
            t6("F weak", "W strong", "ap_e"),
            t6("F weak", "W strong", "ap_det"),
            t6("F strong", "W weak", "ap_det"),
        ),
        worse=(t6("F weak", "W weak", "ap_e"), *(t6("F weak", "W weak", "ap_det") for _ in range(2))),
        question="Does strong augmentation help, in each stage alone?",
    ),
    highest(
        "strong-in-both-is-best",
        "Strong augmentation in both stages is best.",
        "Sec. 4.1, Table 6: 49.1 against 48.2 with none",
        t6("F strong", "W strong", "ap_det"),
        [
            t6(row, column, "ap_det")
            for row, column in (("F weak", "W weak"), ("F weak", "W strong"), ("F strong", "W weak"))
        ],
    ),
    rising(
        "scale-helps-warmup",
        "More unlabeled data makes a better warmed-up model.",
        "Sec. 4.1, Table 7",
        WARMED,
        question="Do more unlabeled images make a better warmed-up model?",
    ),
    rising(
        "scale-helps-finetune",
        "More unlabeled data makes a better finetuned model.",
        "Sec. 4.1, Table 7",
        FINETUNED,
        question="Do more unlabeled images make a better target?",
    ),
    Claim(
        "warmup-foretells-finetune",
        "The warmed-up model's quality foretells the finetuned one's: both rise with every step of scale.",
        "Sec. 4.1, Table 7",
        better=(*WARMED[1:], *FINETUNED[1:]),
        worse=(*WARMED[:-1], *FINETUNED[:-1]),
        test="trend",
    ),
    Claim(
        "unlabeled-helps-strong-baseline",
        "Unlabeled images help a strong baseline: 4.0 with 1.74M, 4.7 with 3.66M.",
        "Sec. 4.1, Table 8",
        better=(CA_SSL_BASE.of, CA_SSL_LARGE.of),
        worse=(CA_SSL_BASE.over, CA_SSL_LARGE.over),
    ),
    Claim(
        "scale-does-not-saturate",
        "No saturation yet: 3.66M images add more than 1.74M.",
        "Sec. 4.1, Table 8",
        better=(CA_SSL_LARGE,),
        worse=(CA_SSL_BASE,),
    ),
    Claim(
        "helps-advanced-detector",
        "CA-SSL helps an advanced detector, HTC++ with Swin-L.",
        "Sec. 4.1, Table 8",
        better=(CA_SSL_HTC.of,),
        worse=(CA_SSL_HTC.over,),
    ),
    Claim(
        "beats-soft-teacher",
        "CA-SSL gains more than Soft Teacher with the same detector and similar unlabeled images.",
        "Sec. 4.1, Table 8",
        better=(CA_SSL_BASE, CA_SSL_HTC),
        worse=(gain(RIVALS[-2]), gain(RIVALS[-1])),
    ),
    highest(
        "beats-every-method",
        "CA-SSL gains more than any other method.",
        "Sec. 4.1, Table 8",
        CA_SSL_LARGE,
        [gain(r) for r in RIVALS],
    ),
    Claim(
        "backbone-gains-most",
        "Most of the gain comes from the backbone: it adds more than all other parts together.",
        "Sec. 4.1, Table 9",
        better=(Gap(BACKBONE, NONE),),
        worse=(Gap(ALL, BACKBONE),),
        question="Does the backbone carry most of the gain?",
    ),
    Claim(
        "neck-and-head-add",
        "Neck and head each add a smaller improvement.",
        "Sec. 4.1, Table 9",
        better=(NECK, HEAD),
        worse=(BACKBONE, NECK),
    ),
    Claim(
        "classifier-start-is-indifferent",
        "How the classifier starts makes no difference: within 0.2 (the paper says similar; 0.2 is ours).",
        "Sec. 3.1, Table 9",
        better=(ALL,),
        worse=(HEAD,),
        within=0.2,
    ),
    transfers(),
    *(as_long_as(*pair) for pair in AS_LONG),
    Claim(
        "gains-more-with-fewer-labels",
        "The fewer labels, the more a warmup gains: at 1 and at 10 percent of the labeled images more than at 100.",
        "not in the paper: the table fractions",
        better=(share_gain(1), share_gain(10)),
        worse=(share_gain(100), share_gain(100)),
        question="Does a warmup gain more where there are fewer labels?",
    ),
    Claim(
        "truth-beats-weak-labels",
        "True boxes without classes make a better target than labels of a labeler as strong as the target.",
        "not in the paper: the table strength",
        better=(Place("strength", strength.TRUTH, strength.FINETUNED, "ap_det"),),
        worse=(Place("strength", BACKBONES[0], strength.FINETUNED, "ap_det"),),
        question="Do true boxes make a better target than the weakest labels?",
    ),
    Claim(
        "agnostic-pays-when-confusable",
        "Class-agnostic labels gain more over class-specific ones where classes are easily confused.",
        "not in the paper: the table confusable",
        better=(without_classes(confusable.CONFUSABLE),),
        worse=(without_classes(confusable.STANDARD),),
        question="Do labels without classes lose less where classes are easily confused?",
    ),
    Claim(
        "slow-warmup-keeps-classes",
        "A backbone that learns at a tenth of the rate in a warmup without classes makes a better target.",
        "not in the paper: the table forgetting",
        better=(Place("forgetting", forgetting.row_of(forgetting.WITHOUT, forgetting.SLOW), "AP^det", "ap_det"),),
        worse=(Place("forgetting", forgetting.WITHOUT, "AP^det", "ap_det"),),
    ),
    Claim(
        "names-are-learned-in-time",
        "Labels without classes lose less to labels with classes after a finetune of 8x than after one of 3x.",
        "not in the paper: the table finetune_length",
        better=(without_after(8),),
        worse=(without_after(3),),
        question="Do labels without classes lose less after a longer finetune?",
    ),
)
