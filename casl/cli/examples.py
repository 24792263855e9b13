"""Examples of every verb, for --help and docs/cli.md. A test parses each of them."""

from __future__ import annotations

from collections.abc import Sequence

Example = tuple[str, str]

EXAMPLES: dict[str, Sequence[Example]] = {
    "casl": (
        ("casl plan table4", "count what Table 4 would take"),
        ("casl run table4 --profile smoke", "run it, in a minute or two"),
        ("casl report table4 --profile smoke", "write reports/smoke/table4.*"),
        ("casl doctor", "what is missing on this machine"),
    ),
    "casl plan": (
        ("casl plan table4", "stages and iterations, and what sharing saves"),
        ("casl plan table4 --why", "why each stage has to run"),
        ("casl plan all --profile paper --rate 4", "device-hours of everything, at 4 iterations a second"),
        ("casl plan all --profile paper --probe", "the same, after a few steps of every detector on this machine"),
        ("casl plan table4 --json", "for scripts"),
        ("casl plan ./mine.py", "an ablation of yours, see docs/extend.md"),
    ),
    "casl run": (
        ("casl run table4", "what is missing, in the profile `mini`"),
        ("casl run table4 --profile smoke --dry-run", "say what would run, and stop"),
        ("casl run table7 --seeds 3 --data path/to/set", "your data, three repetitions of every training"),
        ("casl run all --gpus 0,1 --per-gpu 2", "two stages at once on each of two GPUs"),
        ('casl run table4 --cell "F 3x" "W 5x"', "only what one cell needs"),
        ('casl run rivals --row CA-SSL --row STAC --row "no warmup, as long"', "only what these rows need"),
        ("casl run table4 --set warmup.threshold=0.4", "with another value in every chain that has it"),
        ("casl run table10 --provider detectron2", "its RetinaNet, R-CNNs and PanopticFPN: docs/detectron2.md"),
        (
            "casl run claims --until decided --budget 3h",
            "one seed more where a verdict on a claim is open, again and again",
        ),
        ("casl run table4 --launcher inline", "all in this process, for a debugger"),
    ),
    "casl sync": (
        ("casl sync table4", "send what MLflow missed"),
        ("casl sync all --mlflow http://127.0.0.1:5000", "to a server"),
    ),
    "casl report": (
        ("casl report table4", "reports/mini/table4.html, .md, .csv, .json, .tex, .png, .svg"),
        ("casl report all --seeds 3", "all ten tables; index.html and claims follow any that is written"),
        ("casl report all --seeds 3 --as-measured", "tables that lack a seed with those that are complete"),
        ("casl report table4 --data path/to/set --reports mine", "into another folder"),
        ("casl report table2 --data path/to/set --paper", "your data, with the paper's numbers beside yours"),
        ("casl report table2 --per-class", "also classes-table2.*: AP of each class, with a heat map"),
        ("casl report table2 --errors", "also errors-table2.*: what kinds of errors cost how much AP"),
        ("casl report table4 --curves", "also curves-table4.*: the loss of every training behind the table"),
        ("casl report all --seeds 3 --publish", "for maintainers: reports/published/mini, without links to runs"),
    ),
    "casl costs": (
        ("casl costs table2", "parameters and multiply-adds of the detectors of Table 2"),
        ("casl costs all --profile paper --json", "of all ten tables at the paper's size, as JSON"),
        ("casl costs table2 --measure 20 --device cuda", "also images a second on this GPU"),
    ),
    "casl reproduce": (
        ('casl reproduce reports/published/mini/table4.json "F 1x" "W 1x"', "one chain of stages, then both numbers"),
        (
            "casl reproduce reports/published/mini/rivals.json CA-SSL 'AP^det' --seed 1",
            "of the rivals, this repetition",
        ),
    ),
    "casl show": (
        ("casl show warmup-48a4", "by the beginning of its name"),
        ("casl show 48a4", "or of its key"),
        ("casl show 48a4 --json", "all that is known, for scripts"),
    ),
    "casl label": (
        ("casl label photos/ --model labeler-48a4", "labels.json, COCO's format with scores"),
        ("casl label photos/ --model models:/casl-mini-scenes-labeler@default --format yolo --out set", "for YOLO"),
        ("casl label photos/ --model labeler-48a4 --format voc --threshold 0.5 --out voc", "Pascal VOC, another delta"),
    ),
    "casl convert": (
        ("casl convert warmup-48a4 --to detectron2 --into mask_rcnn", "what a stock Mask R-CNN can start from"),
        ("casl convert finetune-48a4 --to torchvision -o fcos.pth", "a whole FCOS of torchvision's"),
        ("casl convert model_final.pth --from detectron2 --backbone resnet50", "and what it lacks for us"),
        ("casl convert finetune-48a4 --to onnx -o fcos.onnx", "a detector that onnxruntime runs, compared with torch"),
        ("casl convert pseudolabel-48a4 --to coco", "the labels of a stage, with their scores"),
        ("casl convert swin_t.pth --from timm --backbone swin_t -o weights/swin_t.safetensors", "a backbone"),
    ),
    "casl data": (("casl data check path/to/set", "before anything is trained"),),
    "casl data check": (
        ("casl data check path/to/set", "errors and warnings, then counts; exit code 1 with errors"),
        ("casl data check path/to/set --json", "all of it for a program: every table, and why it cannot run"),
    ),
    "casl data prepare": (
        ("casl data prepare coco coco/ --out set", "labeled, val and the tiny scale"),
        ("casl data prepare openimages open-images/ --out set", "adds the base scale"),
        ("casl data prepare places places365/ --out set", "adds small and large"),
    ),
    "casl data import": (
        ("casl data import export/ --out set", "a tenth labeled, a fifth of all for val, the rest unlabeled"),
        ("casl data import export/ --out set --unlabeled photos/", "all labels, and photos without any"),
        ("casl data import export/ --out set --labeled 5% --val 200 --seed 1 --fold 2", "as you say"),
        ("casl data import brush/ --out set --crowds-are-objects", "masks that were drawn with CVAT's brush"),
    ),
    "casl data split": (
        ("casl data split set --out set5 --labeled 5%", "fewer labels, the same val"),
        ("casl data split set --out all --protocol", "1, 2, 5 and 10 % in five folds, 20 sets"),
    ),
    "casl data scenes": (
        ("casl data scenes scenes", "the built-in set as COCO files, to look at"),
        ("casl data scenes scenes --labeled 1000 --unlabeled 2000 --val 200 --size 128", "a larger one"),
    ),
    "casl score": (
        ("casl score --gt instances_val.json --dt results.json --metric ap_det", "boxes"),
        ("casl score --gt panoptic_val.json --dt panoptic.json --metric pq", "PNG folders are those beside the files"),
    ),
    "casl store": (("casl store ls", "what is there"), ("casl store gc", "what no study needs")),
    "casl store ls": (
        ("casl store ls --sort size", "the largest last"),
        ("casl store ls --kind warmup --kind finetune --status failed", "some only"),
    ),
    "casl store explain": (("casl store explain warmup-48a4", "fields, relatives, files, and whether it would run"),),
    "casl store verify": (("casl store verify --quarantine", "move what is damaged aside, to be computed again"),),
    "casl store gc": (
        ("casl store gc", "list only, with the studies that results are kept for"),
        ("casl store gc --forget table4-smoke-scenes-1", "what would go if nothing were kept for that study"),
        ("casl store gc --leftovers --yes", "remove"),
    ),
    "casl store export": (
        ("casl store export finetune-48a4 -o best.tar", "with all that it was made from"),
        ("casl store export --tables rivals --seeds 2 --numbers -o two-seeds.tar", "numbers to add a third seed to"),
    ),
    "casl store import": (("casl store import best.tar --store other", "checksums are verified"),),
    "casl doctor": (
        ("casl doctor", "what is missing on this machine, and what to do"),
        ("casl doctor --data path/to/set --mlflow http://127.0.0.1:5000", "also a data set and a server"),
        ("casl doctor --json", "for scripts; exit code 1 if something needed is broken"),
    ),
    "casl complete": (
        ("casl complete bash", 'eval "$(casl complete bash)" in ~/.bashrc'),
        ("casl complete zsh", 'eval "$(casl complete zsh)" in ~/.zshrc, after compinit'),
        ("casl complete fish", "casl complete fish | source, in ~/.config/fish/config.fish"),
    ),
}


def examples_of(prog: str) -> str:
    """The examples of a verb as they stand under its --help; empty if it has none here."""
    known = EXAMPLES.get(prog, ())
    width = max((len(command) for command, _ in known), default=0)
    return "\n".join(["examples:", *(f"  {c:{width}}   {what}" for c, what in known)]) if known else ""
