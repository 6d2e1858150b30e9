# make install   .venv/ with the locked versions
# make demo      the pipeline, small (proteins to a report), and the law, real (of published runs)
# make test      format, lint, types, unit tests and the whole pipeline, small
# make site      the documentation as pages, in build/site/
# make test-long what of it is tried more often, or simulated hundreds of times
#
# On a machine without a GPU, where the default index would bring torch with gigabytes of CUDA
# packages, point TORCH_INDEX to an index of CPU builds (PyTorch's installation page names it).

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH_INDEX ?=
CORES ?= 2
VENV := .venv
BIN := $(VENV)/bin
DEMO = $(BIN)/python -P src/plm_scaling/workflow/start_snakemake.py --profile profiles/demo \
	--cores $(CORES) --logger-plm-times profiles/demo/times.tsv
TORCH := $(shell grep '^torch==' requirements.lock)

# Images of containers set it; every program of a workflow would compile our library anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test test-long lint pytest docs site format

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if v == (3, 11) else f"error: Python 3.11 is needed, found {v[0]}.{v[1]}; run make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) '$(TORCH)'
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c "from plm_scaling.mmseqs.tool import find_mmseqs; print('installed; MMseqs2', find_mmseqs('auto').version)"
	touch $@

# First what others wait for: the tokens, and the figures of the published runs, which take longest.
demo: install
	@echo "the pipeline, small: real proteins, in stages from [sources] to [report]"
	@echo "the law, real: of the published runs, beside the last stages as [published]"
	@began=$$(date +%s) && $(DEMO) data train --prioritize data \
		&& $(DEMO) downstream report published --prioritize published \
		&& $(BIN)/python -m plm_scaling.report.demo results/demo results/published $$began

# One process more than cores: the tests with Slurm wait most of their time. One that crashes is
# not replaced: what it had started would keep its successor waiting.
PYTEST := $(BIN)/pytest --numprocesses $$(($(CORES) + 1)) --dist loadfile --no-loadscope-reorder \
	--max-worker-restart 0

test: install
	@$(MAKE) --jobs 2 --no-print-directory lint site pytest

pytest: install
	$(PYTEST) -m "not long"

test-long: install
	$(PYTEST) -m long

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(BIN)/snakemake --lint
	$(BIN)/hadolint containers/Dockerfile

docs: install
	$(BIN)/python -m plm_scaling.config.document config.yaml docs/config.md
	$(BIN)/python -m plm_scaling.design.block config.yaml config/full-designed.yaml
	$(BIN)/python -m plm_scaling.cheng2024.document docs/study-laws.md

site: install
	$(BIN)/sphinx-build -q -W --keep-going -b html docs build/site

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules
