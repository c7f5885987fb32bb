# rhoflow: `make help` lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
TORCH ?= auto
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
BIN := .venv/bin
RUNTIME := .venv/.runtime-$(TORCH)
TESTENV := .venv/.test-$(TORCH)
# What runs from here runs with what is installed here, and offline.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export HF_HUB_OFFLINE := 1
export PYTHONNOUSERSITE := 1
# A run has hundreds of short processes: each would compile rhoflow anew.
unexport PYTHONDONTWRITEBYTECODE
# Three at a time, on two cores too: the tests of the workflow and of the cluster wait for jobs much of the time.
SUITES := test-workflow test-library test-cluster
TOGETHER = $(MAKE) --no-print-directory --jobs 3 --keep-going --output-sync=line
PYTEST := OMP_NUM_THREADS=1 python -m pytest

.PHONY: help demo test $(SUITES) test-full bench lint config lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo "  TORCH=cpu|cuda chooses the torch build where both can be had; CORES=n limits the cores."

demo: $(RUNTIME)  ## run the default study: real densities to a table of results (about 10 minutes on 2 cores)
	@snakemake --profile profiles/default --cores $(CORES)
	@rhoflow results demo

test: $(TESTENV)  ## lint, types and the test suite (about 15 minutes on 2 cores)
	@+$(TOGETHER) lint $(SUITES)

test-full: $(TESTENV)  ## everything, with the slow tests (hours)
	@+$(TOGETHER) lint $(SUITES) WHICH="-m 'slow or not slow' --timeout 7200 --durations 25"

test-workflow: $(TESTENV)
	@$(PYTEST) $(WHICH) tests/workflow

test-cluster: $(TESTENV)
	@$(PYTEST) $(WHICH) tests/slurm tests/chaos

test-library: $(TESTENV)
	@$(PYTEST) $(WHICH) --ignore tests/workflow --ignore tests/slurm --ignore tests/chaos

bench: $(TESTENV)  ## speed and memory against today's references; writes results/bench.json
	@python benchmarks/run.py

lint: $(TESTENV)  ## format, lint, types, workflow lint
	@ruff format --check . && ruff check .
	@mypy
	@snakefmt --check Snakefile rules
	@snakemake --lint

config: $(TESTENV)  ## remake config.yaml, docs/config.md and docs/config.schema.json from the Study model
	@python -m rhoflow.config_docs

lock: ## remake the hashed locks (needs uv)
	@bash envs/lock.sh

clean:  ## remove results, logs and scratch (not .venv)
	rm -rf results logs scratch .snakemake

$(RUNTIME): envs/lock.txt envs/install.sh pyproject.toml
	@PYTHON=$(PYTHON) bash envs/install.sh envs/lock.txt $(TORCH)
	@touch $@

$(TESTENV): envs/lock-test.txt envs/install.sh pyproject.toml
	@PYTHON=$(PYTHON) bash envs/install.sh envs/lock-test.txt $(TORCH)
	@touch $@ $(RUNTIME)
