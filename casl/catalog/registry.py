"""Stage kinds, tables, profiles, launchers and the other names that are only a place."""

from __future__ import annotations

from casl.rows import Kind

AUGMENTATIONS = {
    "lsj": "casl.data.large_jitter:lsj",
    "stac": "casl.data.augment_stac:stac",
    "strong": "casl.data.augment_strong:strong",
    "strong_labeled": "casl.data.augment_strong:strong_labeled",
    "ut": "casl.data.augment_ut:ut",
    "ut_blur": "casl.data.augment_ut:ut_blur",
    "ut_colour": "casl.data.augment_ut:ut_colour",
    "weak": "casl.data.augment:weak",
}

OPTIMIZERS = {"adamw": "casl.train.optimizer:adamw", "sgd": "casl.train.optimizer:sgd"}

STAGES = {  # in the order of lists for people: data, then the method
    "folder": Kind("casl.spec.data_kinds:Folder", "casl.stages.folder:run"),
    "pretrain": Kind("casl.spec.data_kinds:Pretrain", "casl.stages.pretrain:run"),
    "contrast": Kind("casl.spec.starts:Contrast", "casl.stages.contrast:run", ("casl.spec.starts:ContrastRecipe",)),
    "scenes": Kind("casl.spec.data_kinds:Scenes", "casl.stages.scenes:run"),
    "labeler": Kind("casl.spec.kinds:Labeler", "casl.stages.labeler:run"),
    "pseudolabel": Kind("casl.spec.kinds:PseudoLabel", "casl.stages.pseudolabel:run"),
    "warmup": Kind("casl.spec.kinds:Warmup", "casl.stages.warmup:run"),
    "finetune": Kind("casl.spec.kinds:Finetune", "casl.stages.finetune:run"),
    "joint": Kind("casl.spec.joint_kind:Joint", "casl.stages.joint:run"),
    "evaluate": Kind("casl.spec.kinds:Evaluate", "casl.stages.evaluate:run", ("casl.spec.records:Applied",)),
    "probe": Kind("casl.spec.starts:Probe", "casl.stages.linear:run"),
}

OF_THE_PAPER = {f"table{n}": f"ablations.table{n}:ABLATION" for n in range(1, 11)}
DISSERTATION = {  # tables of its chapters 2 to 4 and 6, and HTC++
    "adaptive": "ablations.adaptive:ABLATION",
    "htc_8": "ablations.htc:ABLATION",
    "pre_4_2": "ablations.pre_4_2:ABLATION",
    "pre_4_3": "ablations.pre_4_3:ABLATION",
    "pre_4_4": "ablations.pre_4_4:ABLATION",
    "pre_4_5": "ablations.pre_4_5:ABLATION",
    "pre_budget": "ablations.pre_4_2:OF_BUDGET",
    "pre_cls": "ablations.pre_cls:ABLATION",
    "certain_3_1a": "ablations.certain_published:TABLE_3_1A",
    "certain_3_1b": "ablations.certain_published:TABLE_3_1B",
    "certain_3_1c": "ablations.certain_published:TABLE_3_1C",
    "certain_3_2": "ablations.certain_published:TABLE_3_2",
    "certain_3_3a": "ablations.certain_parts:TABLE_3_3A",
    "certain_3_3b": "ablations.certain_parts:TABLE_3_3B",
    "certain_3_3c": "ablations.certain_parts:TABLE_3_3C",
    "certain_3_4": "ablations.certain_parts:TABLE_3_4",
    "certain_3_5": "ablations.certain_parts:TABLE_3_5",
    "certain_3_6": "ablations.certain_parts:TABLE_3_6",
    "certain_3_7": "ablations.certain_parts:TABLE_3_7",
    "certain_head": "ablations.certain_parts:TABLE_HEAD",
    "certain_tail": "ablations.certain_parts:TABLE_TAIL",
    "noisy_2_2": "ablations.noisy:TABLE_2_2",
    "noisy_2_3": "ablations.noisy:TABLE_2_3",
    "noisy_2_4a": "ablations.noisy:TABLE_2_4A",
    "noisy_2_4b": "ablations.noisy:TABLE_2_4B",
    "noisy_2_4c": "ablations.noisy:TABLE_2_4C",
    "noisy_2_5": "ablations.noisy_proposals:TABLE_2_5",
    "noisy_2_6": "ablations.noisy_proposals:TABLE_2_6",
    "noisy_2_7": "ablations.noisy_proposals:TABLE_2_7",
    "noisy_labels": "ablations.noisy:LABELS",
    "noisy_warmup": "ablations.noisy:WARMUP",
}
OURS = {
    "confusable": "ablations.confusable:ABLATION",
    "delta": "ablations.delta:ABLATION",
    "finetune_length": "ablations.finetune_length:ABLATION",
    "forgetting": "ablations.forgetting:ABLATION",
    "fractions": "ablations.fractions:ABLATION",
    "held_out": "ablations.held_out:ABLATION",
    "reasons": "ablations.reasons:ABLATION",
    "strength": "ablations.strength:ABLATION",
    "rivals": "ablations.rivals:ABLATION",
    "ladder": "ablations.ladder:ABLATION",
    "thresholds": "ablations.thresholds:ABLATION",
}
ABLATIONS = OF_THE_PAPER | OURS | DISSERTATION

PROFILES = {
    "gpu": "ablations.profiles:GPU",
    "mini": "ablations.profiles:MINI",
    "paper": "ablations.profiles:PAPER",
    "photos": "ablations.profiles:PHOTOS",
    "smoke": "ablations.profiles:SMOKE",
}

CLAIMS = {"paper": "ablations.claims:CLAIMS"}

LAUNCHERS = {
    "inline": "casl.runner.launch.inline:Inline",
    "local": "casl.runner.launch.local:Local",
    "ray": "casl.runner.launch.ray:Ray",
    "slurm": "casl.runner.launch.slurm:Slurm",
}
