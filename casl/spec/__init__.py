"""What to compute: stages, cells, ablations and profiles. Standard library only."""

from casl.rows import PARTS
from casl.spec.ablation import Ablation, Cell, quoted
from casl.spec.adaptive_recipe import adaptive
from casl.spec.data_kinds import Folder, Pretrain, Scenes, Start
from casl.spec.data_sets import FolderData, PlannedData, SceneData
from casl.spec.joint_kind import Joint
from casl.spec.joint_methods import METHODS, joint
from casl.spec.kinds import (
    Evaluate,
    Finetune,
    Labeler,
    PseudoLabel,
    Train,
    Warmup,
)
from casl.spec.profile import Certainty, Profile, Unlabelled
from casl.spec.recipe import evaluate, finetune, labeler, pseudo_label, warmup, warmup_on_truth
from casl.spec.records import Applied, Model, Recipe
from casl.spec.stage import Record, Stage, ancestors
from casl.spec.start_recipe import contrast, crop_classifier, probe
from casl.spec.starts import Contrast, ContrastRecipe, Probe
from casl.spec.varied import varied

__all__ = [
    "METHODS",
    "PARTS",
    "Ablation",
    "Applied",
    "Cell",
    "Certainty",
    "Contrast",
    "ContrastRecipe",
    "Evaluate",
    "Finetune",
    "Folder",
    "FolderData",
    "Joint",
    "Labeler",
    "Model",
    "PlannedData",
    "Pretrain",
    "Probe",
    "Profile",
    "PseudoLabel",
    "Recipe",
    "Record",
    "SceneData",
    "Scenes",
    "Stage",
    "Start",
    "Train",
    "Unlabelled",
    "Warmup",
    "adaptive",
    "ancestors",
    "contrast",
    "crop_classifier",
    "evaluate",
    "finetune",
    "joint",
    "labeler",
    "probe",
    "pseudo_label",
    "quoted",
    "varied",
    "warmup",
    "warmup_on_truth",
]
