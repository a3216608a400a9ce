# `make test` and `make demo` are all that a newcomer needs: each sets up what it uses.
SHELL := /bin/bash
.DEFAULT_GOAL := help

export PYTHON
VENV := $(or $(RECON3D_VENV),.venv)
PY := $(VENV)/bin/python
SOURCE ?=
# Set by the ROS wheels in their own Python only; see scripts/setup_env.sh.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE

.PHONY: help setup test lint types pytest demo bench docs clean

help:  ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## Make .venv (done by the others where needed)
	@scripts/setup_env.sh

test: lint types pytest  ## Lint, types and all tests

lint: setup  ## Ruff: lint and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: setup  ## Mypy, strict on the core
	$(PY) -m mypy

pytest: setup  ## Tests only; PYTEST_ARGS='-m "not slow"' for the quick ones
	$(PY) -m pytest -n auto --maxprocesses 4 --dist loadgroup $(PYTEST_ARGS)

demo: setup  ## Node and player on a synthetic table, results in out/demo; SOURCE=... for others
	$(PY) -m recon3d_ros.demo $(if $(SOURCE),'$(SOURCE)')

bench: setup  ## Measure and compare into out/bench/; BENCH='mapping node' for some
	$(PY) -m recon3d_core bench $(or $(BENCH),--all)

docs: setup  ## Write the generated pages of docs/
	$(PY) scripts/generate_docs.py

clean:  ## Remove what was built; .venv stays
	rm -rf build install log out dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
