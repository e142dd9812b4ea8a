"""Settings: what is accepted and what is named as wrong."""

import pytest

from xdistill.teachers.protocol import TeacherError
from xdistill.teachers.settings import TeacherSettings, parse_size


def test_sizes() -> None:
    assert parse_size("2048", option="--input-size") == (2048, None)
    assert parse_size("1024x320", option="--input-size") == (1024, 320)


@pytest.mark.parametrize(
    "text",
    ["", "x", "0", "1", "31", "640x31", "640x0", "-5", "640x192x3", "99999", "big", "6.5"],
)
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(TeacherError, match=r"32 to 16384 a side\n.*--input-size"):
        TeacherSettings(input_size=text)
    with pytest.raises(TeacherError, match=r"32 to 16384 a side\n.*--window"):
        TeacherSettings(window=text)


def test_smallest_size() -> None:
    assert TeacherSettings(input_size="32", window="32x32").input_size == "32"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"engine": "warp"}, "^the engine 'warp' does not exist\n"),
        ({"window": "half"}, "--window"),
        ({"scales": ()}, "--scales"),
        ({"scales": (0.0, 1.0)}, "--scales"),
    ],
)
def test_choices_that_are_none(settings: dict[str, object], named: str) -> None:
    with pytest.raises(TeacherError, match=named):
        TeacherSettings(**settings)  # type: ignore[arg-type]
