# Everything a user types. `make` alone lists it. Each target sets up .venv when it is missing and is instant afterwards.

PROFILE ?= mini
DATA    ?=
SEEDS   ?= 1
RULE    ?=
BATCH   ?=
ITERS   ?=
SIZE    ?=
SET     ?=
STORE   ?= store
REPORTS ?= reports
PORT    ?= 5000
PAPER   ?=
PROVIDER ?=
CROWDS  ?=
PYTHON  ?= python3

VENV  := .venv
BIN   := $(VENV)/bin
READY := $(VENV)/.ready
MAKING := $(VENV)/.making
# tests: a process a core, each with whole files, whose tests share fixtures; in the order of tests/conftest.py
SPREAD := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# Values reach the shell as environment variables and are quoted there, so that a space or a `;` in a path is no syntax.
export PROFILE DATA SEEDS RULE BATCH ITERS SIZE SET STORE REPORTS PORT PROVIDER PYTHON CROWDS PAPER
ON_DATA := $${DATA:+--data "$$DATA"}
IN_STORE := $${STORE:+--store "$$STORE"}
AT_PORT := $${PORT:+--port "$$PORT"}
TO_REPORTS := $${REPORTS:+--reports "$$REPORTS"}
STUDY := $${PROFILE:+--profile "$$PROFILE"} $${SEEDS:+--seeds "$$SEEDS"} $(IN_STORE) $(ON_DATA) $${RULE:+--rule "$$RULE"} \
  $${BATCH:+--batch-size "$$BATCH"} $${ITERS:+--iters-1x "$$ITERS"} $${SIZE:+--size "$$SIZE"} $${SET:+$$(printf -- "--set %s " $$SET)} $${PROVIDER:+--provider "$$PROVIDER"} \
  $${CROWDS:+--crowds-are-objects}
PAGES := $(TO_REPORTS) $(AT_PORT) $${PAPER:+--paper}

.DEFAULT_GOAL := help
.PHONY: help setup tables reasons strength fractions held_out confusable finetune_length forgetting rivals ladder thresholds dissertation publish search notebooks doctor bench gpu-check docs site test test-all check lint format ui clean FORCE

help: ## list the targets
	@echo "make table4          the paper's Table 4: plan, run what is missing, write $$REPORTS/$$PROFILE/table4.*"
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "variables: PROFILE=smoke|mini|photos|gpu|paper  DATA=path/to/set  SEEDS=1  RULE=A|B|C  BATCH=16  ITERS=150  SIZE=96  SET=warmup.threshold=0.4  PROVIDER=torchvision|detectron2  CROWDS=yes"
	@echo "           STORE=store  REPORTS=reports  PORT=5000 (of make ui, and of links to it)  PAPER=yes (its numbers beside yours on your data)"
	@echo "example:   make table4 PROFILE=smoke"

# Room on the disk is asked for first: pip tells of a full one after minutes, with a .venv that is no use. It keeps what it
# downloads until all is installed (9.8 GB at most, 7.0 at the end, measured by df). What a half-made .venv holds already
# counts as room; a whole one that is brought up to date takes little.
define ROOM
import os, shutil, sys
place = os.path.abspath(sys.argv[1])
if os.path.exists(os.path.join(place, ".ready")):
    sys.exit()
there = sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(place) for name in names)
free = shutil.disk_usage(os.path.dirname(place)).free
if free + there < 10e9:
    sys.exit(f"setting up .venv takes about 10 GB, of which 7 stay; {os.path.dirname(place)} has {free / 1e9:.1f} GB free"
             f"{f' and {there / 1e9:.1f} GB in .venv' if there else ''}: free some, or clone onto another disk")
endef
export ROOM

