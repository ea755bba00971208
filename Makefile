# Needs Python 3.11 or later and nothing else: every target installs what it needs into .venv first.

PYTHON ?= python3
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PACKAGES := core plugins/builders plugins/pruners plugins/thinners plugins/models
SETUP := $(VENV)/.created constraints.txt $(PACKAGES:%=%/pyproject.toml)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test lint format types contracts bench docs docs-serve clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.dev ## install the packages and the development tools into .venv

demo: $(VENV)/.packages ## train, prune, thin and fine-tune a small network, and report
	$(BIN)/secateur run examples/demo.yaml --output runs/demo

test: $(VENV)/.dev ## run all tests, doctests and the snippets of the documentation
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) $(PYTEST_ARGS)

lint: $(VENV)/.dev ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev ## repair style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev ## check types
	$(BIN)/mypy

contracts: $(VENV)/.dev ## check which module may import which
	$(BIN)/lint-imports --no-logo --no-cache

bench: $(VENV)/.bench ## measure exactness and speed
	$(BIN)/python benchmarks/torchvision_coverage.py
	$(BIN)/python benchmarks/plan_thin_speed.py

docs: $(VENV)/.docs ## build the documentation into site/
	$(BIN)/python tools/docs_site build/docs
	$(BIN)/zensical build --clean --strict

docs-serve: docs ## build the documentation and show it in a browser
	$(BIN)/zensical serve --open

clean: ## remove .venv and all that was built or cached
	rm -rf $(VENV) build site .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find core plugins tests benchmarks tools -name __pycache__ -prune -exec rm -rf {} +

# -- installing: each stamp is older than what it was made from if there is something to do -------------------

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.packages: $(SETUP)
	@echo "installing the packages into $(VENV) (the first time, this takes a few minutes)"
	@$(PIP) $(PACKAGES:%=-e ./%)
	@touch $@

$(VENV)/.dev: $(SETUP) requirements-dev.txt
	@echo "installing the packages and the development tools into $(VENV) (the first time, this takes a few minutes)"
	@$(PIP) -r requirements-dev.txt
	@touch $(VENV)/.packages $@

$(VENV)/.docs: $(VENV)/.packages requirements-docs.txt
	@$(PIP) -r requirements-docs.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.packages benchmarks/requirements.txt
	@echo "installing what the benchmarks compare with into $(VENV)"
	@$(PIP) -r benchmarks/requirements.txt
	@touch $@
