# The two commands of the README, and what continuous integration runs.
# Everything also works without make: pip install -c constraints.txt -e ".[dev]".

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install search test test-all reports check format clean

help:
	@echo "make search              the default study: transfer learning on synthetic images"
	@echo "make search ARGS='...'   the same with flags: --data DIR, --name NAME, --dry-run, ..."
	@echo "make reports             five course reports again, on real chest radiographs: docs/reports.md"
	@echo "make test                the tests (make test-all: the slow ones too)"
	@echo "make check               ruff and mypy"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

install: $(STAMP)

search: install
	$(BIN)/python -m tune_bio.search search_spaces/transfer.py $(ARGS)

test: install
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile $(ARGS)

test-all: install
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

# Needs TUNE_BIO_REAL_DATA; what is complete is not run again.
reports: install
	$(BIN)/python docs/generate_reports.py $(ARGS)

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
