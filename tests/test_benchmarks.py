"""The benchmarks, which no test runs, still find what they import."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "benchmarks"


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_a_benchmark_can_be_imported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="needs the extra 'street'")
    monkeypatch.syspath_prepend(str(FOLDER))
    importlib.import_module(name)
