# Each of `make demo` and `make test` does all of the set-up itself; a second call finds it done.
VENV   ?= .venv
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
# Where the processor-only build of torch is looked for besides PyPI. Empty: whatever PyPI has,
# which on Linux is the CUDA build of several gigabytes.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# APT=no: leave the system's packages alone.
APT ?= yes
JOBS ?= 2
ARGS ?=
DEMO ?= out

bin := $(VENV)/bin
done := $(VENV)/.bonekit-set-up
pip := $(bin)/python -m pip --disable-pip-version-check --no-input install -qq -c constraints.txt
export APT PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types schemas check clean

help: ## this list
	@echo "bonekit: from a CT to the strength of a bone. Start with 'make demo'."
	@echo
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{ printf "%-13s %s\n", $$1, $$2 }'
	@echo
	@echo "  Settings: PYTHON=python3.12  APT=no  JOBS=2  DEMO=out  ARGS='-k femur' (for pytest)"
	@echo "            TORCH_INDEX=https://download.pytorch.org/whl/cu130 (CUDA) or empty (PyPI)"

setup: $(done) ## everything the other commands need, in .venv/

demo: setup ## a made-up patient: CT of a femur with a lytic metastasis -> fracture load and report
	$(bin)/bonekit phantom femur --lesion lytic --site neck --rods --kvp 120 --dicom -o $(DEMO)/phantom
	$(bin)/bonekit run $(DEMO)/phantom/dicom --config $(DEMO)/phantom/case.yaml -o $(DEMO)/demo
	@echo "The report: $(abspath $(DEMO))/demo/report.html"

test: setup ## all tests
	OMP_NUM_THREADS=1 $(bin)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

lint: setup ## ruff: rules and format
	$(bin)/ruff check .
	$(bin)/ruff format --check .

types: setup ## mypy, strict
	$(bin)/mypy

schemas: setup ## write data_schema/ anew from the models
	$(bin)/python -m bonekit.schemas data_schema

check: lint types test ## what has to pass before a change is merged

clean: ## remove the environment, build outputs and caches; results in out/ stay
	rm -rf $(VENV) build dist bonekit.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find bonekit meshing fem data_schema tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# torch by itself and without what it needs: the extra index is asked for torch only, and not waited for
# when it is out of reach. Of two builds of a version pip takes the one with a local label (+cpu).
$(done): pyproject.toml constraints.txt scripts/debian_packages.sh
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "bonekit needs Python 3.11 or newer, and '$(PYTHON)' is not. Name one: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@sh scripts/debian_packages.sh
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(bin)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv $(VENV)
	@echo "Installing the Python packages into $(VENV) (2.5 GB; a few minutes)"
	@$(pip) setuptools
	@$(pip) --no-deps $(if $(TORCH_INDEX),--retries 1 --timeout 15 --extra-index-url $(TORCH_INDEX)) torch
	@$(if $(TORCH_INDEX),$(bin)/python -c "import sys; from importlib.metadata import version as v; \
		sys.platform == 'linux' and '+' not in v('torch') and print( \
		'note: torch came from PyPI, not from $(TORCH_INDEX): with CUDA this is several gigabytes')")
	@$(pip) --no-build-isolation -e '.[dev]'
	@# pyNastran, which reads our decks in a test, wants another numpy: an environment of its own
	@"$(PYTHON)" -m venv $(VENV)/nastran
	@$(VENV)/nastran/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		pyNastran==1.4.1 'numpy<2' scipy cpylog docopt-ng
	@touch $@
