# `make demo` shows the main job, `make test` tests what every module does.  Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_WAIT_POLICY := PASSIVE
export TOKENIZERS_PARALLELISM := false
# Bytecode is kept, wherever the environment says otherwise: without it every process compiles all sources again.
export PYTHONDONTWRITEBYTECODE :=
ifneq ($(wildcard ../shared/data),)
export REREAD_DATA ?= $(abspath ../shared/data)
endif

# constraints.txt holds every package that is installed, those that build reread or another package included.
# pip knows --build-constraint from 25.3 on, so the pip of the lock is installed first, with LOCKED_PIP.
LOCKED_PIP = -m pip install -q -c constraints.txt pip setuptools
INSTALL = -m pip install -q -c constraints.txt --build-constraint constraints.txt

.PHONY: demo test dry-runs slow compat newest lock lint docs clean

demo: $(VENV)/.core
	$(BIN)/reread demo

# Within 6 minutes on two idle cores.  A file of tests goes to one worker, so its fixtures are made once.
test: $(VENV)/.installed lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

# Every job of the GPU queue at its smallest, and `check --gpu`, on the CPU: minutes, so apart from the tests.
dry-runs: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m dry_run

# The rest, which CI runs: processes that are killed, whole data sets, every cell of every recipe, browsers, all of
# lm-eval's tasks, and the text of docs, with tables and pages made of runs.
slow: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile -m slow

# The tests that use transformers' models, under the oldest and the newest transformers that pyproject allows.
compat: $(VENV)/.installed
	$(BIN)/python .ci/packages.py compat $(ENDS)

# The whole suite under the newest release of everything, in a new .venv-newest.  Run it before you raise a bound.
newest:
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/python -m pip install -q --upgrade pip packaging "tomli; python_version < '3.11'"
	.venv-newest/bin/python .ci/packages.py newest

# Writes constraints.txt from pyproject.toml.  Pins that are still allowed stay; UPGRADE=all takes the newest of all,
# UPGRADE="NAME ..." of these alone.
lock:
	test -x .venv-lock/bin/python || $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python $(LOCKED_PIP)
	.venv-lock/bin/python $(INSTALL) --group lock
	.venv-lock/bin/uv pip compile -q --universal --python-version 3.10 --all-extras --group build --group lock \
	    --no-annotate --custom-compile-command "make lock" -o constraints.txt pyproject.toml \
	    $(if $(filter all,$(UPGRADE)),--upgrade,$(addprefix --upgrade-package ,$(UPGRADE)))

lint: $(VENV)/.installed
	$(BIN)/ruff check src tests gpu .ci
	$(BIN)/ruff format --check src tests gpu .ci
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed
	$(BIN)/python -c "from reread.cli import help_markdown; print(help_markdown(), end='')" > docs/cli.md
	$(BIN)/python -c "from reread.cli.settings import settings_markdown; print(settings_markdown(), end='')" > docs/settings.md
	$(BIN)/python -c "from pathlib import Path; from reread.report.pages import make_anew; [make_anew(page, Path()) for page in sorted(Path('docs').rglob('*.md')) if '<!-- made: ' in page.read_text(encoding='utf-8')]"
	cp results/order/figure.svg docs/figures/order.svg
	cp results/mqar/figure.svg docs/figures/mqar.svg

$(VENV)/.core: pyproject.toml constraints.txt no-deps.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(LOCKED_PIP)
	$(BIN)/python $(INSTALL) -e .
	$(BIN)/python $(INSTALL) --no-deps -r no-deps.txt
	touch $@

$(VENV)/.installed: $(VENV)/.core
	$(BIN)/python $(INSTALL) -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .venv-compat .venv-newest .venv-lock build .pytest_cache .ruff_cache .mypy_cache .hypothesis
