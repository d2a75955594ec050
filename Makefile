# Development commands; `make help` lists them. Targets create .venv first, and update it when pyproject.toml or constraints.txt
# has changed.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Four, even on two processors: each test that waits for real time lets another one work. With three, a sixth of the time is idle.
PYTEST := pytest --numprocesses 4 --dist worksteal
# The tests that run on the compiled kernel: all of them, unless something else is said.
COMPILED :=
# The first pip that knows dependency groups (PEP 735).
PIP := pip>=25.1
QUIET := --quiet --disable-pip-version-check
# An installation to be edited compiles nothing, and needs no Cython for it.
PURE := TRAFFIC_GOVERNOR_PURE=1
NEEDS := --editable '.[all]' --group dev --group bench

# The tests start many programs. Each would compile the project anew where the environment forbids to keep what is compiled.
export PYTHONDONTWRITEBYTECODE :=

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help .venv compiled test test-compiled test-lowest test-sdks pytest lint types contracts docs demo bench bench-quick bench-bans screenshot clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.venv: $(READY) ## create the virtual environment for development

# Most of what is installed is never loaded: without compiling all of it, this takes half the time.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or later is needed, and '$(PYTHON)' is not that. Name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Setting up .venv ..."; $(PYTHON) -m venv .venv; }
	@$(BIN)/python -m pip install $(QUIET) --upgrade '$(PIP)'
	@$(PURE) $(BIN)/python -m pip install $(QUIET) --no-compile --constraint constraints.txt $(NEEDS)
	@touch $@

# Types are checked while tests run, with what they leave of the processors: one of two would be idle in the meantime.
test: lint contracts ## run every check
	@$(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,--jobs 2) pytest types NICE='nice -n 10'

compiled: .venv ## compile the kernel into .venv-compiled, which has the packages of .venv
	@$(NICE) $(BIN)/python -m tools.compiled .venv-compiled

test-compiled: compiled ## run every test on the compiled kernel, and compare both builds
	.venv-compiled/bin/python -m $(PYTEST) $(COMPILED)

test-lowest: ## run the tests with the oldest allowed version of each dependency
	@test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	@.venv-lowest/bin/python .ci/lowest.py > .venv-lowest/constraints.txt
	@.venv-lowest/bin/python -m pip install $(QUIET) --upgrade '$(PIP)'
	@$(PURE) .venv-lowest/bin/python -m pip install $(QUIET) --constraint .venv-lowest/constraints.txt $(NEEDS)
	.venv-lowest/bin/$(PYTEST)

test-sdks: .venv-sdks/.ready ## call real SDKs through a governor; SDKS=write writes the table in the documentation
	SDKS=$${SDKS:-required} .venv-sdks/bin/$(PYTEST) tests/sdks

# An environment of its own: the SDKs bring many packages, some in older versions than the development tools need. Installed
# without compiling, as above.
.venv-sdks/.ready: pyproject.toml constraints-sdks.txt
	@test -x .venv-sdks/bin/python || $(PYTHON) -m venv .venv-sdks
	@.venv-sdks/bin/python -m pip install $(QUIET) --upgrade '$(PIP)'
	@$(PURE) .venv-sdks/bin/python -m pip install $(QUIET) --no-compile --constraint constraints-sdks.txt --editable . --group sdks
	@touch $@

# Python keeps what it has compiled. The first time, each process of the tests would compile all of them. What fails to be
# collected fails again, and is shown then.
pytest: $(READY) ## run the tests
	@test -e .venv/.collected || $(BIN)/python -m pytest --collect-only --quiet >/dev/null 2>&1 || true
	@touch .venv/.collected
	$(BIN)/$(PYTEST)

lint: $(READY) ## check style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY) ## check types, strictly
	$(NICE) $(BIN)/mypy

contracts: $(READY) ## check which way imports point
	$(BIN)/lint-imports

docs: $(READY) ## build the documentation site into site/; warnings are errors
	$(BIN)/python -m tools.architecture
	$(BIN)/zensical build --strict

demo: $(READY) ## run the same traffic without and with a governor, against a provider that bans
	$(BIN)/python -m demo

bench: compiled ## measure, and write the tables and the chart
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.builds

bench-quick: $(READY) ## measure what a call costs, for use while working, in half a minute; writes nothing
	$(BIN)/python -m benchmarks.quick

bench-bans: $(READY) ## run clients against models of providers that ban, and write the page and its charts
	$(BIN)/python -m benchmarks.bans

screenshot: $(READY) ## take the picture of the dashboard for the documentation, which takes five minutes
	$(BIN)/python -m tests.browser.screenshot docs/how-to/dashboard.png

clean: ## remove everything that make made, .venv included
	rm -rf .venv .venv-compiled .venv-lowest .venv-sdks .cache build dist site .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
