# One command each. All but `clean` set up .venv first: nothing but Python 3.11 and pip is expected on the machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NATIVE_READY := $(VENV)/.native
PAGE := clients/avf_dashboard/page
PAGE_LINT := tests/dashboard/lint
PAGE_READY := $(PAGE_LINT)/node_modules/.ready
NODE := $(BIN)/node $(PAGE_LINT)/node_modules
DATA_DIR ?= .avf
# Twice the cores: many tests wait for servers.
WORKERS ?= $(shell expr 2 \* $$(nproc))
COUNT ?= 100000
FILES ?= 10000
MINUTES ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check test-long lint format bench chaos fuzz docs clean

help:
	@echo "make demo    watch a Bach chorale being filtered, note by note"
	@echo "make serve   run the server, and its dashboard, on http://127.0.0.1:8000"
	@echo "make test    lint, types (of the page too), import layers and all tests: what CI runs"
	@echo "make check   the same with the quick tests only: in a minute or so, before each commit"
	@echo "make lint    lint, types and import layers only"
	@echo "make test-long  the tests that take minutes: before a release"
	@echo "make bench   short forms of the benchmarks, in ten minutes: tables, JSON and plots in benchmarks/results/quick"
	@echo "make fuzz    COUNT=100000 random and mutated messages at every door, FILES=10000 files at every reader: one JSON object"
	@echo "make chaos   servers and their Redis under fire, for MINUTES=2: one JSON object"
	@echo "make docs    the API reference, as HTML in site/"
	@echo "make format  format the sources"

$(READY): pyproject.toml constraints.txt
	@echo "setting up $(VENV): a minute or two, the first time"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(PAGE_READY): $(PAGE_LINT)/package.json $(PAGE_LINT)/package-lock.json | $(READY)
	@echo "setting up ESLint and TypeScript, which check the dashboard's scripts"
	@PATH="$(abspath $(BIN)):$$PATH" npm ci --prefix $(PAGE_LINT) --no-fund --no-audit || \
		{ echo "make lint: npm ci in $(PAGE_LINT) failed. It fetches the two checkers of the dashboard's scripts from the" \
		"npm registry: see what npm says above, let it reach the registry, and run this again" >&2; exit 1; }
	@touch $@

$(NATIVE_READY): $(wildcard avf_core/native/source/*) avf_core/native/build.py | $(READY)
	@$(BIN)/python -m avf_core.native.build >/dev/null
	@touch $@

setup: $(READY) $(NATIVE_READY)

demo: $(NATIVE_READY)
	@$(BIN)/python examples/demo.py

serve: $(NATIVE_READY)
	@$(BIN)/avf serve --data-dir $(DATA_DIR)

lint: $(READY) $(PAGE_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python clients/generate_blocking.py --check
	$(NODE)/eslint/bin/eslint.js --config $(PAGE_LINT)/eslint.config.js --max-warnings 0 $(PAGE)
	$(NODE)/typescript/bin/tsc --project $(PAGE_LINT)

test: lint $(NATIVE_READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal

check: lint $(NATIVE_READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not slow and not long"

test-long: $(NATIVE_READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal -m long

bench: $(NATIVE_READY)
	@$(BIN)/python -m benchmarks

fuzz: $(READY)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --count $(COUNT) --files $(FILES)

chaos: $(READY)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.chaos --minutes $(MINUTES)

docs: $(READY)
	@$(BIN)/python docs/reference.py

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python clients/generate_blocking.py

clean:
	rm -rf $(VENV) $(PAGE_LINT)/node_modules .mypy_cache .ruff_cache .pytest_cache demo-output site
