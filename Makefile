# The first words a newcomer types: make run, make test. Nothing else is needed first.

# Python 3.11 or 3.12, whichever is there. Tried by running it: a launcher of a version that is not installed fails.
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
# Tests in parallel: most of their time is waiting for processes to start, leases to end and files to settle.
TEST_PROCESSES ?= 3
PYTEST := $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --durations 25

.DEFAULT_GOAL := help
.PHONY: help install run lint fix test test-long testbed docs flower sbom audit clean

help:  ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.installed  ## Make the environment in .venv with the locked dependencies.

$(VENV)/.installed: requirements/dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; set PYTHON=/path/to/it." >&2; exit 2; }
	@echo "Making the environment in $(VENV); a minute or two, once ..."
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make an environment; on Debian install python3-venv." >&2; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: install  ## Start everything on this machine; prints where to drop files.
	@exec $(BIN)/fracture-queue up

lint: install  ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: install  ## Mend what can be mended by itself.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: install  ## Run the whole suite, with short timers.
	$(PYTEST) -m "not long"

test-long: install  ## What takes longer too: default timers, soaks, full fuzzing, large tables.
	TEST_TIMERS=default $(PYTEST)

testbed: install  ## Put several machines to the test on this one: 3,000 radiographs, a worker cut off and one added.
	@$(BIN)/python -m chaos.testbed $(TESTBED)

flower: install  ## Show Celery's own monitor of what `make run` started, at http://127.0.0.1:5555.
	@exec $(BIN)/celery --app core.queue:app flower --address=127.0.0.1 --port=5555

# Tools that look at the others, in an environment of their own.
build/supply/.installed: requirements/supply.lock
	@$(PYTHON) -m venv build/supply
	@build/supply/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/supply.lock
	@touch $@

sbom: build/supply/.installed  ## Write what an installation is made of (CycloneDX) below build/.
	@PYTHONWARNINGS=ignore build/supply/bin/cyclonedx-py requirements requirements/embedded.lock --pyproject pyproject.toml \
		--mc-type application --output-reproducible --output-file build/sbom.cdx.json
	@echo "build/sbom.cdx.json lists the locked packages with their hashes."

# Strict: where the list of vulnerabilities cannot be reached, nothing was compared, and that is no success.
audit: build/supply/.installed  ## Compare the locked packages with the known vulnerabilities (needs the internet).
	build/supply/bin/pip-audit --strict --require-hashes --disable-pip --progress-spinner off -r requirements/embedded.lock
	build/supply/bin/pip-audit --strict --require-hashes --disable-pip --progress-spinner off -r requirements/dev.lock

clean:  ## Remove the environment and caches; var/ and models/ stay.
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

docs: install  ## Write the README's settings table anew.
	$(BIN)/python -m tests.write_tables
