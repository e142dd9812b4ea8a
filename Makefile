PYTHON   ?= python3
BIN      := .venv/bin

.PHONY: test check bench demo ablation
test: .venv/.ready
	$(BIN)/python -m pytest
check: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p xdistill
bench: .venv/.ready
	$(BIN)/python -m pytest tests/benchmarks -o python_files="bench_*.py" -s
demo: .venv/.ready
	$(BIN)/xd-pipeline demo --out demo
ablation: .venv/.ready
	$(BIN)/python tests/benchmarks/ablation.py --out ablation --validate
	$(BIN)/python tests/benchmarks/ablation.py --out ablation

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
