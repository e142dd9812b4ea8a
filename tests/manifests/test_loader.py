"""Shipped manifests by name, a user's own by path."""

from pathlib import Path

import pytest

from xdistill.manifests import loader
from xdistill.manifests.errors import ManifestError, XDistillError


def test_every_shipped_toml_loads() -> None:
    for kind in ("classes", "schemes", "teachers", "splits", "recipes"):
        for name in loader.names(kind):
            assert loader.load(kind, name)


def test_a_shipped_name_wins_over_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("4").write_text('name = "own"\n')
    assert loader.load("schemes", "4")["name"] == "4"
    assert loader.load("schemes", "./4")["name"] == "own"


def test_message_says_found_expected_where_and_what_to_do() -> None:
    error = XDistillError("found this", expected="that", where=Path("there"), remedy="do so")
    assert str(error) == "found this\n  expected: that\n  where: there\n  what to do: do so"
    assert error.headline == "found this"


def test_errors_that_are_builtins_too_keep_their_message_across_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(ManifestError("found", remedy="do")))
    assert isinstance(error, ValueError) and str(error) == "found\n  what to do: do"
    assert error.headline == "found"


def test_a_string_and_a_path_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/a")
    assert loader.as_path("~/kitti") == loader.as_path(Path("~/kitti")) == Path("/home/a/kitti")
    assert loader.as_path("runs/first") == Path("runs/first")


@pytest.mark.parametrize("value", [7, None, b"kitti", ["kitti"]])
def test_anything_else_is_refused_with_its_type(value: object) -> None:
    with pytest.raises(XDistillError, match=f"is {type(value).__name__}, not a path") as caught:
        loader.as_path(value)  # type: ignore[arg-type]
    assert isinstance(caught.value, TypeError)
