# Works on a machine that has only Python 3.11+, make and git. `make` lists what there is to make.
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types contracts check serve lock live-test chaos mutation money reconcile-proof explain-bench import-bench container-test container-lint scaling fuzz screenshots sbom

PYTHON ?= python3
JOBS ?= 2
BIN := .venv/bin
STAMP := .venv/.set-up
BENCH_BIN := .venv-bench/bin
BENCH := .venv-bench/.set-up
UV := $(or $(shell uv --version >/dev/null 2>&1 && command -v uv),.tools/uv/bin/uv)
COMPILE = $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url $(if $(UPGRADE),--upgrade) pyproject.toml

help: ## list what there is to make
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' Makefile | while IFS='|' read -r name what; do printf '%-18s %s\n' "$$name" "$$what"; done

setup: $(STAMP) ## make .venv from the hash-locked requirements, again only when they change

demo: setup ## run the main job before your eyes; ONCE=1 ends by itself
	@$(BIN)/relay demo $(if $(ONCE),--once)

test: setup ## run the tests; ARGS="-k redemption" for some, JOBS=0 for one process
	@$(BIN)/pytest -n $(JOBS) $(ARGS)

lint: setup ## check style and formatting
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: setup ## check types
	@$(BIN)/mypy

contracts: setup ## check who imports whom
	@$(BIN)/lint-imports

check: lint types contracts ## lint, types and contracts

serve: setup ## run web and worker in one process
	@$(BIN)/relay serve

live-test: setup ## prove the real Medusa and Vendure, from npm (Node 20; the first time takes minutes)
	@$(BIN)/pytest -n 0 -m live tests/live $(ARGS)

chaos: setup ## every fault, long and seeded; prints its table
	@$(BIN)/python -m tests.faults $(ARGS)

mutation: setup ## are the engine's tests worth something? Breaks its promises one by one, then every line (half an hour)
	@$(BIN)/python -m tests.mutation $(ARGS)

money: setup ## thousands of forged and genuine redemptions under faults
	@$(BIN)/python -m tests.money $(ARGS)

reconcile-proof: setup ## 10,000 differences in 200,000 entities: all found, none invented, none left after the repair
	@$(BIN)/python -m tests.reconcile

explain-bench: setup ## how long explain takes with five million messages (needs 8 GB of disk)
	@$(BIN)/python -m benchmarks.explain $(ARGS)

import-bench: setup ## how fast 100,000 customers of a file are accepted, and the memory it takes
	@$(BIN)/python -m benchmarks.imports $(ARGS)

fuzz: setup ## 200,000 nasty requests to a real service; ARGS="--seed 7" replays a run
	@$(BIN)/python -m tests.fuzz $(ARGS)

screenshots: setup ## take the pictures of README.md and docs/tour.md anew, in Chromium
	@$(BIN)/pytest -n 0 -m screenshots tests/browser $(ARGS)

sbom: setup ## the bill of materials (CycloneDX) of what requirements.lock pins, into sbom.json
	@$(BIN)/python -m cyclonedx_py requirements --pyproject pyproject.toml --output-reproducible --of JSON -o sbom.json requirements.lock

container-test: ## build the images and prove the stack on a Docker Engine (where there is none, on one of its own if it can be had)
	@if docker info >/dev/null 2>&1; then docker compose --profile demo build && bash tests/container/run.sh; \
	elif [ -x ../shared/tools/container-check.sh ]; then COMPOSE_PROFILES=demo ../shared/tools/container-check.sh --timeout 240 \
	  --url http://127.0.0.1:8080/readyz --test 'cd "$$STAGE" && bash tests/container/run.sh' . ; \
	else echo "skipped: there is no Docker Engine here"; fi

container-lint: $(UV) ## hadolint and dclint, where they can be had
	@UV="$(UV)" bash tests/container/lint.sh

scaling: setup ## events per second with 1 to 8 workers; ARGS="--write-docs" puts them into docs/scaling.md
	@$(BIN)/python -m benchmarks.scaling $(ARGS)

lock: $(UV) ## renew the lock files after a change of pyproject.toml; UPGRADE=1 takes newer versions
	$(COMPILE) --extra otel --output-file requirements.lock
	$(COMPILE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock
	$(COMPILE) --extra bench --constraint requirements-dev.lock --output-file requirements-bench.lock

# The project is installed last, with the hatchling that came from the lock, so nothing unlocked is fetched.
$(STAMP): requirements-dev.lock pyproject.toml | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another: make PYTHON=python3.12")'
	@echo "setting up .venv"
	@$(UV) venv --quiet --allow-existing --no-python-downloads --python $(PYTHON) .venv
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements-dev.lock
	@$(UV) pip install --quiet --python $(BIN)/python --offline --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: bench bench-long redis

bench: $(BENCH) redis ## how fast it is, beside its peers, within 15 minutes; ARGS="--write-docs" puts it into docs/performance.md
	@$(BENCH_BIN)/python -m benchmarks $(ARGS)

bench-long: $(BENCH) redis ## the rows marked with a dagger too, more than an hour; RSS_MINUTES=20 for a shorter load
	@$(BENCH_BIN)/python -m benchmarks --long $(if $(RSS_MINUTES),--rss-minutes $(RSS_MINUTES)) $(ARGS)

# The peers of the benchmark, apart from the environment of the tests.
$(BENCH): requirements-bench.lock | $(UV)
	@echo "setting up .venv-bench"
	@$(UV) venv --quiet --allow-existing --no-python-downloads --python $(PYTHON) .venv-bench
	@$(UV) pip sync --quiet --python $(BENCH_BIN)/python --require-hashes requirements-bench.lock
	@touch $@

# Celery needs Redis: Debian's is installed where that is allowed; without it the benchmark leaves Celery out, and says so.
redis:
	@command -v redis-server >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
	  apt-get install -y -qq redis-server >/dev/null 2>&1; } || echo "redis-server is not here and cannot be installed: Celery is left out" >&2

# Debian splits pip and venv off Python: either of them is enough.
.tools/uv/bin/uv:
	@echo "getting uv"
	@mkdir -p .tools && { \
	  { $(PYTHON) -m venv .tools/uv && .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv; } >.tools/log 2>&1 || \
	  { rm -rf .tools/uv && $(PYTHON) -m pip install --quiet --disable-pip-version-check --target .tools/uv uv; } >>.tools/log 2>&1 || \
	  { rm -rf .tools/uv; cat .tools/log; \
	    echo "uv, which installs the requirements, is missing and could not be fetched (see above)."; \
	    echo "Without venv and pip: sudo apt install python3-venv, then run make again. Or install uv itself."; exit 1; } >&2; }
