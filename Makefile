# One command sets up, one shows it working: make test, make demo.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
IS_NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'

# The first Python that is new enough; choose another with make PYTHON=...
PYTHON ?= $(firstword $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python $(IS_NEW_ENOUGH) 2>/dev/null && echo $$python; done) python3)

SEEDS ?= 1000

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check bench bench-vectorbt soak bugs lock universe clean week weeks month kills

help:  ## What can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED)  ## See it work: whole sessions on the embedded synthetic market
	$(BIN)/autotrader demo

test: check  ## Everything that must hold: check and all tests
	$(BIN)/pytest -n 2

check: $(INSTALLED)  ## Style and types
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(INSTALLED)  ## Measure against bare TA-Lib, numpy and Python, and hold the ratios
	$(BIN)/python benchmarks/bench_scan.py --check
	$(BIN)/python benchmarks/bench_startup.py --check
	$(BIN)/python benchmarks/bench_recovery.py --check
	$(BIN)/python benchmarks/bench_day.py --check --year
	$(BIN)/python benchmarks/bench_rules.py --check
	$(BIN)/python benchmarks/bench_validate.py --check
	$(BIN)/python benchmarks/bench_backtest.py --check
	$(BIN)/python benchmarks/bench_alpaca.py --check

bench-vectorbt: $(INSTALLED)  ## The backtest's benchmark, beside vectorbt in an environment of its own
	test -x .venv-vectorbt/bin/python || $(PYTHON) -m venv .venv-vectorbt
	.venv-vectorbt/bin/pip install --quiet --disable-pip-version-check "vectorbt==1.2.0" "TA-Lib>=0.6.4" pyarrow
	$(BIN)/python benchmarks/bench_backtest.py --check

soak: $(INSTALLED)  ## Thousands of sessions with every kind of fault and kill: make soak SEEDS=1000
	cd tests && ../$(BIN)/python -m reliability.soak $(SEEDS)

bugs: $(INSTALLED)  ## Plant bugs one at a time and count the seeds until each is found
	cd tests && ../$(BIN)/python -m reliability.bugs $(SEEDS)

week: $(INSTALLED)  ## A week of sessions over the wire, which must equal the demo's
	PYTHONPATH=.:tests $(BIN)/python -m tests.service.soak week

weeks: $(INSTALLED)  ## A week over the wire with each of the broker's faults in turn, or: make weeks FAULTS="halt 429"
	PYTHONPATH=.:tests $(BIN)/python -m tests.service.soak weeks $(FAULTS)

month: $(INSTALLED)  ## A month of sessions over the wire with faults and kills, and what it costs
	PYTHONPATH=.:tests $(BIN)/python -m tests.service.soak month

kills: $(INSTALLED)  ## Whole days over the wire, each with the service killed dozens of times, to the same end
	PYTHONPATH=.:tests $(BIN)/python -m tests.service.soak kills

lock:  ## Resolve the dependencies of pyproject.toml into requirements.txt, with hashes
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --disable-pip-version-check uv
	.venv-lock/bin/uv pip compile --quiet --universal --generate-hashes --group dev pyproject.toml \
		--no-header --output-file requirements.txt
	rm -rf .venv-lock

universe: $(INSTALLED)  ## Write the packaged S&P 500 list anew
	$(BIN)/python tools/make_universe.py

clean:  ## Remove the virtual environment and all caches; data/ is yours and stays
	rm -rf $(VENV) .venv-lock .venv-vectorbt .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find autotrader tests tools benchmarks -name __pycache__ -type d -exec rm -rf {} +

# Everything as locked, then the project on top of it, nothing resolved again; compiled, as an installer would have it.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) $(IS_NEW_ENOUGH) || { echo "autotrader needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q autotrader
	@touch $@