# An environment that is being made says so inside, so that what a killed `make` left is made anew: aside and renamed it
# would not work, since its scripts name the folder they were made in. pip goes on by itself, but for a package that it was
# just writing: its list of files, which pip writes last, does not have INSTALLER, and what pip takes it for is removed.
$(READY): pyproject.toml constraints.txt
	@"$$PYTHON" -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "casl needs Python 3.11 or newer, this is " + sys.version)'
	@"$$PYTHON" -c "$$ROOM" $(VENV)
	@echo "setting up $(VENV): about 10 GB, of which 7 stay, and two to seven minutes, once"
	@if [ -e $(MAKING) ]; then rm -rf $(VENV).left; mv $(VENV) $(VENV).left; fi; rm -rf $(VENV).left
	@if ! [ -x $(BIN)/python ]; then \
	   mkdir -p $(VENV) && touch $(MAKING) && "$$PYTHON" -m venv $(VENV) && rm $(MAKING); \
	 elif ! $(BIN)/python -m pip --version > /dev/null 2>&1; then $(BIN)/python -m ensurepip --upgrade; fi
	@for d in $(VENV)/lib/python*/site-packages/*.dist-info; do grep -qs INSTALLER "$$d/RECORD" || rm -rf "$$d"; done
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -c constraints.txt -e '.[dev,pretrained]'
	@touch $@

setup: $(READY) ## create .venv and install everything

# run what is missing of $(1), then report it, also if a stage failed
run_and_report = @$(BIN)/casl run '$(1)' $(STUDY); status=$$?; \
	 if [ $$status -le 1 ]; then $(BIN)/casl report '$(1)' $(STUDY) $(PAGES) || status=$$?; fi; exit $$status

table%: $(READY) FORCE
	$(call run_and_report,$@)

tables: $(READY) ## every table of the registry
	$(call run_and_report,all)

reasons: $(READY) ## where a small profile differs from the paper, one suspect taken away at a time
	$(call run_and_report,reasons)

strength: $(READY) ## what a warmup gains, from a labeler as strong as its target to the true labels
	$(call run_and_report,strength)

fractions: $(READY) ## what a warmup gains, with 1 to 100 percent of the labels
	$(call run_and_report,fractions)

held_out: $(READY) ## objects of classes left out of training: how many are found, with classes and without
	$(call run_and_report,held_out)

confusable: $(READY) ## whether labels without classes pay where classes are easily confused
	$(call run_and_report,confusable)

finetune_length: $(READY) ## whether the lead of labels with classes is gone after a longer finetune
	$(call run_and_report,finetune_length)

forgetting: $(READY) ## whether a warmup without classes unlearns what the start knew of them
	$(call run_and_report,forgetting)

rivals: $(READY) ## CA-SSL, STAC, self-training, Soft and Unbiased Teacher, MoCo v2, DenseCL: as long, on the same images
	$(call run_and_report,rivals)

ladder: $(READY) ## the same methods with a share of the labels
	$(call run_and_report,ladder)

thresholds: $(READY) ## the same methods with as many thresholds of scores tried for each
	$(call run_and_report,thresholds)

dissertation: $(READY) ## noisy anchors, pre-training, certainty-aware pseudo labels and HTC++: every table of them
	$(call run_and_report,dissertation)

publish: $(READY) ## for maintainers: write reports/published from the store, which is what the repository ships
	@for t in all reasons; do $(BIN)/casl report $$t $(STUDY) $(PAGES) --publish || exit 1; done

search: $(READY) ## search the score threshold delta: which one, and how sure
	@$(BIN)/casl tune delta $(STUDY) $(TO_REPORTS) $(AT_PORT)

notebooks: $(READY) ## execute the notebooks into notebooks/out/*.ipynb and *.html
	@mkdir -p notebooks/out
	@$(if $(filter file,$(origin PROFILE)),unset PROFILE;) STORE=$$(realpath -m "$${STORE:-store}"); REPORTS=$$(realpath -m "$${REPORTS:-reports}"); \
	 for n in notebooks/[0-9]*.py; do echo $$n; $(BIN)/jupytext --quiet --to ipynb --execute --run-path notebooks \
	   -o notebooks/out/$$(basename $$n .py).ipynb $$n || exit 1; done
	@$(BIN)/jupyter-nbconvert --to html --log-level ERROR notebooks/out/*.ipynb

doctor: $(READY) ## what is missing on this machine, and what to do
	@$(BIN)/casl doctor $(IN_STORE) $(ON_DATA)

bench: $(READY) ## ratios of every benchmark to its peers
	@for b in planning engine sharing evaluation detector_step condinst_step photos_step labels lists loading prepare bits adaptive mirror; do $(BIN)/python benchmarks/$$b.py || exit 1; done

gpu-check: $(READY) ## one GPU in at most 8 minutes, as build/gpu-check.json: losses, waits, speed, Table 4; tiny without GPU
	@$(BIN)/python benchmarks/gpu_check.py --json build/gpu-check.json

docs: $(READY) ## write docs/cli.md anew from the parser; shipped pages, docs/results.md and README.md from the reports
	$(BIN)/python -m casl.cli.reference docs/cli.md
	$(BIN)/python -m casl.report.again reports/published/*
	$(BIN)/python -m casl.report.summary README.md docs/results.md reports/published/mini reports/published/photos-voc_animals

$(VENV)/.docs: $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

site: $(VENV)/.docs ## the pages of docs/ and the reference of Python as a web site, build/site/index.html; warnings are errors
	$(BIN)/sphinx-build -q -W --keep-going -E -b html -c docs . build/site
	@echo "build/site/index.html"

# Every test that starts a process would compile the sources again where the shell forbids to keep bytecode.
test test-all check: export PYTHONDONTWRITEBYTECODE :=

test: $(READY) lint ## all checks and tests
	$(BIN)/python -m pytest $(SPREAD)

test-all: $(READY) lint ## the same, and what is left out there because it looks again for longer
	$(BIN)/python -m pytest $(SPREAD) -m 'long or not long'

check: $(READY) lint ## format, lint, types, import arrows and the fast tests
	$(BIN)/python -m pytest $(SPREAD) -m 'not slow'

lint: $(READY) ## format, lint and types only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY) ## rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ui: $(READY) ## browse the runs: MLflow on 127.0.0.1, port PORT
	@$(BIN)/casl ui $(IN_STORE) $(AT_PORT)

clean: ## remove .venv and caches; results in the store stay
	rm -rf $(VENV) $(VENV).left .pytest_cache .mypy_cache .ruff_cache *.egg-info

FORCE:
