PYTHON ?= python3
BIN := .venv/bin
NATIVE := $(wildcard src/drawnet/engine/native/*)

.PHONY: train test test-slow test-native-sanitized lint clean

train: .venv/installed ## train mnist-quick, report its test bound, draw its pictures: about twelve minutes on two cores
	$(BIN)/drawnet train mnist-quick --resume

test: .venv/installed ## the proofs: a few minutes
	$(BIN)/python -m pytest -m "not slow"

test-slow: .venv/installed ## the checks that take longer
	$(BIN)/python -m pytest -m slow

test-native-sanitized: .venv/installed ## the native code with address and undefined-behaviour sanitizers, without Python
	$(BIN)/cmake -S . -B .venv/sanitized -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DDRAWNET_SANITIZE=ON
	$(BIN)/cmake --build .venv/sanitized
	.venv/sanitized/fuzz

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

.venv/installed: requirements.lock pyproject.toml CMakeLists.txt tools/build_backend.py $(NATIVE)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	SKBUILD_BUILD_DIR=.venv/build $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf .venv
