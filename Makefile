# One command each. All but `clean` set up .venv first: nothing but Python 3.11 and pip is expected on the machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DATA_DIR ?= .avf
COUNT ?= 100000
MINUTES ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check test-long lint format bench chaos fuzz docs clean

help:
	@echo "make demo    watch a Bach chorale being filtered, note by note"
	@echo "make serve   run the server, and its dashboard, on http://127.0.0.1:8000"
	@echo "make test    lint, types, import layers and all tests: what CI runs"
	@echo "make check   the same with the quick tests only: in a minute or so, before each commit"
	@echo "make lint    lint, types and import layers only"
	@echo "make test-long  the tests that take minutes: before a release"
	@echo "make bench   benchmarks, as tables and JSON"
	@echo "make fuzz    COUNT=100000 random and mutated messages at every door: one JSON object"
	@echo "make chaos   servers and their Redis under fire, for MINUTES=2: one JSON object"
	@echo "make docs    the API reference, as HTML in site/"
	@echo "make format  format the sources"

$(READY): pyproject.toml constraints.txt
	@echo "setting up $(VENV): a minute or two, the first time"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: $(READY)

demo: $(READY)
	@$(BIN)/python examples/demo.py

serve: $(READY)
	@$(BIN)/avf serve --data-dir $(DATA_DIR)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python clients/generate_blocking.py --check

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal

check: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal -m "not slow and not long"

test-long: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal -m long

bench: $(READY)
	$(BIN)/python -m benchmarks.steps
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.dashboard

fuzz: $(READY)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --count $(COUNT)

chaos: $(READY)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.chaos --minutes $(MINUTES)

docs: $(READY)
	@$(BIN)/python docs/reference.py

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python clients/generate_blocking.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache demo-output site
