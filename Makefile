# Two commands are enough: `make demo` and `make test`. The rest is for people who change the code.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= $(shell tools/choose-python)
BIN := .venv/bin
STAMP := .venv/.installed
PYTEST := $(BIN)/python -m pytest
WORKER := .venv-worker
WORKER_PIP := $(WORKER)/bin/python -m pip install --quiet
# An index of CPU wheels, for example, spares 4 of 5 GB; once chosen it is remembered until `make clean`.
TORCH_INDEX ?= $(shell cat $(WORKER)/.torch-index 2>/dev/null)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## Say what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}'

$(STAMP): requirements.lock pyproject.toml
	@echo "==> Python environment in .venv"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: setup
setup: $(STAMP) ## Install the Python environment into .venv

$(WORKER)/.requirements: requirements-worker.lock
	@echo "==> Worker environment in $(WORKER)$(if $(TORCH_INDEX),, (5 GB; TORCH_INDEX=<address> takes torch from there instead))"
	@test -x $(WORKER)/bin/python || $(PYTHON) -m venv $(WORKER)
ifeq ($(TORCH_INDEX),)
	@$(WORKER_PIP) --require-hashes --requirement requirements-worker.lock
else
	@echo "$(TORCH_INDEX)" > $(WORKER)/.torch-index
	@tools/without-torch requirements-worker.lock > $(WORKER)/.without-torch
	@$(WORKER_PIP) --require-hashes --requirement $(WORKER)/.without-torch
	@PIP_INDEX_URL="$(TORCH_INDEX)" $(WORKER_PIP) "$$(grep -oE '^torch==[^ ]+' requirements-worker.lock)"
endif
	@touch $@

$(WORKER)/.installed: $(WORKER)/.requirements pyproject.toml
	@$(WORKER_PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: worker
worker: $(WORKER)/.installed ## Install the training worker with torch into .venv-worker (TORCH_INDEX=... from there)

.PHONY: binaries
binaries: setup ## Find or build the Kubernetes binaries (once, about 7 minutes on 2 cores)
	@$(BIN)/muster local binaries

.PHONY: demo
demo: setup ## Show gangs starting whole and an AIJob training on a real control plane, then clean up
	@$(MAKE) --no-print-directory worker || echo "==> No training worker here: the demo goes on without its training"
	@$(BIN)/muster demo

.PHONY: test
test: verify ## Run everything: format, lint, types, contracts and all tests

.PHONY: verify
verify: format-check lint types contracts unit worker-tests suites ## What CI runs

.PHONY: format
format: setup ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix --quiet .

.PHONY: format-check
format-check: setup
	@echo "==> format"
	@$(BIN)/ruff format --check --quiet .

.PHONY: lint
lint: setup ## Lint with ruff
	@echo "==> lint"
	@$(BIN)/ruff check --quiet .

.PHONY: types
types: setup ## Check types with mypy --strict
	@echo "==> types"
	@$(BIN)/mypy

.PHONY: contracts
contracts: setup ## Check who may import whom
	@echo "==> contracts"
	@$(BIN)/lint-imports --no-cache

.PHONY: unit
unit: setup ## Tests of pure code, under a minute
	@echo "==> unit tests"
	@$(PYTEST) -q tests/unit

.PHONY: worker-tests
worker-tests: worker ## Real gangs train, are killed and resumed, with torch
	@echo "==> worker tests"
	@$(WORKER)/bin/python -m pytest -q tests/worker

.PHONY: integration
integration: binaries ## Tests of one service against real neighbours
	@echo "==> integration tests"
	@$(PYTEST) -q tests/integration

.PHONY: scenarios
scenarios: binaries ## Acceptance scenarios on a real control plane, judged from its own watch
	@echo "==> scenarios"
	@$(PYTEST) -q -m "not soak" tests/scenarios

.PHONY: suites
suites: binaries ## Integration tests and scenarios at once: they mostly wait
	@tools/side-by-side integration scenarios

.PHONY: soak
soak: binaries ## Kill campaigns: every process at every step of a release, over and over
	@$(PYTEST) -s -m soak tests/soak

.PHONY: bench
bench: binaries ## One shape of each benchmark, in ten minutes
	@$(BIN)/python benchmarks/run.py

.PHONY: bench-full
bench-full: binaries ## All shapes of all benchmarks
	@$(BIN)/python benchmarks/run.py --full

LOCK := $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --upgrade \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options
EXTRAS := extender webhook queue local dev

.PHONY: lock
lock: setup ## Resolve both lock files anew from pyproject.toml
	@$(LOCK) $(addprefix --extra=,$(EXTRAS)) --output-file requirements.lock pyproject.toml
	@$(LOCK) --extra=worker --extra=worker-dev --output-file requirements-worker.lock pyproject.toml

.PHONY: clean
clean: ## Remove the environment and caches of this checkout
	@rm -rf .venv $(WORKER) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache dist build
