# `make demo` shows the main job, `make test` tests what every module does.  Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_WAIT_POLICY := PASSIVE
export TOKENIZERS_PARALLELISM := false
ifneq ($(wildcard ../shared/data),)
export REREAD_DATA ?= $(abspath ../shared/data)
endif

.PHONY: demo test dry-runs slow lint docs clean

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

lint: $(VENV)/.installed
	$(BIN)/ruff check src tests gpu
	$(BIN)/ruff format --check src tests gpu
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed
	$(BIN)/python -c "from reread.cli import help_markdown; print(help_markdown(), end='')" > docs/cli.md
	$(BIN)/python -c "from reread.cli.settings import settings_markdown; print(settings_markdown(), end='')" > docs/settings.md
	$(BIN)/python -c "from pathlib import Path; from reread.report.pages import make_anew; [make_anew(page, Path()) for page in sorted(Path('docs').rglob('*.md')) if '<!-- made: ' in page.read_text(encoding='utf-8')]"
	cp results/order/figure.svg docs/figures/order.svg
	cp results/mqar/figure.svg docs/figures/mqar.svg

$(VENV)/.core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.installed: $(VENV)/.core
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build .pytest_cache .ruff_cache .mypy_cache .hypothesis
