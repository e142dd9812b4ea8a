PYTHON   ?= python3
BIN      := .venv/bin
# Tests side by side, each process with one thread: more would wait for each other.
SIDE_BY_SIDE := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help quick test check coverage imports hooks bench demo ablation

help:  ## show the targets
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12

quick: .venv/.ready  ## run the fast tests side by side, in about a minute once the street is compiled
	$(SIDE_BY_SIDE) -m "not slow"
test: .venv/.ready  ## run every test, side by side
	$(SIDE_BY_SIDE)
check: .venv/.ready  ## lint, check the format and check the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p xdistill
coverage: .venv/.ready  ## run every test, and print the lines covered and the ten files least covered
	$(BIN)/coverage run -m pytest
	@$(BIN)/coverage report --sort=cover | sed -n -e '1,12p' -e '/^TOTAL/p'
imports: .venv/.ready  ## print which folder imports which, as a Graphviz graph
	@$(BIN)/import-linter drawgraph xdistill
hooks: .venv/.ready  ## run the checks before every commit from now on
	$(BIN)/pre-commit install
bench: .venv/.ready  ## measure speed against other tools
	$(BIN)/python -m pytest tests/benchmarks -o python_files="bench_*.py" -s
demo: .venv/.ready  ## run the whole flow on a procedural street, into demo/
	$(BIN)/xd-pipeline demo --out demo
ablation: .venv/.ready  ## repeat docs/ablation.md, into ablation/
	$(BIN)/python tests/benchmarks/ablation.py --out ablation --validate
	$(BIN)/python tests/benchmarks/ablation.py --out ablation

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	# Without torchvision, which PyPI has for CUDA builds of torch alone.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps timm
	touch $@
