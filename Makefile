# `make help` lists what there is. Everything runs in .venv, which is made again only when setup.py or pyproject.toml change.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest
ARGS ?=

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): setup.py pyproject.toml
	@python=$$(PYTHON="$(PYTHON)" .ci/requirements python) && \
	  echo "bubuku: setting up $(VENV)" && \
	  { $(BIN)/python -m pip --version >/dev/null 2>&1 || "$$python" -m venv --clear $(VENV); } && \
	  $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test]' && \
	  touch $@

.PHONY: venv
venv: $(READY) ## the virtual environment alone, in .venv

.PHONY: java
java: ## make sure of Java 17 and Maven
	@.ci/requirements java

.PHONY: sandbox
sandbox: $(READY) java ## ZooKeeper and three real Kafka brokers under bubuku: make sandbox ARGS="--mode kraft --brokers 3"
	@$(BIN)/bubuku-cli sandbox up $(ARGS)

.PHONY: test
test: $(READY) java ## every test, real Kafka and ZooKeeper included (T=tests/unit picks some)
ifdef T
	@$(PYTEST) -m "not full" $(T) $(ARGS)
else
	@$(PYTEST) -n auto -m "not jvm and not full" tests $(ARGS)
	@$(PYTEST) -m "jvm and not full" tests $(ARGS)
endif

.PHONY: test-fast
test-fast: $(READY) ## the tests that need no JVM, under a minute
	@$(PYTEST) -n auto -m "not jvm and not full" tests $(ARGS)

.PHONY: test-full
test-full: $(READY) java ## the whole matrix, under 90 minutes
	@$(PYTEST) tests $(ARGS)

.PHONY: unit
unit: $(READY) ## unit tests alone
	@$(PYTEST) tests/unit $(ARGS)

.PHONY: sim
sim: $(READY) ## the simulator: SEEDS=n runs so many, SEED=n replays one
	@$(BIN)/python -m tests.sim $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: story
story: $(READY) ## the stories; S=name runs one, REWRITE=1 writes their transcripts anew
	@$(if $(REWRITE),BUBUKU_REWRITE=1) $(PYTEST) tests/stories $(if $(S),-k $(S)) $(ARGS)

.PHONY: bench
bench: $(READY) java ## the table of "how fast": kills real brokers under load, with and without bubuku
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: lint
lint: $(READY) ## ruff (rules and format), mypy --strict, the import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: format
format: $(READY) ## let ruff format and mend what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: docs
docs: $(READY) ## write the pages of docs/ that are made from the code (reasons, settings)
	@$(BIN)/python -m docs.generate
	@$(BIN)/python -m docs.permit_model

.PHONY: clean
clean: ## remove .venv and what tools left behind (the jar cache in ~/.cache/bubuku stays)
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
