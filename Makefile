.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.made
TORCH := 2.13.0
AZURITE := .venv/azurite/.made

help:  ## what can be made
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): requirements/cpu.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@# The CPU build of torch: from the environment's own sources, else from PyTorch's index, which uv knows by name.
	$(BIN)/python -c 'import torch' 2>/dev/null \
	  || $(BIN)/pip install --quiet --no-deps "torch==$(TORCH)+cpu" 2>/dev/null \
	  || { $(BIN)/pip install --quiet uv && $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps \
	       --torch-backend cpu "torch==$(TORCH)"; }
	$(BIN)/pip install --quiet --no-deps --requirement requirements/cpu.lock 2> >(grep -v '^WARNING: Location' >&2)
	$(BIN)/pip install --quiet --no-deps --editable . 2> >(grep -v '^WARNING: Location' >&2)
	touch $(STAMP)

env: $(STAMP)  ## make the environment in .venv/ (vLLM for CPU, Ray, and the tools)

demo: $(STAMP)  ## run jobs/quickstart.yaml: a real engine, a tiny teacher, a dataset in out/quickstart/
	$(BIN)/synth-ray run jobs/quickstart.yaml

demo-real: $(STAMP)  ## run jobs/real.yaml: a real small language model and a real embedding model, fetched once, on real texts
	$(BIN)/python training/real_models.py out/real 2> >(grep -v '^WARNING: Location' >&2)
	$(BIN)/python training/real_texts.py out/real
	$(BIN)/synth-ray run jobs/real.yaml

$(AZURITE): | $(STAMP)
	@mkdir -p $(@D)
	@if command -v npm >/dev/null && npm install --silent --no-audit --no-fund --prefix $(@D) azurite@3.37.0; then touch $@; \
	 else echo "azurite is not installed: npm is not here, or cannot reach its registry. The tests on Azure will be skipped."; fi

azurite: $(AZURITE)  ## install Azure's emulator in .venv/ by npm, for the tests

# Each command has two processes, and gives a module as a whole to one of them; all that need the engine are one module in this, so
# that it is opened once. Modules go out in the order of the tree, where the long ones come first: else one of them begins when
# nothing is left for the other process.
test: $(STAMP) | $(AZURITE)  ## run the whole suite: what is light, then what has servers, engines or faults, on two processes
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder -m "not alone"
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder -m alone

test-fast: $(STAMP)  ## house, laws and units without an engine, Ray or S3, on two processes
	$(BIN)/python -m pytest -n 2 -m "not alone" tests/house tests/laws tests/unit

check: $(STAMP)  ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

chaos: $(STAMP)  ## a soak of ten minutes: kills of drivers, actors, shards and nodes, and store faults; what survived, was lost, was repeated
	$(BIN)/python -m bench.chaos

bench-%: $(STAMP)  ## run one benchmark: prints its table, writes bench/results/NAME.json
	$(BIN)/python -m bench.$*

docs-reference: $(STAMP)  ## write docs/reference/ again from the code, and the chart from bench/results/
	$(BIN)/python docs/generate.py
	$(BIN)/python -m bench.chart

docs: $(STAMP)  ## build the documentation site into out/site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo out/site/index.html

lock: $(STAMP)  ## resolve requirements/cpu.lock again from pyproject.toml
	$(BIN)/pip install --quiet uv
	UV_FIND_LINKS=$$PIP_FIND_LINKS $(BIN)/uv pip compile --quiet pyproject.toml --extra cpu --extra dev --extra docs \
	  --python-version 3.11 --torch-backend cpu --no-header --no-annotate --no-emit-find-links --no-emit-index-url \
	  --no-emit-package torch --no-emit-package torchvision --no-emit-package torchaudio \
	  --no-emit-package torchcodec --no-emit-package triton --output-file requirements/cpu.lock

.PHONY: help env azurite demo demo-real test test-fast check chaos docs docs-reference lock
