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
# what. Profile `smoke` trains so briefly that both find next to nothing; `mini` after `make table4` is more telling.

# %%
from pathlib import Path

from casl.catalog import load
from casl.look.pictures import mistakes
from casl.look.plots import plot_errors, plot_precision, plot_sizes
from casl.look.questions import errors, evaluation_of, recall_curves, sizes
from casl.look.results import Results, complete

STORE = "../store"
PROFILE = "smoke"
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

# %% [markdown]
# ## Precision against recall

# %%
plot_precision({name_a: recall_curves(results, a), name_b: recall_curves(results, b)})

# %% [markdown]
# ## Kinds of errors
#
# The six kinds of TIDE (ECCV 2020): each wrong prediction has one, and so has each object that was missed. The right
# panel says what mending all errors of a kind would give. These do not add up: each kind is mended alone.

# %%
errors_a = errors(results, a)
errors_b = errors(results, b)
plot_errors({name_a: errors_a, name_b: errors_b})

# %% [markdown]
# The surest errors on nothing, above the truth of the same images:

# %%
mistakes(results, b, errors_b, "background")

# %%
mistakes(results, b, errors_b, "missed")

# %% [markdown]
# ## Sizes
#
# AP of objects by the root of their area. COCO's own edges, 32 and 96 px, leave one bucket on images of 64 px.

# %%
plot_sizes({name_a: sizes(results, a), name_b: sizes(results, b)})
