# The first of these that is there and not too old; or set PYTHON=/path/to/python.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
FOR_DEMO := $(VENV)/.installed-demo
INSTALLED := $(VENV)/.installed
COMPILED := $(VENV)/.compiled
LOOPS := $(shell grep -rlE "numba|_njit|compiled" schemas transforms --include=*.py)
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Where it is set, each process compiles the tests and Millrace anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test check flink bench campaign clean

help:  ## the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

# An environment for the demo has no tools for tests; where those are there already, nothing is left to install.
$(FOR_DEMO): pyproject.toml
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Millrace needs Python 3.11 or newer, and $(if $(PYTHON),$(PYTHON) is not that,there is none here): make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: install its venv (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@test $(INSTALLED) -nt pyproject.toml || { \
		echo "installing Millrace into $(VENV) (800 MB, once) ..."; $(PIP) -e '.[demo]'; }
	@touch $@

$(INSTALLED): $(FOR_DEMO)
	@echo "installing the tools for tests into $(VENV) (700 MB, once) ..."
	@$(PIP) -e '.[test,check]'
	@touch $@

# numba renews what it keeps when a file changes, but not when a file that it calls does: so all is made anew.
$(COMPILED): $(FOR_DEMO) $(LOOPS)
	@find schemas transforms -name '*.nb[ic]' -delete
	@echo "compiling the decoder (once) ..."
	@$(BIN)/python -m millrace.pipelines.cli.compile_kernels
	@touch $@

install: $(INSTALLED) $(COMPILED)  ## .venv/ with all that the other commands need; they do it themselves

demo: $(COMPILED)  ## change events through a real Kafka protocol into tables, and the proof that they are right
	@$(BIN)/millrace demo

test: install  ## all tests; those that need Java are skipped with a reason where there is none
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

ROUNDS ?= 20

campaign: install  ## the property tests with other examples in each of ROUNDS=20 rounds, until one fails
	@for round in $$(seq $(ROUNDS)); do \
		$(BIN)/python -m pytest -q -x --timeout=3600 --hypothesis-profile=campaign tests/properties $(PYTEST_ARGS) || exit 1; done

check: $(INSTALLED)  ## ruff, mypy strict, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_layers.py

flink: install  ## a Flink cluster on this machine until Ctrl-C, and the command that runs a job on it (Java 17, Maven)
	@PYTHONPATH=tests $(BIN)/python -m support.flink_cluster

bench: install  ## each figure of the documentation, one JSON line a figure
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@$(BIN)/python -m benchmarks

clean:  ## remove what the other commands made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache build millrace-demo
	find . -name __pycache__ -prune -exec rm -rf {} +
