"""The rate of a teacher: kept after a run, and what a plan says with it."""

from pathlib import Path

import pytest

from xdistill.pipeline.labelling.rate import Rate, recall, remember, time_text
from xdistill.teachers.choice.spec import TeacherSpec

TEACHER = TeacherSpec.parse("png:labels")


def test_the_last_rate_of_a_teacher_is_kept() -> None:
    assert recall(TEACHER) is None
    remember(TEACHER, frames=10, seconds=4.0)
    remember(TEACHER, frames=30, seconds=4.0)
    remember(TEACHER, frames=0, seconds=1.0)
    rate = recall(TEACHER)
    assert rate is not None and rate.frames_per_s == 7.5 and rate.machine
    assert recall(TeacherSpec.parse("png:labels", ids="label")) is None


def test_a_damaged_record_counts_as_none(private_cache: Path) -> None:
    remember(TEACHER, frames=10, seconds=4.0)
    (record,) = (private_cache / "rates").iterdir()
    for content in (b"", b"{}", b"[1]", b"\xff"):
        record.write_bytes(content)
        assert recall(TEACHER) is None


def test_a_cache_that_cannot_be_written_keeps_none(private_cache: Path) -> None:
    (private_cache / "rates").touch()
    remember(TEACHER, frames=10, seconds=4.0)
    assert recall(TEACHER) is None


@pytest.mark.parametrize(
    ("frames", "text"),
    [(39810, "about 3 h 19 min"), (450, "about 2 min"), (1, "about 1 min")],
)
def test_the_time_of_a_plan(frames: int, text: str) -> None:
    told = time_text(frames, Rate(frames_per_s=10 / 3, machine="a"))
    assert told == f"{text} at 3.33 frames/s, as last measured on a"
    assert "label for a minute" in time_text(frames, None)
