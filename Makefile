# `make` alone prints this help. Every target sets up .venv from the lock by itself.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Feast needs pandas 2, so what runs beside it has an environment of its own.
FEAST := .venv-feast
FEAST_READY := $(FEAST)/.ready
# So has what validation and drift are measured beside.
PEERS := .venv-peers
PEERS_READY := $(PEERS)/.ready
export OMP_NUM_THREADS ?= 1

.PHONY: help demo test test-all check format bench docs feast peers lock clean

help:  ## print this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): requirements/lock.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Millrace needs Python 3.11 or later on the PATH"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Millrace needs Python 3.11 or later; $(PYTHON) is older"; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --requirement requirements/lock.txt
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q $(VENV)/lib/python3*/site-packages >/dev/null || true
	@touch $(READY)

$(FEAST_READY): requirements/feast.txt pyproject.toml
	$(PYTHON) -m venv --clear $(FEAST)
	$(FEAST)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes --requirement requirements/feast.txt
	$(FEAST)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(FEAST)/bin/python -m compileall -q $(FEAST)/lib/python3*/site-packages >/dev/null || true
	@touch $(FEAST_READY)

$(PEERS_READY): requirements/peers.txt
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes --no-deps --requirement requirements/peers.txt
	$(PEERS)/bin/python -m compileall -q $(PEERS)/lib/python3*/site-packages >/dev/null || true
	@touch $(PEERS_READY)

demo: $(READY)  ## watch a model being trained, deployed, degrading, retrained and redeployed on a real stream
	$(BIN)/millrace demo $(ARGS)

test: $(READY) $(FEAST_READY)  ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow" $(ARGS)
	$(FEAST)/bin/python -m pytest -n 2 --dist loadgroup -m "not slow" tests/with_feast

test-all: $(READY) $(FEAST_READY)  ## run the tests, the long ones too
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)
	$(FEAST)/bin/python -m pytest -n 2 --dist loadgroup tests/with_feast

check: $(READY)  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)  ## measure: ratios against peers and raw limits
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(READY)  ## write the generated pages of docs/ anew
	$(BIN)/python docs/generate.py

feast: $(FEAST_READY)  ## make Feast's environment, .venv-feast, for tests and benchmarks beside Feast

peers: $(PEERS_READY)  ## make the peers' environment, .venv-peers, for benchmarks of validation and drift

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: $(READY)  ## write requirements/*.txt anew from pyproject.toml
	$(BIN)/python -m pip install -qq --disable-pip-version-check uv
	$(COMPILE) pyproject.toml --extra all --group dev --output-file requirements/lock.txt >/dev/null
	$(COMPILE) pyproject.toml --extra feast --group feast-tests --output-file requirements/feast.txt >/dev/null
	$(COMPILE) --group pyproject.toml:peers --output-file requirements/peers.txt >/dev/null

clean:  ## remove what the targets made
	rm -rf $(VENV) $(FEAST) $(PEERS) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build site millrace-demo
