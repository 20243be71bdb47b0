# Everything a user, CI and the container run. `make quickstart` and `make test` need nothing but Python.
SHELL := /bin/bash
VENV ?= .venv
EXTRAS ?= cpu,openvino,parquet,ray,dev
PIP_ARGS ?=
BIN := $(VENV)/bin
comma := ,
STAMP := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))
SUPPORTED := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	$$p -c '$(SUPPORTED)' >/dev/null 2>&1 && echo $$p && break; done)

.PHONY: install quickstart test bench bench-compare bench-history bench-pruning bench-report bench-sweep \
	bench-training cost-curve gpu-check docker-bench lint clean

install: $(STAMP) ## make .venv and install the pinned versions

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: dgprune needs Python 3.11 or 3.12 with venv" >&2; exit 2; }
	@echo "installing the pinned dependencies into $(VENV) (about 1.5 GB, once)"
	$(PYTHON) -m venv $(VENV)
	@# other extras than before: the two packages of ONNX Runtime overwrite each other's files
	@if ls $(VENV)/.installed-* >/dev/null 2>&1; then rm -f $(VENV)/.installed-*; \
		$(BIN)/pip uninstall --quiet --yes onnxruntime onnxruntime-gpu 2>/dev/null || true; fi
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

quickstart: install ## run the whole chain on a CPU; prints the path of the report
	$(BIN)/dgprune quickstart

test: install ## run the whole test suite
	$(BIN)/python -m pytest

bench: install ## latency by runtime, stored under .benchmarks/: one file a commit and machine
	$(BIN)/python -m tests.benchmarks.measure $(ARGS)

bench-compare: install ## in alternation: make bench-compare BASE=main fails on a slower file
	$(BIN)/python -m tests.benchmarks.compare "$(BASE)" --tier $(or $(TIER),default)

bench-history: install ## what make bench stored; FILES="a.json b.json" sets two side by side
	$(BIN)/python -m tests.benchmarks.history $(FILES)

bench-pruning: install ## speed and memory of scoring, surgery and loading, as ratios
	$(BIN)/python -m tests.benchmarks.pruning_speed

bench-report: install ## time and size of the report of 10,000 records
	$(BIN)/python -m tests.benchmarks.report_speed

bench-sweep: install ## what a sweep adds to a cell, on local workers and on Ray
	$(BIN)/python -m tests.benchmarks.sweep_overhead

bench-training: install ## speed of a training beside the plain loop: make bench-training DATA=folder
	$(BIN)/python -m tests.benchmarks.training_speed "$(DATA)"

cost-curve: install ## what each axis costs here: make cost-curve MODEL=deit_tiny_patch16_224 PIXELS=224 OUT=runs/cost-curve
	$(BIN)/python -m tests.benchmarks.cost_curve run "$(or $(MODEL),deit_tiny_patch16_224)" \
		"$(or $(PIXELS),224)" "$(or $(OUT),runs/cost-curve)"
	$(BIN)/python -m tests.benchmarks.cost_curve page "$(or $(OUT),runs/cost-curve)" \
		"$(or $(OUT),runs/cost-curve)/page"

gpu-check: install ## all that needs a GPU: make gpu-check EXTRAS=gpu,dev DATA=folder WEIGHTS=file OUT=runs/gpu
	$(BIN)/python -m tests.benchmarks.gpu_check "$(DATA)" "$(or $(WEIGHTS),random)" "$(or $(OUT),runs/gpu)"

docker-bench: ## gpu-check in a container: make docker-bench DATA=folder WEIGHTS=file OUT=runs/gpu
	@docker/run.sh # make hands on what is given to it, such as DATA

lint: install ## ruff and mypy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean: ## remove the environment and all caches; keeps runs/
	rm -rf $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
