# Python 3.11 or newer and make are all that a target needs; it sets up the rest in .venv.

PYTHON ?= python3
PYTEST_ARGS ?= -n auto --maxprocesses 4 --dist worksteal

BIN := .venv/bin
# The name holds a checksum: when one of the files changes, the environment is built anew.
READY := .venv/ready-$(shell cat pyproject.toml constraints.txt | cksum | cut -d ' ' -f 1)

.DEFAULT_GOAL := help
.PHONY: help demo test browser lint docs examples clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

demo: $(READY) ## clean the labels of the embedded data, report in demo/
	OMP_WAIT_POLICY=passive $(BIN)/latentlabels demo --out demo

test: $(READY) ## run the tests; PYTEST_ARGS="tests/model -x" picks some
	OMP_NUM_THREADS=1 $(BIN)/pytest $(PYTEST_ARGS)

browser: $(READY) ## run the tests that drive a Chromium, which has to be there
	OMP_NUM_THREADS=1 $(BIN)/pytest -m browser tests/report tests/review

lint: $(READY) ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY) ## build the documentation in docs/_build/html
	rm -rf docs/_build docs/api
	$(BIN)/sphinx-build -W --keep-going docs docs/_build/html

examples: $(READY) ## run every script in examples/, each in a directory of its own
	@set -e; for script in $(wildcard examples/*.py); do \
		echo "$$script"; \
		scratch=$$(mktemp -d); \
		(cd "$$scratch" && "$(CURDIR)/$(BIN)/python" "$(CURDIR)/$$script"); \
		rm -rf "$$scratch"; \
	done

clean: ## remove everything the other targets made, .venv too
	rm -rf .venv demo docs/_build docs/api .mypy_cache .pytest_cache .ruff_cache \
		.import_linter_cache .hypothesis

$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "latentlabels needs Python 3.11 or newer, $(PYTHON) is not." \
			"Name another: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --disable-pip-version-check \
		-c constraints.txt -e '.[test,lint,docs]'
	touch $@
