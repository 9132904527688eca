# Two commands for a new user: `make quickstart` and `make test`. Each does its own set-up.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PROCESSES ?= 2

.PHONY: help setup quickstart test check format docs proofs faults benchmarks clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## make .venv and install hikaku with exact versions

# editable_mode=compat puts this folder on Python's path: with setuptools' own finder a mere folder named records/ or analysis/ in the
# working directory would hide the package.
# torch first: with it in place, nothing below asks the index for a newer build with CUDA in it
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "hikaku needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch setuptools wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --config-settings editable_mode=compat --editable '.[dev]'
	@touch $(STAMP)

quickstart: setup  ## search LoRA against full fine-tuning on the embedded model, and show the answer
	$(BIN)/hikaku tune studies/quickstart.yaml

test: setup  ## run the tests, two files at a time; PROCESSES=0 for one after another
	$(BIN)/python -m pytest -m "not proof" --numprocesses $(PROCESSES)

proofs: setup  ## run the long proofs: kills, resumption, real inputs
	$(BIN)/python -m pytest -m proof --timeout=3600 tests

faults: setup  ## kill drivers, damage studies, fill their disk: each script prints a JSON line with what failed
	$(BIN)/python -m tests.faults.kills
	$(BIN)/python -m tests.faults.mutations
	$(BIN)/python -m tests.faults.disk_full

check: setup  ## lint, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: setup  ## format and mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup  ## write the generated pages of docs/
	$(BIN)/python -m analysis.report.definitions > docs/metrics.md
	$(BIN)/python -m analysis.report.claim_page > docs/claims.md

benchmarks: setup  ## measure this machine and write every measured table of docs/; takes long, and needs a machine that does nothing else
	$(BIN)/python benchmarks/step.py --write docs/benchmarks.md
	$(BIN)/python benchmarks/evaluation.py --write docs/benchmarks.md
	$(BIN)/python benchmarks/memory.py --write docs/benchmarks.md
	$(BIN)/python benchmarks/samplers.py --write docs/benchmarks.md
	$(BIN)/python benchmarks/known_worlds.py --write docs/statistics.md
	$(BIN)/python benchmarks/equal_learning.py --write docs/statistics.md

clean:  ## remove the environment and what tools left behind
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
