# What can one do with a clone? `make help` tells. Every target sets up .venv first, and again when what it is made from changes.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help .venv test test-lowest pytest lint types contracts demo bench screenshot clean

help: ## say what can be done
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.venv: $(READY) ## set up the virtual environment with what developers need

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or later is needed, and '$(PYTHON)' is not that. Name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Setting up .venv ..."; $(PYTHON) -m venv .venv; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	@touch $@

test: lint types contracts pytest ## run every check

test-lowest: ## run the tests with the oldest allowed version of each dependency
	@test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	@.venv-lowest/bin/python .ci/lowest.py > .venv-lowest/constraints.txt
	@.venv-lowest/bin/python -m pip install --quiet --constraint .venv-lowest/constraints.txt --editable '.[dev,bench]'
	.venv-lowest/bin/pytest

pytest: $(READY) ## run the tests
	$(BIN)/pytest

lint: $(READY) ## check style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY) ## check types, strictly
	$(BIN)/mypy

contracts: $(READY) ## check which way imports point
	$(BIN)/lint-imports

demo: $(READY) ## show a client without a governor and one with it, against a provider that bans
	$(BIN)/governor demo

bench: $(READY) ## measure, and write the tables and the chart
	$(BIN)/python -m benchmarks

screenshot: $(READY) ## take the picture of the dashboard for the documentation, which takes five minutes
	$(BIN)/python -m tests.browser.screenshot docs/how-to/dashboard.png

clean: ## remove everything that make made, .venv included
	rm -rf .venv .venv-lowest build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
