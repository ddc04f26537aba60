# The one face of the project. `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Nothing here phones home.
export PREFECT_SERVER_ANALYTICS_ENABLED = false
export DO_NOT_TRACK = 1
export FEAST_USAGE = False

# Where the work is done: this machine, or RUNNER=dask [SCHEDULER=tcp://host:port]; read by flows/runner.py.
export RUNNER SCHEDULER

TAPE ?=
CANDIDATES ?=
OUT ?= reports
FEE_TIER ?=
ORDER_LATENCY ?=
SEED ?=
HOURS ?=
FOLDS ?=
MAX_CANDIDATES ?=
TRAIN_MINUTES ?=
TAU ?=
EDGE ?=
MODEL ?=
TAU ?=
ROLLING ?=
SEEDS ?=
SHORT ?=
WORKERS ?=
DRAW ?=
MECHANISM ?=
RATE ?=
SYMBOL ?=
VENUE ?=
SOURCE ?=
DATE ?=
TYPES ?=
DIR ?=
FORCE ?=
BUNDLE ?=
PROFILE ?=
IN_PROCESS ?=
REPLAY ?=
SPEED ?=
PORT ?=
DAYS ?=
REHEARSAL ?=

# Whether a switch is on: 0 and nothing are not.
on = $(filter-out 0,$(1))

.DEFAULT_GOAL := help
.PHONY: help setup shadow demo honesty fetch live nightly bench test test-fast test-long lint format prefect services services-stop clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | column -t -s "$$(printf '\t')"

$(READY): requirements.lock pyproject.toml
	@echo "Installing into $(VENV) from requirements.lock (about two minutes, 3 GB) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "Python 3.11 is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1). Install it or give PYTHON=/path/to/python3.11."; exit 2; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "$(PYTHON) cannot make a virtual environment. On Debian: apt-get install python3-venv."; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

setup: $(READY)  ## make .venv and install the locked set

shadow: setup  ## experiment matrix A/B/C x (no model, model); TAPE=<path> your data, CANDIDATES=<file> your entries, OUT=<dir>, FEE_TIER=<tier>, MODEL=<net or stack>, TAU=profile
	@$(BIN)/ofi-meta shadow --out "$(OUT)" \
	  $(if $(TAPE),--tape "$(TAPE)") $(if $(CANDIDATES),--candidates "$(CANDIDATES)") \
	  $(if $(FEE_TIER),--fee-tier $(FEE_TIER)) $(if $(ORDER_LATENCY),--order-latency $(ORDER_LATENCY)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(HOURS),--hours $(HOURS)) $(if $(FOLDS),--folds $(FOLDS)) \
	  $(if $(MODEL),--model $(MODEL)) $(if $(DRAW),--draw $(DRAW)) $(if $(call on,$(ROLLING)),--rolling) $(if $(TAU),--tau $(TAU)) \
	  $(if $(EDGE),--edge $(EDGE)) $(if $(MECHANISM),--mechanism $(MECHANISM)) $(if $(RATE),--rate $(RATE)) \
	  $(if $(SYMBOL),--symbol "$(SYMBOL)") $(if $(VENUE),--venue $(VENUE)) $(if $(SOURCE),--source $(SOURCE)) \
	  $(if $(MAX_CANDIDATES),--max-candidates $(MAX_CANDIDATES)) $(if $(TRAIN_MINUTES),--train-minutes $(TRAIN_MINUTES))

demo: shadow  ## the same as shadow: the default tape is simulated and says so

honesty: setup  ## how often runs claim rightly, 20 + 20 simulated seeds; goes on where it was ended [SEEDS= SHORT=1 WORKERS=]
	@$(BIN)/ofi-meta honesty --out "$(OUT)" $(if $(call on,$(SHORT)),--short,--docs docs/honesty.md) \
	  $(if $(SEEDS),--seeds $(SEEDS)) $(if $(WORKERS),--workers $(WORKERS))

fetch: setup  ## free Tardis days (the first of a month): SYMBOL=ETHUSDT DATE=2024-08-01 [VENUE= TYPES= DIR= FORCE=1]
	@$(BIN)/ofi-meta tape fetch "$(or $(SYMBOL),ETHUSDT)" "$(DATE)" \
	  $(if $(DIR),--dir "$(DIR)") $(if $(VENUE),--venue $(VENUE)) $(if $(TYPES),--types "$(TYPES)") $(if $(call on,$(FORCE)),--force)

live: setup  ## a live shadow: what the gate would allow on a real feed, no order placed; SYMBOL=ETHUSDT [VENUE= BUNDLE= PROFILE= FEE_TIER= IN_PROCESS=1 PORT=], REPLAY=<recording> [SPEED=] plays one instead
	@$(BIN)/ofi-meta live "$(or $(SYMBOL),ETHUSDT)" \
	  $(if $(VENUE),--venue $(VENUE)) $(if $(BUNDLE),--bundle "$(BUNDLE)") $(if $(PROFILE),--profile $(PROFILE)) \
	  $(if $(FEE_TIER),--fee-tier $(FEE_TIER)) $(if $(call on,$(IN_PROCESS)),--in-process) $(if $(PORT),--port $(PORT)) \
	  $(if $(REPLAY),--replay "$(REPLAY)") $(if $(SPEED),--speed $(SPEED)) $(if $(DIR),--dir "$(DIR)")

bench: setup  ## measure speed and size side by side; writes reports/bench.json and docs/benchmarks.md
	@$(BIN)/python -m tests.bench

# A process a core, four at most (each takes up to 1.5 GB); a file of tests stays in one of them.
PARALLEL := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Of the long ones many wait, for a clock or a process: one more of them at a time than there are cores.
LONG_PARALLEL = $(subst -n logical,-n $(shell expr $$(nproc) + 1),$(PARALLEL))

test: setup  ## everything but the long tests, under ten minutes
	@$(BIN)/python -m pytest $(PARALLEL) -m "not long" --durations=10

test-fast: setup  ## the fast subset, under a minute
	@$(BIN)/python -m pytest $(PARALLEL) -m "not long and not slow"

test-long: setup  ## the long tests
	@$(BIN)/python -m pytest $(LONG_PARALLEL) -m long --durations=15; code=$$?; [ $$code -eq 5 ] && exit 0 || exit $$code

lint: setup  ## ruff, formatting, import directions, types of the public API
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy

format: setup  ## let ruff rewrite
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

nightly: setup  ## one night in this terminal: ingest, features, retrain, drift, promote or roll back [SOURCE=<folder of raw files> DAYS=3 MODEL= FEE_TIER= REHEARSAL=1 OUT=]
	@$(BIN)/ofi-meta nightly $(if $(SOURCE),"$(SOURCE)") --out "$(OUT)" $(if $(DAYS),--days $(DAYS)) \
	  $(if $(MODEL),--model $(MODEL)) $(if $(FOLDS),--folds $(FOLDS)) $(if $(FEE_TIER),--fee-tier $(FEE_TIER)) \
	  $(if $(MAX_CANDIDATES),--max-candidates $(MAX_CANDIDATES)) $(if $(EDGE),--edge $(EDGE)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(call on,$(REHEARSAL)),--rehearsal)

prefect: setup  ## Prefect server with its UI: ingest and features hourly, the night at 02:00 UTC
	@$(BIN)/python -m flows.serve

services:  ## start Redis on this machine for feature_store.redis.yaml, installing it on Debian if missing [REDIS_PORT=6379]
	@.ci/services start

services-stop:  ## stop the Redis that `make services` started
	@.ci/services stop

clean:  ## remove caches; data, releases and reports stay
	@rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
