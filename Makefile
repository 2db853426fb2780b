# `make demo` and `make test` are complete: each sets up what it needs first.
PYTHON ?= python3
VENV ?= .venv
DEMO_ARGS ?=
# Tests run in JOBS processes of one thread each, which beats one process of many threads.
JOBS ?= 2
PYTEST_ARGS ?=
# MMSegmentation and MMRotate, for the test of docs/other_packages.md.
OTHER = build/other_packages
RUN = $(VENV)/bin/python
PYTEST = OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(JOBS) --dist worksteal

.PHONY: help setup demo test test-slow lint docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       train and show a detector of digits (DEMO_ARGS=--quick for a short one)"
	@echo "make test       lint, then the quick tests (PYTEST_ARGS='-k hub' for some of them)"
	@echo "make test-slow  the long tests"
	@echo "make lint       ruff (lint and format) and basedpyright (types), as in CI"
	@echo "make docs       build the documentation site, build/docs/index.html"
	@echo "make setup      only make the environment, $(VENV) (PYTHON=python3.12 to choose one)"
	@echo "make clean      remove the environment and what builds left; data and results stay"

setup:
	@$(PYTHON) tools/setup.py $(VENV)

# On Linux, a CPU trains faster when freed memory stays with the process: docs/performance.md.
KEEP_MEMORY = MALLOC_MMAP_MAX_=0 MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=1000000000000

demo: setup
	$(KEEP_MEMORY) $(RUN) demo/digits_demo.py $(DEMO_ARGS)

test: lint
	$(PYTEST) $(PYTEST_ARGS)

test-slow: setup
	$(VENV)/bin/uv pip install --quiet --python $(RUN) --no-deps --target $(OTHER) \
		-r tests/docs/other_packages.txt
	$(PYTEST) -m slow $(PYTEST_ARGS)

lint: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m basedpyright --pythonpath $(RUN)

docs: setup
	$(RUN) -m sphinx --fail-on-warning --keep-going --quiet -c docs -d build/doctrees . build/docs
	@echo "The documentation is in build/docs/index.html."

clean:
	rm -rf $(VENV) $(VENV).lock build dist *.egg-info .pytest_cache .ruff_cache
