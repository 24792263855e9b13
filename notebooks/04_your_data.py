# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Your own data, and an ablation of your own
#
# A data set is a folder with COCO files; `docs/data.md` has its layout. Here a small one is written; set `DATA` to
# yours, leave out the next cell and choose a profile that trains for longer, as `PROFILE=photos` in the environment. In
# `smoke`, on twelve images, everything runs and no number says anything.

# %%
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from casl.catalog import load
from casl.data.check import check
from casl.data.scenes import write_scene_set
from casl.look.compare import table_page
from casl.look.pictures import truth
from casl.look.questions import chain, evaluation_of
from casl.look.results import Markdown, Results, measure, plan_of
from casl.spec import Ablation, Cell, Profile, evaluate, finetune, warmup
from casl.stages.dataset import open_data

STORE = os.environ.get("STORE", "../store")
PROFILE = os.environ.get("PROFILE", "smoke")
DATA = f"{STORE}/tiny_set"

# %%
write_scene_set(Path(DATA), labeled=12, unlabeled=16, val=8, size=64, seed=1)

# %% [markdown]
# ## Check it
#
# `casl data check PATH` does the same and prints the same. Errors name the file and the record.

# %%
report = check(Path(DATA))
report.raise_if_bad()
Markdown(f"```json\n{json.dumps(report.counts, indent=1)}\n```")

# %% [markdown]
# ## A profile on this data
#
# Stages know data by its content, never by its path. Images are used at the profile's `photo_size`, short and long
# side. These have 64 px; for photos, leave it as it is.

# %%
opened = open_data(Path(DATA), Path(STORE))
profile = replace(load("profile", PROFILE), photo_size=(64, 96)).with_data(opened.data)
results = Results(Path(STORE), opened.roots)
Markdown("\n".join(opened.said))

# %% [markdown]
# ## An ablation
#
# The question: what does strong augmentation do to the finetune, with a warmup and without? `cells` answers with the
# evaluations to make. In a file `mine.py`, it is `casl run ./mine.py` (`docs/first-ablation.md`).


# %%
def cells(profile: Profile) -> Iterator[Cell]:
    for start, init in (("no warmup", None), ("warmup 1x", warmup(profile, schedule=1))):
        for augmentation in ("weak", "strong_labeled"):
            model = finetune(profile, init, schedule=1, augmentation=augmentation)
            yield Cell(row=start, column=augmentation, metric="ap_det", stage=evaluate(profile, model, "ap_det"))


mine = Ablation(
    name="mine",
    title="Augmentation of the finetune",
    source="this notebook",
    cells=cells,
    rows="start",
    columns="augmentation",
)

# %% [markdown]
# ## Plan
#
# Both warmed-up models share their warmup, labels and labeler.

# %%
plan = plan_of(results, mine, profile)
Markdown("\n".join(f"- {name}" for name in plan.todo))

# %% [markdown]
# ## Run
#
# Here, in this process: a breakpoint in your detector stops. `casl run` uses all cores, or a cluster.

# %%
table = measure(results, mine, profile)
table_page(table)

# %%
chain(results, evaluation_of(mine, profile, "warmup 1x", "weak"))

# %%
truth(results, profile.data.split("labeled", "objects"), "objects")
