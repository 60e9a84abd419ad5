# Two commands: `make demo` shows it, `make test` checks it. `make serve` runs the API.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Versions and hashes of all that is installed. `make LOCK= ...` installs what pyproject.toml allows
# instead, for an index that lacks a locked file.
LOCK := requirements.lock
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check
LOCKED_PIP := $(PIP) --no-deps --require-hashes --requirement
UV := VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --python $(BIN)/python
# Compile bytecode as pip does, so that the first start is as fast as later ones.
INSTALL := $(UV) --compile-bytecode --requirements pyproject.toml
LOCKED := $(if $(LOCK),--require-hashes --constraints $(LOCK))
OURS := $(UV) --no-deps $(if $(LOCK),--build-constraints $(LOCK)) --editable .
# The entry of a package in the lock file.
ENTRY = sed -n '/^$(1)==/,/[^\\]$$/p' $(LOCK)

# Twice the cores of a small machine, because many tests wait for other processes.
WORKERS ?= 4

# Processes that tests start compile the package once, not each of them again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo app serve serve-full services test soak laws fuzz check format smoke-live bench ops-test lock lock-check sbom audit clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/uv: $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
ifeq ($(LOCK),)
	$(PIP) 'uv>=0.8'
else
	$(call ENTRY,uv) > $@.lock && $(LOCKED_PIP) $@.lock
endif
	@touch $@

# One stamp for each set of extras, remade only when pyproject.toml or the lock file changes.
$(VENV)/demo: pyproject.toml $(VENV)/uv
	$(INSTALL) $(LOCKED) --extra market --extra report --extra sample
	$(OURS)
	@touch $@

# Tests train policies, so only developers need torch. pip installs it before uv runs, because pip
# follows its configuration (find-links) to a small CPU wheel where a machine provides one, and uv
# does not. uv then uses the installed torch. Its first import compiles the part that tests use. On
# Linux without such a wheel it is several GB. The range equals that of the extra `train` in
# pyproject.toml.
ifeq ($(LOCK),)
INSTALL_TORCH := $(PIP) 'torch>=2.13,<2.14'
else
INSTALL_TORCH = if $(LOCKED_PIP) requirements-cpu.lock 2> $(VENV)/torch.log; \
	then { sed '/^torch==/,/[^\\]$$/d' $(LOCK); cat requirements-cpu.lock; } > $(VENV)/torch.lock; \
	else $(call ENTRY,torch) > $(VENV)/torch.txt && $(LOCKED_PIP) $(VENV)/torch.txt && \
		cp $(LOCK) $(VENV)/torch.lock; fi
WITH_TORCH := --constraints $(VENV)/torch.lock
endif

$(VENV)/dev: pyproject.toml requirements-cpu.lock $(VENV)/uv
	@$(INSTALL_TORCH)
	$(INSTALL) $(if $(LOCK),--require-hashes) $(WITH_TORCH) --extra dev --extra train
	$(OURS)
	@touch $@ $(VENV)/demo $(VENV)/app $(VENV)/full

# What the demo needs, and the web client.
$(VENV)/app: pyproject.toml $(VENV)/uv
	$(INSTALL) $(LOCKED) --extra market --extra report --extra sample --extra app
	$(OURS)
	@touch $@ $(VENV)/demo

# Servers from packages, and their clients, without torch.
$(VENV)/full: pyproject.toml $(VENV)/uv
	$(INSTALL) $(LOCKED) --extra dev
	$(OURS)
	@touch $@ $(VENV)/demo $(VENV)/app

# The peers of the benchmark are not locked; what the rest needs is.
$(VENV)/bench: pyproject.toml requirements-cpu.lock $(VENV)/uv
	@$(INSTALL_TORCH)
	$(UV) --compile-bytecode $(WITH_TORCH) --editable '.[bench,train]'
	@touch $@

demo: $(VENV)/demo ## Set up, then propose, backtest and walk the API on packaged real prices
	$(BIN)/rebalancer demo

# Its accounts and sessions lie in out/app, apart from those of `make serve`.
app: $(VENV)/app ## Set up, then run the app in the browser on sample data, until Ctrl-C
	@mkdir -p out/app
	@REBALANCER_PRICES=sample REBALANCER_CACHE=out/app \
		REBALANCER_DATABASE_URL=sqlite:///out/app/rebalancer.db \
		$(BIN)/rebalancer serve --upgrade --demo --app

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

