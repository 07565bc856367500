# `make demo` runs the main job, `make test` the tests; each sets up everything it needs in .venv first.
# Variables: PYTHON (3.10 to 3.12), VENV, SKI_EDGE_DATA (folder with videos.tar.xz and text.tar.xz), VIDEO (for demo).

SHELL := /bin/bash
VENV ?= .venv
# The first interpreter that runs and is of a version all dependencies have wheels for.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10; do \
  $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
export SKI_EDGE_DATA ?= ../shared/data
BIN := $(VENV)/bin
EXTRAS := cpu,export,train,video,pose,plot,dev
NATIVE := CMakeLists.txt csrc/CMakeLists.txt csrc/cuda_archs.cmake $(wildcard csrc/*/*.cpp csrc/*/*/*.cpp csrc/*/*.h csrc/*/*/*.h csrc/*/*.cu csrc/*/*/*.cu csrc/include/ski_edge/*/*.h)
READY := $(VENV)/.ready
# What the wheels of OpenCV and MediaPipe expect of the system.
LIBRARIES := libgl1 libglib2.0-0 libegl1 libgles2
LOADS := import cv2, ctypes; ctypes.CDLL('libEGL.so.1'); ctypes.CDLL('libGLESv2.so.2')

.PHONY: setup demo test test-all test-native lint format wheel bench clean

setup: $(READY)

$(READY): pyproject.toml $(NATIVE)
	@if [ -z "$(PYTHON)" ]; then echo "error: no Python 3.10 to 3.12 found; install one or say make PYTHON=/path/to/python3.12"; exit 2; fi
	@echo "== set-up: $(VENV) with $$($(PYTHON) --version), the packages of [$(EXTRAS)] and the native build (minutes the first time)"
	@start=$$SECONDS; set -e; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
	  echo "error: $(PYTHON) cannot make a virtual environment; on Debian: sudo apt-get install python3-venv"; exit 2; }; \
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"; \
	$(BIN)/python -m pip install --progress-bar off -e ".[$(EXTRAS)]" \
	  | grep --line-buffered -E "^(Collecting|Building|Installing|Successfully)" | cut -c1-150; \
	test $${PIPESTATUS[0]} -eq 0; \
	$(BIN)/python -c "$(LOADS)" 2>/dev/null || { \
	  echo "OpenCV or MediaPipe lack system libraries; installing $(LIBRARIES)"; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq $(LIBRARIES); \
	  else echo "run: sudo apt-get install $(LIBRARIES)"; exit 2; fi; \
	  $(BIN)/python -c "$(LOADS)"; }; \
	touch $(READY); echo "== set-up took $$((SECONDS - start)) s"

demo: $(READY)
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/demo.py $(if $(VIDEO),--video "$(VIDEO)")

test: $(READY) lint test-native
	@echo "== tests"
	@$(BIN)/pytest -m "not slow"

test-all: $(READY) lint test-native
	@$(BIN)/python benchmarks/full_check.py

test-native: $(READY)
	@echo "== native tests"
	@PATH="$(abspath $(BIN)):$$PATH" cmake -S . -B build/native -G Ninja -DSKI_EDGE_CUDA=OFF --log-level=WARNING >/dev/null
	@$(BIN)/cmake --build build/native --parallel 2 >/dev/null || $(BIN)/cmake --build build/native
	@$(BIN)/ctest --test-dir build/native --output-on-failure --no-tests=error

lint: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/clang-format --dry-run --Werror $(filter-out %CMakeLists.txt %.cmake,$(NATIVE))

format: $(READY)
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format . ; $(BIN)/clang-format -i $(filter-out %CMakeLists.txt %.cmake,$(NATIVE))

# With code for every CUDA architecture, where there is a CUDA compiler.
wheel: $(READY)
	@$(BIN)/python -m pip wheel --quiet --no-deps -C cmake.define.SKI_EDGE_CUDA_ARCHS=all -w dist . && ls -1 dist/*.whl

bench: $(READY)
	@$(BIN)/python benchmarks/end_to_end/stream_update.py

clean:
	rm -rf build dist runs .pytest_cache .ruff_cache
