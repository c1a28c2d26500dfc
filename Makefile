# storyline: `make help` lists what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev repro train sample evaluate plots split generate chat chat-web look exp unfinished verify test test-fast coverage format lint typecheck check lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z -]+:.*## / { printf "  %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.setup .dvc/plots/page.html  ## make .venv with the versions of requirements.lock

setup-dev: setup $(VENV)/.setup-dev  ## the same, with what tests and checks need

repro: .git setup  ## run each stage of the pipeline that is not up to date
	@python -m commands.repro

train sample evaluate: .git setup  ## run the pipeline up to that stage
	@python -m commands.repro $@

plots: .git setup  ## write the page of curves, dvc_plots/index.html
	dvc plots show

# A text reaches the command as it was typed, because neither make nor the shell expands the value of this variable.
split generate look: export GIVEN_TEXT := $(value TEXT)
generate look: export GIVEN_OPTIONS := $(value OPTIONS)
unexport TEXT SET OPTIONS NAME REMOVE REV

split: setup  ## show how the tokenizer splits a text: make split TEXT="Once upon a time"
	@python -m commands.split data/tokenizer.json -- "$$GIVEN_TEXT"

generate: setup  ## let the trained model continue a text: make generate TEXT="The fox" OPTIONS="--n 3 --seed 7"
	@python -m commands.generate models/base --options "$$GIVEN_OPTIONS" $(if $(value TEXT),-- "$$GIVEN_TEXT")

chat chat-web: export GIVEN_OPTIONS := $(value OPTIONS)

chat: setup  ## talk to the chat model in the terminal: make chat OPTIONS="--temperature 0.5"
	@python -m commands.chat models/chat --options "$$GIVEN_OPTIONS"

chat-web: setup  ## talk to the chat model in the browser, http://127.0.0.1:8000: make chat-web OPTIONS="--port 8001"
	@python -m commands.serve models/chat --options "$$GIVEN_OPTIONS"

look: setup  ## look inside the model while it reads: make look TEXT="Lily had a red ball." OPTIONS="--beside models/chat"
	@python -m commands.look models/base --options "$$GIVEN_OPTIONS" -- "$$GIVEN_TEXT"

exp: export GIVEN_SET := $(value SET)
exp: export GIVEN_NAME := $(value NAME)

exp: .git setup  ## run params.yaml with some changes, in a copy: make exp NAME=wide SET="model.d_model=256 seed=2"
	@test -n "$$GIVEN_NAME" || { echo 'error: name the experiment: make exp NAME=wide SET="..."' >&2; exit 1; }
	@set -f; python -m experiments try -- "$$GIVEN_NAME" $$GIVEN_SET

unfinished: export GIVEN_REMOVE := $(value REMOVE)

unfinished: setup  ## list the saved states of runs, and remove those you have given up: make unfinished REMOVE=all
	@set -f; python -m commands.unfinished $${GIVEN_REMOVE:+--remove $$GIVEN_REMOVE}

verify: export GIVEN_REV := $(value REV)

verify: .git setup  ## run the pipeline again in a scratch clone and compare every out: make verify REV=HEAD
	@python -m experiments verify -- $${GIVEN_REV:+"$$GIVEN_REV"}

# One more than there are cores, because many tests wait for processes that they have started.
WORKERS ?= $$(expr $$(getconf _NPROCESSORS_ONLN) + 1)

test: setup-dev  ## run all tests
	python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder

test-fast: setup-dev  ## run the tests that take only seconds
	python -m pytest -n auto -m "not slow"

coverage: setup-dev  ## run all tests and show the lines that no test reaches
	python -m pytest -n auto --cov=lm --cov=stages --cov-report=term-missing:skip-covered --cov-report=html

format: setup-dev  ## format the code
	ruff format .
	ruff check --fix .

lint: setup-dev  ## check style and formatting
	ruff check .
	ruff format --check .

typecheck: setup-dev  ## check types
	mypy

check: lint typecheck  ## run all checks except the tests

lock:  ## write requirements.lock again, from the ranges in pyproject.toml
	rm -rf $(VENV)-lock
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet '.[dev]'
	# Builds of one version differ by a suffix (2.13.0+cpu); each machine takes the one that suits it.
	$(VENV)-lock/bin/python -m pip freeze --exclude storyline | sed 's/+.*//' > requirements.lock
	rm -rf $(VENV)-lock build storyline.egg-info

clean:  ## remove unfinished runs, caches of tools and drafts; data, models and the DVC cache stay
	rm -rf .resume .tensorboard .pytest_cache .hypothesis .mypy_cache .ruff_cache .coverage htmlcov build *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	find data models metrics plots samples -name '.*.draft' -delete 2>/dev/null || true

# Made by uv, .venv has no pip; then uv installs.
INSTALL = $(if $(wildcard $(BIN)/pip),python -m pip install --disable-pip-version-check,uv pip install) --quiet \
  --constraint requirements.lock

.git:
	@command -v git >/dev/null || { echo "error: git must be installed, because DVC compares commits" >&2; exit 1; }
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "error: $(CURDIR): must be in a git repository, because DVC" \
	  "compares commits: git init && git add --all && git commit -m start" >&2; exit 1; }

$(BIN)/python:
	@[ "$(OS)" != Windows_NT ] || { echo "error: Windows is not supported: work in WSL" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) must be Python 3.11 or newer, got $$($(PYTHON) --version); name one:" \
	    "make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.setup: pyproject.toml requirements.lock | $(BIN)/python
	@echo "installing the versions of requirements.lock into $(VENV), which takes some minutes"
	$(INSTALL) .
	@touch $@

$(VENV)/.setup-dev: pyproject.toml requirements.lock | $(VENV)/.setup
	$(INSTALL) '.[dev]'
	@touch $@

.dvc/plots/page.html: experiments/report/plot_page.py $(VENV)/.setup
	python -m experiments.report.plot_page $@
