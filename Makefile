# The words a contributor learns once. Each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests run in as many processes as there are cores, four at most: each needs 1.5 GB.
WORKERS ?= --numprocesses auto --maxprocesses 4 --dist loadgroup

.PHONY: help demo test fuzz faults lint fix docs bench clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/.core: pyproject.toml constraints.txt
	@echo "Installing into $(VENV): some 5 GB, a few minutes."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo]'
	touch $@

$(VENV)/.tools: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,test,lint,bench]'
	touch $@

demo: $(VENV)/.core  ## the whole main job on drawn scenes, under runs/demo
	$(BIN)/manylabel demo

test: $(VENV)/.tools  ## all tests, offline, on a CPU; some of them: make test ARGS="-k srn"
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

fuzz: $(VENV)/.tools  ## five minutes of damaged files for everything that reads one; hostile bundles
	$(BIN)/python tests/fuzz/run.py $(ARGS)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/hostile_bundles.py

faults: $(VENV)/.tools  ## kill every writer before each of its writes, and fill its disk
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults/table.py $(ARGS)

lint: $(VENV)/.tools  ## style, types, import arrows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

fix: $(VENV)/.tools  ## mend what can be mended by a tool
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.tools  ## write the pages that are made from the code
	$(BIN)/python -m docs.generate

bench: $(VENV)/.tools  ## the benchmarks that need no data
	$(BIN)/python -m benchmarks.head_overhead
	$(BIN)/python -m benchmarks.head_labels
	$(BIN)/python -m benchmarks.metrics_speed
	$(BIN)/python -m benchmarks.input_pipeline
	$(BIN)/python -m benchmarks.splits
	$(BIN)/python -m benchmarks.doctor

clean:  ## remove what was installed and cached; runs are kept
	rm -rf $(VENV) .pytest_cache .ruff_cache
