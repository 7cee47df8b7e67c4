# Targets for a newcomer and for CI. All they need is Python 3.11 or newer with venv, and the
# package index; everything is put into ./.venv, which is kept while setup.py stays as it is.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
# A strict editable install is a tree of links to the files of its day, so the stamp's name
# changes with the list of our modules; its time is compared with that of what describes the package.
MODULES := $(shell find twisted_relay twisted -name '*.py' -o -path '*/web/*.*' 2>/dev/null | LC_ALL=C sort | cksum | cut -d' ' -f1)
RUN_STAMP := $(VENV)/.run-$(MODULES)
TEST_STAMP := $(VENV)/.test-$(MODULES)
DESCRIBED := setup.py setup.cfg
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help run test lint types unit audit conformance fuzz test-ops bench bench-quick bench-test pictures clean

help:
	@echo "make run       start the relay and its web client on http://127.0.0.1:3001 (PORT=... for another port)"
	@echo "make test      lint, types, the whole suite, and the package in an empty environment"
	@echo "make audit     the installed packages against the index's list of known weaknesses"
	@echo "make conformance  every case of the Autobahn suite for RFC 6455"
	@echo "make fuzz      each fuzz target for a minute, guided by coverage (SECONDS=..., TARGETS=...)"
	@echo "make test-ops  what needs system packages (proxies, supervisors, Prometheus, a browser)"
	@echo "make bench     measure the relay beside its peers (cc, Node.js 20, Redis; 20 minutes)"
	@echo "make pictures  take the pictures of the README anew"
	@echo "make clean     remove everything that these targets made"

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "twisted-relay needs Python 3.11 or newer; none was found (set PYTHON=/path/to/python3.11)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "twisted-relay needs Python 3.11 or newer; $(PYTHON) is older or missing" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) could not make a virtual environment (on Debian: apt-get install python3-venv)" >&2; exit 1; }

$(RUN_STAMP): $(DESCRIBED) | $(BIN)/python
	rm -f $(VENV)/.run-* $(VENV)/.test-*
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(TEST_STAMP): $(RUN_STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	@touch $@

# exec: the relay itself is make's child, so that a signal to make ends it.
# The web client is on here, and only here, unless the environment or .env says otherwise.
run: $(RUN_STAMP)
	@grep -Eqs '^[[:space:]]*(export[[:space:]]+)?WEB_CLIENT[[:space:]]*=' .env || export WEB_CLIENT="$${WEB_CLIENT:-true}"; \
	exec env LOG_FORMAT="$${LOG_FORMAT:-pretty}" $(BIN)/twistd -n --pidfile= relay

lint: $(TEST_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(TEST_STAMP)
	$(BIN)/mypy

unit: $(TEST_STAMP)
	$(BIN)/python -m pytest --ignore=tests/ops -m "not package" $(ARGS)

# Files of tests side by side, as many as there are processors, up to four.
test: lint types
	$(BIN)/python -m pytest --ignore=tests/ops --numprocesses=auto --maxprocesses=4 --dist=loadfile $(ARGS)

audit: $(RUN_STAMP)
	@test -x build/audit/bin/pip-audit || { $(PYTHON) -m venv build/audit && build/audit/bin/pip install --quiet pip-audit; }
	build/audit/bin/pip-audit --strict --skip-editable --path $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

conformance: $(TEST_STAMP)
	$(BIN)/python -m pytest tests/conformance --full $(ARGS)

SECONDS := 60
TARGETS := frames session tokens dotenv forwarded sealed span replies http websocket proxy_protocol redis

# What is found beyond the corpus, and what breaks a target, lies in build/fuzz afterwards.
fuzz: $(TEST_STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[test,lint,fuzz]'
	@for target in $(TARGETS); do echo "fuzz: $$target"; \
		$(BIN)/python tests/fuzz/run.py $$target -max_total_time=$(SECONDS) || exit 1; done

# As root on Debian it installs what it needs. bench-test: the benchmark's programs, which need cc and
# Node.js too, and have no other place where they are tested.
test-ops: $(TEST_STAMP)
	@tests/ops/install.sh $(BIN)/python
	$(BIN)/python -m pytest tests/ops $(ARGS)
	@if node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2>/dev/null && command -v cc >/dev/null; \
	then $(MAKE) --no-print-directory bench-test; \
	else echo "test-ops: bench-test is left out: it needs cc and Node.js 20"; fi

# ARGS may choose loads, servers and rounds: python -m benchmarks --help. Two processors are needed.
bench: $(TEST_STAMP)
	@$(BIN)/python -m benchmarks --write $(ARGS)

bench-quick: $(TEST_STAMP)
	@$(BIN)/python -m benchmarks --quick $(ARGS)

# The benchmark's own tests: they compile the programs and install the peers.
bench-test: $(TEST_STAMP)
	$(BIN)/mypy -p benchmarks.harness -m benchmarks.__main__
	$(BIN)/python -m pytest benchmarks/tests $(ARGS)

# The pictures of the README, out of the web client as it is.
pictures: $(TEST_STAMP)
	@tests/ops/install.sh $(BIN)/python
	PICTURES=write $(BIN)/python -m pytest tests/ops/browser/test_pictures.py

clean:
	rm -rf $(VENV) build dist *.egg-info .tox .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name dropin.cache -delete
