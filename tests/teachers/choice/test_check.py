"""Two teachers side by side, on frames small enough to count by hand."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from xdistill.teachers.choice.check import compare
from xdistill.teachers.protocol import Prediction, TeacherError


class Fixed:
    """Answers every frame with one map, and counts how often it was asked."""

    record = {"kind": "fixed"}
    fingerprint = "0"
    calls_at_once = 1

    def __init__(self, *rows: Sequence[int]) -> None:
        self.map = np.array(rows, np.uint8)
        self.asked: list[str] = []

    def check_size(self, height: int, width: int) -> None: ...

    def label(self, images: Sequence[NDArray[np.uint8]], keys: Sequence[str]) -> Prediction:
        self.asked += keys
        return Prediction(classes=np.stack([self.map for _ in images]))


FRAMES = [(key, np.zeros((2, 3, 3), np.uint8)) for key in ("a", "b", "c")]


def test_shares_by_hand() -> None:
    exact = Fixed([0, 0, 13], [0, 255, 13])
    chosen = Fixed([0, 1, 13], [0, 255, 12])
    seen: list[int] = []
    result = compare(chosen, exact, FRAMES, advance=seen.append)
    assert result.frames == 3 and seen == [1, 1, 1]
    assert result.equal == pytest.approx(4 / 6)
    assert result.by_class == {"road": pytest.approx(2 / 3), "car": 0.5, "ignore": 1.0}
    assert result.seconds > 0 and result.speed > 0


def test_first_frame_of_a_size_warms_up() -> None:
    exact, chosen = Fixed([0, 0, 0], [0, 0, 0]), Fixed([0, 0, 0], [0, 0, 0])
    assert compare(chosen, exact, FRAMES).equal == 1.0
    assert exact.asked == chosen.asked == ["a", "a", "b", "c"]


def test_no_frames() -> None:
    with pytest.raises(TeacherError, match="no frames"):
        compare(Fixed([0]), Fixed([0]), [])
