# Each target makes .venv and installs what it needs, so that Python and make are enough on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.PHONY: demo test check docs restorers precision format clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.docs-installed: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

$(VENV)/.precision-installed: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[precision]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/pgtools demo --out $(DEMO) --overwrite

# A worker a core; a file's tests stay together, so that they share what they made.
test: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/commands.py --check
	$(BIN)/python docs/restorers/report.py --check
	$(BIN)/python docs/precision/report.py --check
	$(MAKE) test

docs: $(VENV)/.docs-installed
	$(BIN)/python docs/commands.py
	$(BIN)/mkdocs build --strict

# Hours: the photographs are gathered, both embedded networks trained anew, measured, and docs/models.md rewritten.
restorers: $(VENV)/.installed
	test -d build/photos || $(BIN)/python docs/restorers/collect.py build/photos
	$(BIN)/pgtools models train-restorer build/photos/train build/dejpeg --task dejpeg --seed 0 --precision bfloat16
	$(BIN)/pgtools models train-restorer build/photos/train build/sr4 --task sr4 --seed 0 --precision bfloat16
	$(BIN)/python docs/restorers/report.py build/photos/held-out \
	  --dejpeg build/dejpeg/dejpeg.safetensors --sr4 build/sr4/sr4.safetensors

# Minutes: every metric against its twin, the authors' values (in PGTOOLS_SHARED) and other libraries.
precision: $(VENV)/.precision-installed
	$(BIN)/python docs/precision/report.py

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
