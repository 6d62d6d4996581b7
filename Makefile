PYTHON ?= python3
IMAGE ?=
IMAGES ?=
VAL ?=
MINUTES ?= 9
SCHEDULE ?=
MODELS ?=
REHEARSE ?=

# Work for a GPU takes .venv where there is one, else what the machine came with: a checkout runs
# without being installed. Results go to OUT; a rehearsal, on the CPU at toy size, keeps apart.
GPU_PYTHON = PYTHONPATH="$(CURDIR)" $(if $(wildcard .venv/ready),.venv/bin/python,$(PYTHON))
GPU_OUT = $(or $(OUT),runs/gpu)$(if $(REHEARSE),/rehearsal)
PARALLEL = $(shell $(GPU_PYTHON) -c "import xdist" 2>/dev/null && echo "-n 8")

.DEFAULT_GOAL := help
.PHONY: help demo test test-gpu bench-gpu train-gpu lint clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv-demo/ready ## protect, crop, compress, locate and recover a photograph (IMAGE=my.jpg for yours)
	.venv-demo/bin/clr-infer demo $(if $(IMAGE),"$(IMAGE)")

test: .venv/ready lint ## lint, type checks and all tests
	.venv/bin/python -m pytest -q

test-gpu: ## kernels, runtimes and training on an NVIDIA GPU (REHEARSE=1: some of it on the CPU)
	@mkdir -p "$(GPU_OUT)"
	$(GPU_PYTHON) -m pytest -q -m gpu --junitxml="$(GPU_OUT)/tests.xml" --durations=10 \
		--continue-on-collection-errors $(if $(REHEARSE),--rehearse,$(PARALLEL))

bench-gpu: ## measure it: kernels, latency, runtimes, and which goals were reached (REHEARSE=1)
	$(GPU_PYTHON) -m clr_infer.cli bench gpu -o "$(GPU_OUT)" $(if $(REHEARSE),--rehearse) \
		$(if $(MODELS),--models "$(MODELS)")

train-gpu: ## train on it, IMAGES=photos/ VAL=held_out/ MINUTES=9; goes on where it was (REHEARSE=1)
	$(GPU_PYTHON) -m clr_infer.cli train-gpu -o "$(GPU_OUT)/train" --minutes $(MINUTES) \
		$(if $(REHEARSE),,$(addprefix --from ,$(wildcard runs/gpu/train/checkpoint.pt))) \
		$(if $(SCHEDULE),--schedule $(SCHEDULE)) $(if $(IMAGES),--images "$(IMAGES)") \
		$(if $(VAL),--val "$(VAL)") $(if $(REHEARSE),--rehearse)

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
