# Everything sets itself up: git, make and Python 3.11 or newer are all that is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-docs docs lint fuzz bench bench-short tables lists golden reference clean

demo: $(STAMP)
	$(BIN)/costmodel crossover llama-3.1:8b --device h100-nvl --seq-len 8192
	$(BIN)/costmodel crossover llama-3.1:8b --device h100-nvl --seq-len 256

test: $(STAMP) lint
	$(BIN)/python -m pytest -n auto

# the tests of documents and pages, after installing what they need where that can be done here
test-docs: $(STAMP)
	command -v pdflatex >/dev/null || { test "$$(id -u)" = 0 && apt-get update -qq && \
	    apt-get install -y -qq --no-install-recommends texlive-latex-base texlive-latex-recommended lmodern; } || true
	command -v chromium >/dev/null || { test "$$(id -u)" = 0 && apt-get update -qq && \
	    apt-get install -y -qq --no-install-recommends chromium; } || true
	command -v soffice >/dev/null || { test "$$(id -u)" = 0 && apt-get update -qq && \
	    apt-get install -y -qq --no-install-recommends libreoffice-calc; } || true
	test -d .tools/node_modules/katex || npm install --silent --no-save --prefix .tools katex || true
	$(BIN)/python -m pip install --quiet --disable-pip-version-check sphinx mkdocs || true
	$(BIN)/python -m pytest -n auto -m needs

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# far more mutations than the tests try: make fuzz COUNT=200000 SEED=1
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz $(COUNT) $(SEED)

bench: $(STAMP)
	$(BIN)/python -m benchmarks.bench

# the same in fewer turns, printed only: no ratio fails it
bench-short: $(STAMP)
	$(BIN)/python -m benchmarks.bench --short

# the parser's tables, after a change of the grammar
tables: $(STAMP)
	$(BIN)/python -m costmodel.grammar.tables

# what `list` shows, after a change of what is shipped
lists: $(STAMP)
	$(BIN)/python -m costmodel.specs.lists

# the expected outputs of the tests, after a change that is meant
golden: $(STAMP)
	$(BIN)/python -m pytest -n auto --update-golden tests

# the pages of docs/ that are written from the code, after a change of a shipped file, an operation, an option
reference: $(STAMP)
	$(BIN)/python -m docs.reference

# the documentation as a site, in site/
docs: $(STAMP)
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	$(BIN)/mkdocs build --strict --quiet

# setuptools warns of every editable install; what goes wrong is an error, and shown all the same
$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	$(BIN)/python -m compileall -q costmodel cli grammar specs
	touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
