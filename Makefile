# Each target makes .venv and installs into it by itself.
# Without make (Windows): see the plain commands in README.md.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test bench soak lint clean

demo: $(STAMP)
	$(BIN)/physioemo demo --out demo --overwrite

# Two workers, each on one core; the tests of a file run in one of them, on its fixtures, and in
# the order of their names: the longest files are in the middle, and small ones fill the end.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 15

bench: $(STAMP)
	$(BIN)/python benchmarks/bench_features.py
	$(BIN)/python benchmarks/bench_preprocess.py --quick
	$(BIN)/python benchmarks/bench_acquisition.py

# Twenty minutes each at 1000 and 2048 Hz; SOAK="--minutes 2 --peers DIR" for other lengths.
soak: $(STAMP)
	$(BIN)/python benchmarks/bench_soak.py $(SOAK)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/type_check.py

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
