PYTHON ?= python3
IMAGE ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-gpu lint clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv-demo/ready ## protect, crop, compress, locate and recover a photograph (IMAGE=my.jpg for yours)
	.venv-demo/bin/clr-infer demo $(if $(IMAGE),"$(IMAGE)")

test: .venv/ready lint ## lint, type checks and all tests
	.venv/bin/python -m pytest -q

test-gpu: .venv/ready ## kernels compiled and run on a CUDA device
	.venv/bin/python -m pytest -q -m gpu

lint: .venv/ready ## ruff and mypy
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# Two environments: the demo runs on the default install alone, without torch.
.venv-demo/ready: pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/pip install --quiet -c constraints.txt -e .
	touch $@

.venv/ready: pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

clean: ## remove environments and everything that was built
	rm -rf .venv .venv-demo build dist demo_out *.egg-info .mypy_cache .pytest_cache .ruff_cache
