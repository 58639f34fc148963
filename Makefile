# Two commands: `make dev` starts everything, `make test` checks everything. The first call makes the environment.

PORT ?=
DEMO ?=
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; done; echo python3)
BIN := .venv/bin
JOBS ?= 2

.PHONY: dev test lint types contracts audit format docs bench clean

dev: .venv/.installed  ## PostgreSQL, API and worker; DEMO=1 plays a sample program, PORT=9000 listens there
	@exec $(BIN)/questline dev $(if $(PORT),--port $(PORT)) $(if $(filter 1 true yes,$(DEMO)),--demo)

test: lint types contracts audit  ## everything that .ci/run checks; JOBS=1 runs one test at a time
	@$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

lint: .venv/.tested
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: .venv/.tested
	@$(BIN)/mypy

contracts: .venv/.tested
	@$(BIN)/lint-imports --no-logo

audit: .venv/.tested  ## known vulnerabilities of what is installed, where the advisory service can be reached
	@$(BIN)/python .ci/audit

format: .venv/.tested
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: .venv/.installed  ## write the reference pages anew from the code
	@$(BIN)/python -m questline.cli.reference docs/reference

bench: .venv/.installed  ## measure this machine against the promises
	@$(BIN)/questline bench

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# A stamp each for what `make dev` and `make test` need, so that the second start installs nothing.
.venv/.installed: pyproject.toml | .venv/bin/python
	@echo "installing Questline …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/.tested: pyproject.toml .venv/.installed | .venv/bin/python
	@echo "installing what the tests need …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Questline needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { \
		echo "The environment could not be made; on Debian and Ubuntu: apt-get install python3-venv" >&2; rm -rf .venv; exit 1; }
