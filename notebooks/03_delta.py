# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Delta: which pseudo labels to keep
#
# A labeler scores what it finds; the warmup learns from what scores above delta. A low delta keeps more labels, a high
# one better labels. The paper uses one constant for all classes and keeps its value in the supplement.
#
# `STORE` and `PROFILE` of the environment choose the results. A labeler of `smoke` has learned next to nothing: its
# curves show what the questions look like, and no answer.

# %%
import os
from pathlib import Path

from casl.catalog import load
from casl.look.compare import suggested_profile
from casl.look.pictures import pseudo_labels
from casl.look.plots import plot_left
from casl.look.questions import left_at, search_answer
from casl.look.results import Results, complete
from casl.spec import evaluate, finetune, labeler, pseudo_label, warmup

STORE = os.environ.get("STORE", "../store")
PROFILE = suggested_profile(STORE)
REPORTS = os.environ.get("REPORTS", "../reports")
DELTAS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)

# %%
results = Results(Path(STORE))
profile = load("profile", PROFILE)
trained_labeler = labeler(profile)
labelled = pseudo_label(profile, trained_labeler)
held_out = evaluate(profile, trained_labeler, "ap_e")
downstream = evaluate(profile, finetune(profile, warmup(profile, pseudo=labelled)), "ap_det")
complete(results, held_out, downstream)

# %% [markdown]
# ## What is left, and how good it is
#
# Counted from the stored scores; nothing is trained. How good labels are is measured on the held-out labeled images,
# which real data allows too.

# %%
plot_left(left_at(results, labelled, held_out, DELTAS))

# %% [markdown]
# The built-in scenes know the truth of their unlabeled images too, and so do sets that were split from labeled ones.
# Against that truth: was the held-out estimate good?

# %%
plot_left(left_at(results, labelled, held_out, DELTAS, hidden=True))

# %%
pseudo_labels(results, labelled, [0.1, 0.3, 0.5])

# %% [markdown]
# ## Which delta is best for the detector?
#
# Only training tells. `casl tune delta` trains a warmup and a finetune for each value, and says how sure its answer is.

# %%
search_answer(Path(REPORTS), profile)
