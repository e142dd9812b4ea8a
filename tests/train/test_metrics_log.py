import json
from pathlib import Path

import pytest

from xdistill.train.metrics_log import JsonLines, truncate


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.jsonl"
    with JsonLines(path) as lines:
        for step in (1, 2, 3):
            lines.write({"step": step, "loss": 0.5})
        lines.sync()
    return path


def test_lines_are_appended(log: Path) -> None:
    with JsonLines(log) as lines:
        lines.write({"step": 4, "loss": 0.25})
        # Whole lines are there while the log is open.
        assert steps(log) == [1, 2, 3, 4]
    assert json.loads(log.read_text().splitlines()[-1]) == {"step": 4, "loss": 0.25}


@pytest.mark.parametrize(("step", "kept"), [(0, []), (2, [1, 2]), (3, [1, 2, 3]), (9, [1, 2, 3])])
def test_lines_after_a_step_are_dropped(log: Path, step: int, kept: list[int]) -> None:
    truncate(log, step=step)
    assert steps(log) == kept
    assert [path.name for path in log.parent.iterdir()] == ["metrics.jsonl"]


def test_a_line_cut_by_a_crash_is_dropped(log: Path) -> None:
    log.write_text(log.read_text() + '{"step": 4, "lo')
    truncate(log, step=9)
    assert steps(log) == [1, 2, 3]


def test_no_log_is_no_error(tmp_path: Path) -> None:
    truncate(tmp_path / "metrics.jsonl", step=3)
    assert list(tmp_path.iterdir()) == []


def test_writing_to_a_closed_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not open"):
        JsonLines(tmp_path / "metrics.jsonl").write({"step": 1})
