# Needs only Python 3.11 or newer, make and git. `make` without a target lists the targets.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long lint types contracts check serve lock live-test chaos mutation money many-stores reconcile-proof explain-bench import-bench history container-test container-lint scaling autoscaling fuzz screenshots sbom

PYTHON ?= python3
JOBS ?= 3
BIN := .venv/bin
# Compiled modules are kept in .venv, also where PYTHONDONTWRITEBYTECODE is set: the tests start hundreds of programs.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/pycache
unexport PYTHONDONTWRITEBYTECODE
STAMP := .venv/.set-up
BENCH_BIN := .venv-bench/bin
BENCH := .venv-bench/.set-up
UV := $(or $(shell uv --version >/dev/null 2>&1 && command -v uv),.tools/uv/bin/uv)
COMPILE = $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url $(if $(UPGRADE),--upgrade) pyproject.toml

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' Makefile | while IFS='|' read -r name what; do printf '%-24s %s\n' "$$name" "$$what"; done

setup: $(STAMP) ## create .venv from the hash-locked requirements, or update it when they changed

demo: setup ## run the demo on simulators; ONCE=1 stops after one day
	@$(BIN)/relay demo $(if $(ONCE),--once)

test: setup ## run the tests (5 minutes); ARGS="-k redemption" selects tests, JOBS=0 uses one process
	@$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

test-long: setup ## run the tests that take longer: faults, browser, fuzzing, money (7 minutes)
	@$(BIN)/pytest -n $(JOBS) -m "long and not live and not screenshots" $(ARGS)

lint: setup ## check style and formatting
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: setup ## check types
	@$(BIN)/mypy

contracts: setup ## check the import contracts
	@$(BIN)/lint-imports

check: lint types contracts ## run lint, types and contracts

serve: setup ## run web server and worker in one process
	@$(BIN)/relay serve

live-test: setup ## test against real Medusa and Vendure from npm (needs Node 20; the first run takes minutes)
	@$(BIN)/pytest -n 0 -m live tests/live $(ARGS)

chaos: setup ## run the fault tests with every fault and print a table of results
	@$(BIN)/python -m tests.faults $(ARGS)

mutation: setup ## check that the tests of the queue find broken code (half an hour)
	@$(BIN)/python -m tests.mutation $(ARGS)

money: setup ## test thousands of genuine and forged redemptions under faults
	@$(BIN)/python -m tests.money $(ARGS)

many-stores: setup ## measure 20 idle relays on one PostgreSQL, and moving one to another server; ARGS="--stores 5" for fewer
	@$(BIN)/python -m tests.many_stores $(ARGS)

reconcile-proof: setup ## test reconciliation and repair with 10,000 differences in 200,000 entities
	@$(BIN)/python -m tests.reconcile

history: setup ## measure size and speed over 800 simulated days with 20 million events (hours); ARGS="--events 200000" is smaller
	@$(BIN)/python -m benchmarks.history $(ARGS)

explain-bench: setup ## measure explain with five million messages (needs 8 GB of disk)
	@$(BIN)/python -m benchmarks.explain $(ARGS)

import-bench: setup ## measure time and memory of an import of 100,000 customers
	@$(BIN)/python -m benchmarks.imports $(ARGS)

fuzz: setup ## send 200,000 invalid and hostile requests to a real service; ARGS="--seed 7" repeats a run
	@$(BIN)/python -m tests.fuzz $(ARGS)

screenshots: setup ## create the pictures of README.md and docs/tour.md, in Chromium
	@$(BIN)/pytest -n 0 -m screenshots tests/browser $(ARGS)

sbom: setup ## write the bill of materials of requirements.lock (CycloneDX) to sbom.json
	@$(BIN)/python -m cyclonedx_py requirements --pyproject pyproject.toml --output-reproducible --of JSON -o sbom.json requirements.lock

