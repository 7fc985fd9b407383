# Each target installs what it needs, and nothing twice.

PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
DOCS := .venv-docs
FAST_TESTS := tests/core tests/reporting tests/project/test_imports.py
export UV_PYTHON_DOWNLOADS := never
# Where Python may keep no bytecode, every program that a test starts compiles all of the project first.
unexport PYTHONDONTWRITEBYTECODE

# Python 3.11 reads the path of this checkout, which may hold any letter, in the encoding of the locale.
ifneq ($(shell locale charmap 2>/dev/null),UTF-8)
export LC_ALL := C.UTF-8
endif

# An environment whose Python is gone, or that belongs to another checkout (moved or copied), is made again, regardless of its stamp.
HERE := import os, optimizer; print(os.path.samefile(optimizer.__path__[0], "plugins/optimizer"))
ifneq ($(shell LC_ALL=$(LC_ALL) $(BIN)/python -I -c '$(HERE)' 2>/dev/null),True)
.PHONY: $(STAMP)
endif

.PHONY: demo test test-compose coverage truth bench bench-bidder bench-console bench-fleet bench-logs bench-run bench-tracking up down docs lock lint types check install servers
.DEFAULT_GOAL := demo

demo: install  ## replay three live weeks of one entity, then run it through Airflow
	@$(BIN)/optimizer demo $(DEMO)

# A file's tests stay together: its servers are started once. One more process than cores: one waits for Airflow or a server.
test: install servers  ## every test, against real servers, in three processes
	@$(BIN)/python -m pytest --numprocesses=3 --dist=loadscope --no-loadscope-reorder $(TESTS)

test-compose: install  ## build, start, use and remove the containers, on the Docker engine that `docker` reaches
	@$(BIN)/python -m pytest docker/tests

coverage: install servers  ## the tests, and which lines and branches of the product they run: a table and htmlcov/
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest --numprocesses=3 --dist=loadscope --no-loadscope-reorder $(TESTS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage html --quiet
	@$(BIN)/coverage report
	@echo "open htmlcov/index.html"

truth: install  ## the optimizer against known truth; DATA=file.csv: on an auction log of your own
	@$(BIN)/python -m lab.evaluation $(if $(DATA),--data $(DATA)) $(TRUTH)

bench: install  ## what the core costs, as ratios of one run; BENCH="--quick" leaves the logs of 5 and 20 million bids out
	@$(BIN)/python -m lab.benchmarks $(BENCH)

bench-bidder: install servers  ## bid latency and correctness under load, as ratios to bounds of the same run
	@$(BIN)/python -m lab.benchmarks.bidder $(BENCH)

bench-console: install servers  ## what the console's pages cost for 1,000 clients; BENCH="--entities 100" for fewer
	@$(BIN)/python -m lab.benchmarks.console $(BENCH)

bench-fleet: install  ## what thousands of entities cost: DAG files and commands; BENCH="--entities 100 --many 500" for fewer
	@$(BIN)/python -m lab.benchmarks.fleet $(BENCH)

bench-logs: install  ## memory and bids of runs on logs of up to 100 million bids; BENCH="--quick" for up to 5 million
	@$(BIN)/python -m lab.benchmarks.logs $(BENCH)

bench-run: install  ## what a run costs beyond its work, against a DAG of empty tasks; BENCH="--rounds 1" for one round
	@$(BIN)/python -m lab.benchmarks.run $(BENCH)

bench-tracking: install  ## what tracking costs next to MLflow and Optuna; BENCH="--quick" leaves the million runs out
	@scripts/install-uv $(PYTHON) $(UV_VERSION)
	@$(BIN)/python -m lab.benchmarks.tracking --uv .uv/bin/uv $(BENCH)

up: install  ## Airflow's UI, scheduler and triggerer on the embedded stack
	@$(BIN)/optimizer up

down: install  ## stop the embedded stack
	@$(BIN)/optimizer down

docs: $(DOCS)/installed  ## the documentation as a site in site/
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --quiet
	@echo "open site/index.html"

# mkdocs has an environment of its own: the project's has none of its packages.
$(DOCS)/installed: docs/requirements.txt
	@scripts/install-uv $(PYTHON) $(UV_VERSION)
	@.uv/bin/uv venv -q --clear --python $(PYTHON) $(DOCS)
	@.uv/bin/uv pip sync -q --require-hashes --python $(DOCS)/bin/python docs/requirements.txt
	@touch $@

lint: install  ## the code's style
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: install  ## the product's types, strictly
	@$(BIN)/mypy

check: lint types  ## style, types and the tests that need no servers and end within seconds
	@$(BIN)/python -m pytest -q --numprocesses=2 -m "not slow" $(FAST_TESTS)

lock:  ## renew requirements.txt and docs/requirements.txt from pyproject.toml and lab/pyproject.toml
	@scripts/install-uv $(PYTHON) $(UV_VERSION)
	@.uv/bin/uv pip compile -q --universal --fork-strategy fewest --python-version 3.11 --generate-hashes --upgrade \
	    --override requirements-overrides.txt --all-extras --group dev pyproject.toml lab/pyproject.toml -o requirements.txt
	@.uv/bin/uv pip compile -q --universal --fork-strategy fewest --python-version 3.11 --generate-hashes --upgrade \
	    --group docs -o docs/requirements.txt

install: $(STAMP)

# The stamp goes with the old environment and is set last: an interrupted installation starts over.
$(STAMP): requirements.txt pyproject.toml lab/pyproject.toml setup.py
	@scripts/install-uv $(PYTHON) $(UV_VERSION)
	@echo "installing the locked requirements into $(VENV)"
	@.uv/bin/uv venv -q --clear --python $(PYTHON) $(VENV)
	@.uv/bin/uv pip sync -q --require-hashes --compile-bytecode --python $(BIN)/python requirements.txt
	@.uv/bin/uv pip install -q --no-deps --no-index --no-build-isolation --python $(BIN)/python -e . -e ./lab
	@scripts/install-openmp $(BIN)/python
	@touch $(STAMP)

servers:  ## MariaDB, MySQL, memcached, Chromium and Node, for the tests
	@scripts/install-servers
