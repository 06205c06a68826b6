# `make demo` and `make test` each do all that is needed on a Linux machine
# with Python >= 3.10 and a C compiler: they create .venv and install into it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
# Test workers; each runs one thread.
JOBS ?= 2

.PHONY: demo test trust docs lint format clean help

help:
	@echo "make demo    enhance the bundled clips, train a small model on them"
	@echo "make test    run the tests and measure their coverage"
	@echo "make trust   hostile files, bad audio, fuzzing, kills, ranks, a soak: hours"
	@echo "make docs    build the pages and run the notebook: build/docs/html"
	@echo "make lint    check the style"
	@echo "make format  correct the style"
	@echo "make clean   remove what the other targets made, .venv too"

# Threads that sleep while they wait: on a busy machine, spinning ones make a
# step of training last fifty times as long.
demo: export OMP_WAIT_POLICY ?= PASSIVE
demo: $(VENV)/installed
	$(BIN)/speechbrain-dsn demo

test: export OMP_NUM_THREADS ?= 1
test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n $(JOBS) --cov

# The long part of the tests of docs/trust.md. TRUST_CASES is the number of
# cases of each fuzz test, SOAK_HOURS the audio that one stream hears.
TRUST_CASES ?= 25000
SOAK_HOURS ?= 6

trust: export OMP_NUM_THREADS ?= 1
trust: $(VENV)/installed-test
	TRUST_CASES=$(TRUST_CASES) $(BIN)/python -m pytest -n $(JOBS) \
		-m "trust or not trust" tests/test_untrusted.py \
		tests/test_bad_audio.py tests/test_kills.py tests/test_ranks.py \
		tests/test_shards.py tests/test_dns_recipe.py
	$(BIN)/python benchmarks/soak.py --hours $(SOAK_HOURS)

# Pictures are drawn and the notebook trains anew each time; DSN_DOCS_FAST=1
# makes it train for a moment only.
docs: export OMP_WAIT_POLICY ?= PASSIVE
docs: $(VENV)/installed-docs
	$(BIN)/python docs/run_notebooks.py build/docs/pages
	$(BIN)/python -m sphinx -W --keep-going -q -c docs . build/docs/html
	@echo "build/docs/html/docs/index.html"

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info results .coverage .coverage.* \
		.pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "$(PYTHON) is older than 3.10: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

# torch comes first, by its name alone, so that a CPU build is taken where pip
# is offered one; torchaudio must not bring another (see compat.py). pesq is
# compiled, hence on its own, where a failure can be explained.
$(VENV)/installed: setup.py constraints.txt | $(BIN)/python
	$(PIP) install "$$(grep '^torch==' constraints.txt)"
	$(PIP) install --no-deps "$$(grep '^torchaudio==' constraints.txt)"
	$(PIP) install -c constraints.txt pesq || { \
		echo "pesq could not be built. It needs a C compiler and the headers" \
		"of Python (Debian and Ubuntu: apt-get install build-essential" \
		"python3-dev). Then run make again."; exit 1; }
	$(PIP) install -c constraints.txt -e '.[metrics,onnx,plots]'
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PIP) install -c constraints.txt -e '.[test]'
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(PIP) install -c constraints.txt -e '.[docs]'
	touch $@
