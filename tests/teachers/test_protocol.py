"""Settings, records, fingerprints and the promised form of labels."""

import hashlib
import pickle

import numpy as np
import pytest

from xdistill.teachers.protocol import (
    FrameLabelError,
    Prediction,
    TeacherError,
    TeacherSettings,
    fingerprint_of,
    parse_size,
    require_maps,
)

FRAME = np.zeros((4, 6, 3), np.uint8)


def test_fingerprint_is_the_sha256_of_canonical_json() -> None:
    text = '{"a":[1,2.5],"kind":"x","none":null}'
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert fingerprint_of({"none": None, "kind": "x", "a": (1, 2.5)}) == expected


def test_fingerprint_changes_with_any_value() -> None:
    assert fingerprint_of({"kind": "x", "size": 1}) != fingerprint_of({"kind": "x", "size": 2})


@pytest.mark.parametrize("value", [np.zeros(2), float("nan"), {1, 2}])
def test_record_that_is_no_json(value: object) -> None:
    with pytest.raises(TeacherError, match="^the teacher's record is not JSON: "):
        fingerprint_of({"kind": value})


def test_frame_error_keeps_its_key_between_processes() -> None:
    error = FrameLabelError("broken", key="a/b", where="f.png")
    again = pickle.loads(pickle.dumps(error))
    assert again.key == "a/b" and str(again) == str(error) == "broken\n  where: f.png"


@pytest.mark.parametrize(
    ("classes", "confidence"),
    [
        (np.zeros((1, 4, 6), np.int64), None),
        (np.zeros((4, 6), np.uint8), None),
        (np.zeros((2, 4, 6), np.uint8), None),
        (None, None),
        (np.zeros((1, 4, 6), np.uint8), np.zeros((1, 4, 6), np.float32)),
    ],
)
def test_labels_of_another_form_are_refused(classes: object, confidence: object) -> None:
    labels = Prediction(classes=classes, confidence=confidence)  # type: ignore[arg-type]
    with pytest.raises(TeacherError, match=r"expected: uint8 of shape \(1, 4, 6\)"):
        require_maps(labels, [FRAME], where="mine:teacher")


def test_good_labels_pass() -> None:
    labels = Prediction(classes=np.zeros((1, 4, 6), np.uint8))
    assert require_maps(labels, [FRAME], where="mine:teacher") is labels


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
