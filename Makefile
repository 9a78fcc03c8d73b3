# Two commands do everything: `make demo` and `make test`. Each makes the environment first if it is
# missing or the lock has changed. VENV=/somewhere shares one environment between clones.
#
# The path of a clone may hold blanks and quotes: no target is named after it, and recipes quote it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
PYTHON ?= python3
CONFIG := config/demo.yaml
CORES ?= all
TEST_WORKERS ?= 2
GPU_CHECK ?=
GPU_PYTHON ?= 3.12
GPU_WHEELS := pydantic|pydantic-core|annotated-types|typing-inspection|typing-extensions
export VENV
# Not `abspath`, which splits a path at its blanks.
export PATH := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))/bin:$(PATH)
DEMO := --cores $(CORES) --resources gpu=2 --configfile "$(CONFIG)" --quiet reason host

.PHONY: help
help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

# An environment is complete when it holds a copy of the lock; contents count, not dates.
.PHONY: venv
venv: ## install the environment from requirements.lock, unless it is complete
	@case "$$PWD$$VENV" in *:*) \
		echo "error: PATH takes a colon for the end of a folder: $$PWD, $$VENV"; exit 1;; esac; \
	cmp --silent requirements.lock "$$VENV/requirements.lock" && exit; \
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: $(PYTHON) is older than Python 3.11; try make PYTHON=python3.12"; exit 1; }; \
	echo "installing the locked environment into $$VENV (8 GB, some minutes) ..."; \
	"$(PYTHON)" -m venv "$$VENV"; \
	"$$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.lock; \
	cp requirements.lock "$$VENV/requirements.lock"

.PHONY: demo
demo: venv ## train and evaluate on synthetic people: minutes on two CPU cores
	python -m snakemake $(DEMO)

.PHONY: test
test: venv ## all tests but those of the four targets below
	python -m pytest -n $(TEST_WORKERS)

.PHONY: test-slow
test-slow: venv ## the slow tests: accuracy of the demo, killed jobs, full disks
	python -m pytest -m slow -n $(TEST_WORKERS)

.PHONY: test-slurm
test-slurm: venv ## the workflow on its own one-node SLURM clusters; root installs SLURM first
	tests/support/install.sh slurm
	python -m pytest -m slurm -n $(TEST_WORKERS) --dist loadfile

.PHONY: test-dvc
test-dvc: venv ## record the workflow with DVC, push, clone, pull and compare: minutes
	python -m pytest -m dvc

.PHONY: test-browser
test-browser: report ## the report and the page of serve in Chromium; root installs it first
	tests/support/install.sh chromium
	python -m pytest -m browser

.PHONY: bench
bench: venv ## time and memory beside plain formulations; needs two idle cores
	python -m benchmarks
	python -m benchmarks --epoch
	python -m benchmarks --growth
	python -m benchmarks --plans

# By any Python with torch and numba, such as that of a machine without a network.
.PHONY: gpu-check
gpu-check: ## tests and measurements on a GPU; PYTHON needs torch and numba
	@if compgen -G '.gpu/*.whl' >/dev/null && ! "$(PYTHON)" -c 'import pydantic' 2>/dev/null; then \
		"$(PYTHON)" -m pip install --quiet --no-index --no-deps --no-compile --upgrade \
			--target .gpu/packages .gpu/*.whl; \
	fi; \
	export PYTHONPATH="$$PWD/.gpu/packages$${PYTHONPATH:+:$$PYTHONPATH}"; \
	"$(PYTHON)" -m benchmarks.device $(GPU_CHECK)

.PHONY: gpu-wheels
gpu-wheels: ## fetch into .gpu/ what gpu-check needs besides, for GPU_PYTHON on Linux
	"$(PYTHON)" -m pip download --quiet --no-deps --only-binary=:all: --dest .gpu \
		--implementation cp --python-version $(GPU_PYTHON) --platform manylinux_2_28_x86_64 \
		--platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
		$$(grep -E '^($(GPU_WHEELS))==' requirements.lock)

.PHONY: lint
lint: venv ## style and types of the Python code and of the workflow
	python -m ruff check .
	python -m ruff format --check .
	python -m codespell_lib
	python -m mypy
	python -m snakefmt --check Snakefile workflow
	python -m snakemake --lint --configfile config/demo.yaml

.PHONY: report
report: venv ## the demo's results, figures and tables as one HTML page
	python -m snakemake report $(DEMO)

.PHONY: docs
docs: venv ## the documentation as a site in site/, without a warning
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict

.PHONY: lock
lock: ## update requirements.lock and environment.yml from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file requirements.lock
	"$(PYTHON)" workflow/scripts/write_environment.py requirements.lock environment.yml

.PHONY: clean
clean: ## delete the demo's data and results
	rm -rf data/demo results/demo
