# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A tour of one chain
#
# CA-SSL trains a detector in three stages: a class-agnostic *labeler* on labeled images, a *warmup* of the target on
# the labeler's pseudo labels, a *finetune* on labeled images with their classes. Here you see what each leaves behind.
#
# Stages that the store has are opened, others are computed here. `STORE` and `PROFILE` of the environment choose the
# results; without them it is `mini` where `make table4` has left its default chain, and otherwise `smoke`, which
# takes half a minute and whose detectors have not learned anything yet.

# %%
import os
from pathlib import Path

from casl.catalog import load
from casl.look.compare import suggested_profile
from casl.look.pictures import detections, kept, pseudo_labels, truth
from casl.look.plots import plot_curves
from casl.look.questions import chain, curves
from casl.look.results import Results, complete
from casl.spec import evaluate, finetune, labeler, pseudo_label, warmup

STORE = os.environ.get("STORE", "../store")
PROFILE = suggested_profile(STORE)

# %% [markdown]
# ## The chain
#
# An ablation only changes arguments of these functions. The defaults are the paper's: 5x warmup, 3x finetune.

# %%
results = Results(Path(STORE))
profile = load("profile", PROFILE)

trained_labeler = labeler(profile)
labelled = pseudo_label(profile, trained_labeler)
warm = warmup(profile, pseudo=labelled)
final = finetune(profile, warm)
scored = evaluate(profile, final, "ap_det")

complete(results, scored)
chain(results, scored)

# %% [markdown]
# ## Data
#
# Labeled images have objects with classes, for the finetune ...

# %%
truth(results, trained_labeler.data, "objects")

# %% [markdown]
# ... and entities, for the labeler: every object and every patch of background is one, and none has a class.

# %%
truth(results, trained_labeler.data, "entities")

# %% [markdown]
# ## Labeler
#
# What it finds in unlabeled images, above a low score.

# %%
plot_curves({"labeler": curves(results, trained_labeler)})

# %%
detections(results, trained_labeler, labelled.data, threshold=0.1)

# %% [markdown]
# ## Pseudo labels
#
# The labeler scores each image once. The threshold delta is applied when labels are read, so trying another one costs
# nothing. The default of this profile:

# %%
pseudo_labels(results, labelled, [0.1, profile.threshold, 0.5])

# %%
kept(results, labelled)

# %% [markdown]
# ## Warmup and finetune
#
# The warmup sees only pseudo labels and knows one class. The finetune starts from it and learns all classes.

# %%
plot_curves({"warmup": curves(results, warm), "finetune": curves(results, final)})

# %%
detections(results, warm, scored.data, threshold=0.1)

# %%
detections(results, final, scored.data, threshold=0.1)

# %% [markdown]
# ## Evaluation
#
# The picture that the evaluation kept: predictions beside the truth.

# %%
kept(results, scored)
