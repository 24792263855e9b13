# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # From a table to its runs, curves and pictures
#
# A table is a view of the store. Each number can be followed down to the stages that led to it, their curves, pictures
# and code. Two cells of Table 4 are measured here if the store lacks them; `make table4 PROFILE=smoke` measures all 25.
# `STORE` and `PROFILE` of the environment choose the results; without them it is `mini` where the store has it, else
# `smoke`.

# %%
import os
from pathlib import Path

from casl.catalog import load
from casl.look.compare import suggested_profile, table_page, table_picture
from casl.look.pictures import kept
from casl.look.plots import plot_curves
from casl.look.questions import chain, curves, evaluation_of, links
from casl.look.results import Results, complete, read

STORE = os.environ.get("STORE", "../store")
PROFILE = suggested_profile(STORE)
TABLE = "table4"

# %%
results = Results(Path(STORE))
profile = load("profile", PROFILE)
ablation = load("ablation", TABLE)

short = evaluation_of(ablation, profile, "F 1x", "W 1x")
default = evaluation_of(ablation, profile, "F 3x", "W 5x")
complete(results, short, default)

# %% [markdown]
# ## The table
#
# As `casl report` writes it. Cells without a result say why.

# %%
table = read(results, ablation, profile)
table_page(table)

# %% [markdown]
# ## Its picture

# %%
table_picture(table)

# %% [markdown]
# ## One cell
#
# Every stage that led to it. `casl store explain NAME` tells all about one, `make ui` shows it in MLflow.

# %%
links(table)

# %%
chain(results, default)

# %% [markdown]
# ## Curves
#
# The two finetunes start from a 1x and a 5x warmup. Trainings that differ only in length share their beginning.

# %%
plot_curves(
    {
        "finetune 1x after warmup 1x": curves(results, short.model),
        "finetune 3x after warmup 5x": curves(results, default.model),
    },
    ["loss", "loss_cls", "loss_box"],
)

# %% [markdown]
# ## Pictures

# %%
kept(results, short)

# %%
kept(results, default)
