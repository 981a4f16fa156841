# make demo: set up and run the main job on the embedded data set.   make test: set up and run every check.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0

.PHONY: demo test setup lint native-test arm-test fuzz agree clean

setup: $(VENV)/.installed

# The compiled engine is part of the package: any change below its folder installs it again. So does a new Python package:
# the installation remembers where each module lies.
SOURCES := pyproject.toml CMakeLists.txt $(shell find engine -name '*.cpp' -o -name '*.h') \
	$(shell find src -name '__init__.py')

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	touch $@

$(VENV)/.installed: $(VENV)/.torch $(SOURCES)
	$(BIN)/python -m pip install --quiet scikit-build-core nanobind ninja cmake
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[test]'
	touch $@

demo: setup
	$(BIN)/camfit demo --out runs/demo

lint: setup
	$(BIN)/ruff check src tests examples
	$(BIN)/ruff format --check src tests examples
	$(BIN)/mypy

native-test: setup
	$(BIN)/cmake -S . -B build/native-test -DCAMFIT_BUILD_TESTS=ON -DCAMFIT_BUILD_PYTHON=OFF -DCAMFIT_SANITIZE=ON
	$(BIN)/cmake --build build/native-test --parallel 2
	cd build/native-test && $(abspath $(BIN))/ctest --output-on-failure

# Needs g++-aarch64-linux-gnu and qemu-user-static (Debian's names): the engine's tests on 64-bit ARM, emulated.
arm-test: setup
	$(BIN)/cmake -S . -B build/arm-test -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake -DCAMFIT_BUILD_TESTS=ON
	$(BIN)/cmake --build build/arm-test --parallel 2
	cd build/arm-test && $(abspath $(BIN))/ctest --output-on-failure

test: lint native-test
	$(BIN)/python -m pytest -n 2

# Needs clang with libFuzzer. RUNS inputs for the reader, a fifth for the slower codec.
RUNS ?= 200000
fuzz: setup
	$(BIN)/cmake -S . -B build/fuzz -DCMAKE_CXX_COMPILER=clang++ -DCAMFIT_FUZZ=ON -DCAMFIT_BUILD_PYTHON=OFF
	$(BIN)/cmake --build build/fuzz --parallel 2
	$(BIN)/python engine/fuzz/make_corpus.py build/fuzz/corpus
	build/fuzz/reader_fuzz -runs=$(RUNS) -max_len=4096 -verbosity=0 -print_final_stats=1 build/fuzz/corpus
	build/fuzz/codec_fuzz -runs=$$(($(RUNS) / 5)) -max_len=1024 -verbosity=0 -print_final_stats=1

# Torch against the engine on RUNS random networks; goes on where a killed run stopped.
agree: setup
	cd tests && $(abspath $(BIN))/python -m agreement --count $(RUNS) --state ../build/agree/$(RUNS).json --write ../docs/results

clean:
	rm -rf build dist $(VENV)