# CONTAINER_CHECK: a script that provides a Docker Engine on machines without one (options: --timeout, --url, --test).
container-test: ## build the images and test the stack; needs a Docker Engine, or a script in CONTAINER_CHECK
	@if docker info >/dev/null 2>&1; then docker compose --profile demo build && bash tests/container/run.sh; \
	elif [ -n "$(CONTAINER_CHECK)" ]; then COMPOSE_PROFILES=demo "$(CONTAINER_CHECK)" --timeout 240 \
	  --url http://127.0.0.1:8080/readyz --test 'cd "$$STAGE" && bash tests/container/run.sh' . ; \
	else echo "skipped: no Docker Engine is running"; fi

container-lint: $(UV) ## run hadolint and dclint, if they can be downloaded
	@UV="$(UV)" bash tests/container/lint.sh

scaling: setup ## measure events per second with 1 to 8 workers; ARGS="--write-docs" updates docs/scaling.md
	@$(BIN)/python -m benchmarks.scaling $(ARGS)

autoscaling: setup ## a burst of 50,000 events, and workers that the autoscaler's rules add (3 minutes); ARGS="--write-docs"
	@$(BIN)/python -m benchmarks.autoscaling $(ARGS)

lock: $(UV) ## update the lock files after a change of pyproject.toml; UPGRADE=1 upgrades all versions
	$(COMPILE) --extra otel --output-file requirements.lock
	$(COMPILE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock
	$(COMPILE) --extra bench --constraint requirements-dev.lock --output-file requirements-bench.lock

# The project is installed last, with hatchling from the lock file, so that only locked packages are downloaded.
$(STAMP): requirements-dev.lock pyproject.toml | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, but this is " + sys.version.split()[0] + "; choose another: make PYTHON=python3.12")'
	@echo "creating .venv"
	@$(UV) venv --quiet --allow-existing --no-python-downloads --python $(PYTHON) .venv
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements-dev.lock
	@$(UV) pip install --quiet --python $(BIN)/python --offline --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: bench bench-long redis

bench: $(BENCH) redis ## measure performance and compare it (15 minutes); ARGS="--write-docs" updates docs/performance.md
	@$(BENCH_BIN)/python -m benchmarks $(ARGS)

bench-long: $(BENCH) redis ## as bench, with the long measurements (over an hour); RSS_MINUTES=20 shortens the memory test
	@$(BENCH_BIN)/python -m benchmarks --long $(if $(RSS_MINUTES),--rss-minutes $(RSS_MINUTES)) $(ARGS)

# The programs that the benchmark compares with, in an environment of their own.
$(BENCH): requirements-bench.lock | $(UV)
	@echo "creating .venv-bench"
	@$(UV) venv --quiet --allow-existing --no-python-downloads --python $(PYTHON) .venv-bench
	@$(UV) pip sync --quiet --python $(BENCH_BIN)/python --require-hashes requirements-bench.lock
	@touch $@

# Celery needs Redis. It is installed with apt-get if possible; otherwise the benchmark skips Celery and prints a message.
redis:
	@command -v redis-server >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
	  apt-get install -y -qq redis-server >/dev/null 2>&1; } || echo "redis-server is not installed and cannot be installed; skipping Celery" >&2

# Debian packages pip and venv separately from Python; one of them is enough.
.tools/uv/bin/uv:
	@echo "installing uv"
	@mkdir -p .tools && { \
	  { $(PYTHON) -m venv .tools/uv && .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv; } >.tools/log 2>&1 || \
	  { rm -rf .tools/uv && $(PYTHON) -m pip install --quiet --disable-pip-version-check --target .tools/uv uv; } >>.tools/log 2>&1 || \
	  { rm -rf .tools/uv; cat .tools/log; \
	    echo "uv, which installs the requirements, is missing and could not be installed (see above)."; \
	    echo "If venv and pip are missing, run: sudo apt install python3-venv. Or install uv yourself. Then run make again."; exit 1; } >&2; }
