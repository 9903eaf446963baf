# Everything a user or the CI runs. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Idle OpenMP threads sleep instead of spinning: the machine's few cores are shared with the mapper's workers.
export OMP_WAIT_POLICY := passive

.DEFAULT_GOAL := help
.PHONY: help install run test test-all lint format clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name what; do printf '  make %-10s %s\n' "$$name" "$$what"; done

install: $(STAMP) ## create .venv with pinned packages (again only when pyproject.toml or constraints.txt change)

# The stamp is written last, and removed before anything is changed. So a broken installation has no stamp, and the
# next run begins with an empty .venv; with a stamp, packages are brought up to date in place.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	  "make: $(PYTHON) is not Python 3.11 or newer (got $$($(PYTHON) --version 2>&1), expected >= 3.11). Name one: make PYTHON=python3.11 ..." >&2; exit 2; }
	@if [ -f $@ ]; then rm $@; else $(PYTHON) -m venv --clear $(VENV); fi
	$(PIP) install --quiet -c constraints.txt hatchling editables
	$(PIP) install --quiet -c constraints.txt --no-build-isolation -e '.[distill,dev]'
	@touch $@

run: install ## search designs for the embedded encoder on simba_l, distil the best, print the front
	$(BIN)/heat-sim run

test: install ## run every test that takes seconds
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

test-all: install ## run every test, the ones that take minutes too
	$(BIN)/python -m pytest -q -n 2

lint: install ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## rewrite the files in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove .venv and every cache; results stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