soak: $(VENV)/dev ## Use everything while its parts fail 160 times, also on SQLite (some minutes)
	$(BIN)/python -m tests.survival.soak --kills 100 --pairs --starts --migrations 3
	$(BIN)/python -m tests.survival.soak --kills 40 --sqlite --pairs --starts --full-disk --clock --migrations 3
	$(BIN)/python -m tests.survival.soak --kills 20 --job-attempts 3

laws: $(VENV)/dev ## Check the laws of the domain and of readers on many random examples (some minutes)
	$(BIN)/pytest -n $(WORKERS) --hypothesis-profile=deep tests/domain tests/adapters

MINUTES ?= 10
fuzz: $(VENV)/dev ## Send generated sequences of requests to the API over SQLite and Postgres, for MINUTES
	$(BIN)/python -m tests.fuzzing --minutes $(MINUTES)

format: $(VENV)/dev ## Let ruff rewrite what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

smoke-live: $(VENV)/full ## Ask the real providers of market data; needs a network, uses the keys that are set
	$(BIN)/python -m tests.live

bench: $(VENV)/bench ## Compare speed with peers and print ratios (some minutes)
	$(BIN)/python -m benchmarks

# Tools that check files of a deployment, in an environment of their own.
OPS := $(VENV)/ops
$(OPS)/ready: pyproject.toml $(VENV)/uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(OPS)
	VIRTUAL_ENV=$(CURDIR)/$(OPS) $(BIN)/uv pip install --quiet $(LOCKED) --group ops
	@touch $@

# The stages are in deployment/check/stages.py. What they download stays in OPS_CACHE.
STAGES ?=
OPS_CACHE ?= $(CURDIR)/out/ops-cache
ops-test: $(VENV)/full $(OPS)/ready ## Start what a deployment ships; STAGES=containers runs some (up to 60 minutes)
	OPS_CACHE=$(OPS_CACHE) PATH=$(CURDIR)/$(OPS)/bin:$$PATH $(BIN)/python -m deployment.check $(STAGES)

lock: $(VENV)/uv ## Lock all dependencies by version and hash; LOCK_FLAGS=--upgrade takes the newest
	$(BIN)/python -m supply_chain.lock $(LOCK_FLAGS)

lock-check: $(VENV)/uv ## Check offline that the lock file matches pyproject.toml
	$(BIN)/python -m supply_chain.lock --check

# Tools that describe and audit, in an environment of their own.
TOOLS := $(VENV)/supply
$(TOOLS)/ready: pyproject.toml $(VENV)/uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(TOOLS)
	VIRTUAL_ENV=$(CURDIR)/$(TOOLS) $(BIN)/uv pip install --quiet $(LOCKED) --group supply
	@touch $@

# What the image installs. The list of components describes this environment.
IMAGE := $(VENV)/image
IMAGE_UV := VIRTUAL_ENV=$(CURDIR)/$(IMAGE) $(BIN)/uv pip install --quiet
# The default of a build argument.
ARGUMENT = $(shell sed -n 's/^ARG $(1)="\(.*\)"/\1/p' Dockerfile)

sbom: $(TOOLS)/ready ## List the components of the image (CycloneDX) in out/sbom.json, and check the list
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(IMAGE)
	$(IMAGE_UV) $(LOCKED) --requirements pyproject.toml $(addprefix --extra ,$(call ARGUMENT,EXTRAS))
	{ $(foreach name,$(call ARGUMENT,SAMPLE),$(call ENTRY,$(name));) } > $(IMAGE)/sample.txt
	$(IMAGE_UV) --no-deps --require-hashes --requirement $(IMAGE)/sample.txt
	$(IMAGE_UV) --no-deps $(if $(LOCK),--build-constraints $(LOCK)) .
	@mkdir -p out
	$(TOOLS)/bin/cyclonedx-py environment --validate --pyproject pyproject.toml --output-reproducible \
		--spec-version 1.6 --output-format JSON --output-file out/sbom.json $(IMAGE)/bin/python
	$(BIN)/python -m supply_chain.sbom out/sbom.json

audit: $(TOOLS)/ready ## Ask a feed for vulnerabilities of what is locked; AUDIT_FLAGS=--optional without one
	$(BIN)/python -m supply_chain.audit $(AUDIT_FLAGS) $(TOOLS)/bin/pip-audit

clean: ## Remove what was installed and generated
	rm -rf $(VENV) out dist build .mypy_cache .ruff_cache .hypothesis .import_linter_cache
