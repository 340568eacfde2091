# Every target does its own set-up: Python >= 3.11 and make are all that has to be there. `make help` lists them.
#   PYTHON=python3.12 make demo     another interpreter
#   VENV=/elsewhere make test       another place for the environment

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
FRONT = $(shell find labextension/src labextension/style -type f 2>/dev/null) \
	$(wildcard labextension/*.json labextension/yarn.lock)

# `make test PYTEST_ARGS="tests/unit -x"` narrows a run; two workers, each file in one of them.
PYTEST = $(BIN)/python -m pytest -n 2 --dist loadfile
PYTEST_ARGS ?=
FUZZ_SECONDS ?= 60
LAB_ARGS ?=

.DEFAULT_GOAL = help
.PHONY: help demo lab test test-fast fuzz lint format types bench bench-peers build clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.demo ## example 03 guarded, each promise checked on the files that it left
	$(BIN)/python examples/demo.py

lab: $(VENV)/.lab ## JupyterLab in examples/; as root add LAB_ARGS=--allow-root
	cd examples && PATH="$(abspath $(BIN)):$$PATH" jupyter lab $(LAB_ARGS)

test: $(VENV)/.dev $(VENV)/.node_modules ## all tests: Python, browser, labextension
	cd labextension && PATH="$(abspath $(BIN)):$$PATH" jlpm test
	$(PYTEST) $(PYTEST_ARGS)

test-fast: $(VENV)/.dev $(VENV)/.node_modules ## without the slow ones and the browser
	$(PYTEST) -m "not slow and not browser" $(PYTEST_ARGS)

fuzz: $(VENV)/.fuzz ## every parser, guided by coverage, FUZZ_SECONDS each; what is found is kept in .fuzz
	@mkdir -p .fuzz && names=$$($(BIN)/python tests/fuzz/run.py --list) && for name in $$names; do echo "== $$name"; \
		$(BIN)/python tests/fuzz/run.py $$name .fuzz/$$name -artifact_prefix=.fuzz/$$name- \
			-max_total_time=$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1 || exit 1; done

lint: $(VENV)/.dev $(VENV)/.node_modules ## ruff, format, import contracts, eslint, prettier
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	cd labextension && PATH="$(abspath $(BIN)):$$PATH" jlpm lint

format: $(VENV)/.dev $(VENV)/.node_modules ## mend what ruff and prettier can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd labextension && PATH="$(abspath $(BIN)):$$PATH" jlpm prettier

types: $(VENV)/.dev ## mypy --strict
	$(BIN)/mypy

bench: $(VENV)/.demo ## the measures of the README, as ratios
	$(BIN)/python benchmarks/run.py

bench-peers: $(VENV)/.demo ## one Bell: what devqubit, MLflow and qnb add, in one table
	$(BIN)/python benchmarks/peers.py

build: $(VENV)/.dev ## wheel and sdist in dist/
	rm -rf dist
	$(BIN)/python -m build

clean: ## remove the environment and everything built
	rm -rf $(VENV) dist build .bench .demo .fuzz qnb/labextension labextension/lib labextension/node_modules
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# --- the environment: one folder, a stamp for each step ---------------------------------------------------------------

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'qnb needs Python 3.11 or newer; name one with PYTHON=python3.12 make ...' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The demo runs on the terminal: the labextension, the longer half of the installation, is left to `make lab`. (The
# build packs the folder that it finds, so there has to be one.)
$(VENV)/.demo: pyproject.toml | $(VENV)/.venv
	@mkdir -p qnb/labextension
	HATCH_JUPYTER_BUILDER_SKIP_NPM=1 $(PIP) --editable '.[examples]'
	@touch $@

$(VENV)/.lab: pyproject.toml $(FRONT) | $(VENV)/.venv
	$(PIP) --editable '.[examples]'
	@touch $(VENV)/.demo $@

$(VENV)/.dev: pyproject.toml $(FRONT) | $(VENV)/.venv
	$(PIP) --editable '.[dev]'
	@touch $(VENV)/.demo $(VENV)/.lab $@

$(VENV)/.fuzz: $(VENV)/.node_modules
	$(PIP) --editable '.[fuzz]'
	@touch $@

# jest, eslint, and the age vectors that the Python tests read.
$(VENV)/.node_modules: labextension/package.json labextension/yarn.lock | $(VENV)/.dev
	cd labextension && PATH="$(abspath $(BIN)):$$PATH" jlpm install --immutable
	@touch $@
