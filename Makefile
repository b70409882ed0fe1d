PYTHON ?= python3
BIN := .venv/bin

.PHONY: train test test-slow lint clean

train: .venv/installed ## train mnist-quick, report its test bound, draw its pictures: about twelve minutes on two cores
	$(BIN)/drawnet train mnist-quick --resume

test: .venv/installed ## the proofs: a few minutes
	$(BIN)/python -m pytest -m "not slow"

test-slow: .venv/installed ## the checks that take longer
	$(BIN)/python -m pytest -m slow

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf .venv
