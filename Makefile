PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test lint types unit slow benchmark clean

help:
	@echo "make demo       explain a packaged scene: out/"
	@echo "make test       lint, types, tests"
	@echo "make slow       the checks that take minutes"
	@echo "make benchmark  the tables of benchmarks/results/"

demo: $(VENV)/installed
	$(BIN)/extremal-jax explain extremal_jax/data/packaged/dog-and-car.png --target dog --out out

test: lint types unit

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(VENV)/installed-dev
	$(BIN)/mypy

unit: $(VENV)/installed-dev
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

slow: $(VENV)/installed-dev
	XLA_FLAGS=--xla_force_host_platform_device_count=2 $(BIN)/pytest -m slow

benchmark: $(VENV)/installed-dev
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) out

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
