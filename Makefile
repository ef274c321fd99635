# `make help` lists the targets.
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BENCH_VENV ?= .venv-bench
IMPORT_VENV ?= .venv-import

# The files name every package, so pip need not resolve dependencies, which takes a minute.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile

# Compile on all cores, which pip does not; some packages have files for other Python versions.
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true

# Many tests wait for other processes, so run one test process more than there are cores.
TEST_PROCESSES ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))

SITE := import sysconfig; print(sysconfig.get_path('purelib'))

LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
  --no-header --quiet --upgrade

.PHONY: help run test coverage test-thorough test-page test-import test-container test-rollout train-smoke fuzz lint format docs bench image lock clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##\(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

run: $(VENV)/.serving  ## install what serving needs and start the server on :5000
	$(BIN)/python app.py

test: $(VENV)/.development  ## install what development needs and run the tests, several at a time
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

coverage: $(VENV)/.development  ## run the tests and say which lines they reach; takes a quarter longer
	$(BIN)/python -m pytest --cov --cov-report=term

test-thorough: $(VENV)/.development  ## the tests that `make test` leaves out because they take long
	$(BIN)/python -m pytest -m thorough

test-page: $(VENV)/.development  ## only the tests of the page in a browser; they need Chromium
	$(BIN)/python -m pytest tests/api/routes/test_page.py tests/page

test-import: $(IMPORT_VENV)/.importing  ## only the tests of importing networks; they download PyTorch
	$(IMPORT_VENV)/bin/python -m pytest tests/training/convert

test-container: $(VENV)/.development  ## build the image, run it confined and as a pod; it needs podman
	$(BIN)/python -m pytest --timeout 3600 -m container tests/container

test-rollout: $(VENV)/.development  ## replace servers and workers under load; it needs HAProxy, Redis and podman
	$(BIN)/python -m pytest --timeout 3600 -m rollout tests/container tests/api/test_replicas.py

train-smoke: $(VENV)/.development  ## photographs to measured weights, the whole chain in small
	$(BIN)/python -m pytest tests/training/test_chain.py

fuzz: $(VENV)/.development  ## throw damaged files at the decoders; FUZZ=folder of files, MINUTES=10, URL=of a server
	$(BIN)/python -m tests.fuzzing $(if $(FUZZ),--seeds $(FUZZ)) $(if $(URL),--url $(URL)) $(if $(MINUTES),--minutes $(MINUTES))

lint: $(VENV)/.development  ## style, spelling, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.development  ## put the code into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.development  ## build the documentation site in build/docs; broken links fail
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs

bench: $(BENCH_VENV)/.engines  ## measure this checkout beside other engines; BENCH=--quick for a smoke test
	$(BIN)/python -m benchmarks --engines $(BENCH_VENV)/bin/python $(BENCH)

image:  ## build the container image
	docker build -t max-image-resolution-enhancer .

lock: $(VENV)/.development  ## pin the newest versions that pyproject.toml allows
	$(BIN)/$(LOCK) -o requirements.txt
	$(BIN)/$(LOCK) --extra training --extra dev -c requirements.txt -o requirements-dev.txt
	$(BIN)/uv pip compile --group import --no-deps --universal --python-version 3.11 --quiet \
	  --upgrade --no-header --no-annotate -o requirements-import.txt

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) $(BENCH_VENV) $(IMPORT_VENV) build .coverage .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { echo "Python's venv is missing: apt-get install python3-venv"; exit 1; }

$(VENV)/.serving: requirements.txt | $(BIN)/python
	$(PIP) -r requirements.txt
	@$(COMPILE)
	@touch $@

$(VENV)/.development: requirements-dev.txt $(VENV)/.serving
	$(PIP) -r requirements-dev.txt
	@$(COMPILE)
	@touch $@

# The engines get an environment of their own that also sees the development packages.
$(BENCH_VENV)/.engines: benchmarks/requirements.txt $(VENV)/.development
	$(BIN)/python -m venv --clear $(BENCH_VENV)
	$(BIN)/python -c "$(SITE)" > "$$($(BENCH_VENV)/bin/python -c "$(SITE)")/development.pth"
	sed -e 's/ *#.*//' -e '/^$$/d' $< | while read -r engine; do \
	  $(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "$$engine" \
	  || echo "$$engine cannot be installed: the table will say what is missing"; done
	@touch $@

# The tests that need PyTorch get an environment of their own, too. PyTorch is pinned without
# hashes, and pip finds its dependencies: both differ between its builds with and without CUDA.
$(IMPORT_VENV)/.importing: requirements-import.txt $(VENV)/.development
	$(BIN)/python -m venv --clear $(IMPORT_VENV)
	$(BIN)/python -c "$(SITE)" > "$$($(IMPORT_VENV)/bin/python -c "$(SITE)")/development.pth"
	$(IMPORT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
