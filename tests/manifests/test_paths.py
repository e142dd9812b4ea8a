"""Paths as users give them."""

from pathlib import Path

import pytest

from xdistill.manifests.errors import XDistillError
from xdistill.manifests.paths import as_path


def test_a_string_and_a_path_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/a")
    assert as_path("~/kitti") == as_path(Path("~/kitti")) == Path("/home/a/kitti")
    assert as_path("runs/first") == Path("runs/first")


@pytest.mark.parametrize("value", [7, None, b"kitti", ["kitti"]])
def test_anything_else_is_refused_with_its_type(value: object) -> None:
    with pytest.raises(XDistillError, match=f"is {type(value).__name__}, not a path") as caught:
        as_path(value)  # type: ignore[arg-type]
    assert isinstance(caught.value, TypeError)
