# What a person types. Needs make, a network (once) and Python 3.11 or newer; everything else goes into .venv.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
RUN := .venv/bin/python
READY := .venv/ready
# The index of whoever runs this; caches and local files change no hash.
PIP := $(RUN) -m pip --disable-pip-version-check

.PHONY: help serve demo test check bench lock clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' Makefile

serve: $(READY) ## the service on 127.0.0.1:5423, SQLite and the console, nothing to configure
	@exec $(RUN) -m notifier serve

demo: $(READY) ## the same with two people, and recorded events played at a human pace, until Ctrl-C
	@exec $(RUN) -m notifier demo

test: $(READY) ## all tests; REQUIRE_SERVERS=1: those that need a server's binary fail without it
	@$(RUN) -m pytest

check: $(READY) ## ruff, mypy strict, the floors between the rooms
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@.venv/bin/lint-imports --no-logo 2>/dev/null || .venv/bin/lint-imports

bench: $(READY) ## the benchmarks, one table
	@$(RUN) -m pytest -q -s -m benchmark tests/benchmarks

lock: $(READY) ## requirements.lock anew from pyproject.toml: the newest versions it allows
	@$(PIP) install --quiet uv
	@{ sed '/^[^#]/,$$d' requirements.lock; \
	   $(RUN) -m uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	     --upgrade --no-header --no-emit-index-url --annotation-style line --quiet; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean: ## removes .venv and what the tools cache; never var/
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist

$(READY): requirements.lock
	@test -n "$(PYTHON)" || { echo "notifier needs Python 3.11 or newer; this machine has $$(python3 -V 2>&1)" >&2; exit 2; }
	@echo "Making .venv with $(PYTHON) and the pinned packages (once, about a minute) …"
	@$(PYTHON) -m venv --clear .venv
	@$(PIP) install --quiet --quiet --require-hashes -r requirements.lock
	@touch $(READY)
