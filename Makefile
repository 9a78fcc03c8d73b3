# Two commands do everything: `make demo` and `make test`. Each makes the environment first if it
# is not there or the lock has changed. VENV=/somewhere shares one environment between clones.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
PYTHON ?= python3
BIN := $(abspath $(VENV))/bin
# The environment is whole when this copy of the lock stands in it; contents count, not dates.
READY := $(abspath $(VENV))/requirements.lock
CORES ?= all
TEST_WORKERS ?= 2
export PATH := $(BIN):$(PATH)

.PHONY: help
help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: venv
venv: $(READY) ## make the environment from requirements.lock

$(READY): requirements.lock
	@cmp --silent requirements.lock $(READY) && touch $(READY) && exit; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: $(PYTHON) is older than Python 3.11; try make PYTHON=python3.12"; exit 1; }; \
	echo "installing the locked environment into $(VENV) (8 GB, some minutes) ..."; \
	$(PYTHON) -m venv $(VENV); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock; \
	cp requirements.lock $(READY)

.PHONY: demo
demo: $(READY) ## draw people, train on them, evaluate and plot: minutes on two CPU cores
	snakemake --cores $(CORES) --resources gpu=2 --configfile config/demo.yaml --quiet reason host

.PHONY: test
test: $(READY) ## the tests, all but the slow ones, SLURM's, DVC's and the browser's
	python -m pytest -n $(TEST_WORKERS)

.PHONY: test-slow
test-slow: $(READY) ## the slow tests: the demo beats stage one and its control; kills, full disks
	python -m pytest -m slow -n $(TEST_WORKERS)

.PHONY: test-slurm
test-slurm: $(READY) ## the workflow on a SLURM of its own, installed first if root can
	tests/support/install.sh slurm
	python -m pytest -m slurm

.PHONY: test-dvc
test-dvc: $(READY) ## record the workflow with DVC, push, clone, pull, compare: minutes
	python -m pytest -m dvc

.PHONY: test-browser
test-browser: report ## the demo's report in a headless Chromium, installed first if root can
	tests/support/install.sh chromium
	python -m pytest -m browser

.PHONY: bench
bench: $(READY) ## ours beside plain formulations: seconds, memory, growth; wants two free cores
	python -m benchmarks
	python -m benchmarks --epoch
	python -m benchmarks --growth

.PHONY: gpu-check
gpu-check: $(READY) ## what needs a GPU: its tests and times; nothing where there is none
	@if python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then \
		python -m pytest -m gpu && python -m benchmarks --epoch --device cuda; \
	else echo "no GPU here: nothing was checked"; fi

.PHONY: lint
lint: $(READY) ## style and types of the code, of the Snakefiles and of the workflow
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint --configfile config/demo.yaml

.PHONY: report
report: $(READY) ## the demo's results, figures and tables as one HTML page
	snakemake report --cores $(CORES) --resources gpu=2 --configfile config/demo.yaml --quiet reason host

.PHONY: docs
docs: $(READY) ## the documentation as a site in site/, without a warning
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict

.PHONY: lock
lock: ## resolve pyproject.toml anew into requirements.lock (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file requirements.lock

.PHONY: clean
clean: ## delete the demo's data and results
	rm -rf data/demo results/demo
