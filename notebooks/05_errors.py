# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # What do two models get wrong?
#
# Two cells of Table 4: a short warmup and finetune, and the paper's default. AP says which is better; this says in
# what. `STORE` and `PROFILE` of the environment choose the results; without them it is `mini` where the store has it,
# else `smoke`, whose detectors find next to nothing. Of those nothing is compared: a sentence says so.

# %%
import os
from pathlib import Path

from casl.catalog import load
from casl.look.compare import compare_errors, compare_precision, compare_sizes, suggested_profile, surest_mistakes
from casl.look.questions import evaluation_of
from casl.look.results import Results, complete

STORE = os.environ.get("STORE", "../store")
PROFILE = suggested_profile(STORE)
TABLE = "table4"
A = ("F 1x", "W 1x")
B = ("F 3x", "W 5x")

# %%
results = Results(Path(STORE))
profile = load("profile", PROFILE)
ablation = load("ablation", TABLE)
name_a, name_b = " / ".join(A), " / ".join(B)
a = evaluation_of(ablation, profile, *A)
b = evaluation_of(ablation, profile, *B)
complete(results, a, b)
models = {name_a: a, name_b: b}

# %% [markdown]
# ## Precision against recall

# %%
compare_precision(results, models)

# %% [markdown]
# ## Kinds of errors
#
# The six kinds of TIDE (ECCV 2020): each wrong prediction has one, and so has each object that was missed. The right
# panel says what mending all errors of a kind would give. These do not add up: each kind is mended alone.

# %%
compare_errors(results, models)

# %% [markdown]
# The surest errors on nothing, above the truth of the same images:

# %%
surest_mistakes(results, b, "background")

# %%
surest_mistakes(results, b, "missed")

# %% [markdown]
# ## Sizes
#
# AP of objects by the root of their area. COCO's own edges, 32 and 96 px, leave one bucket on images of 64 px.

# %%
compare_sizes(results, models)
