"""Shipped manifests by name, a user's own by path."""

import os
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


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a = ", "is not valid TOML"),
        (b"a = " + b"[" * 5000, "nested too deeply"),
        (b"a.b = [1, " + b"9" * 400 + b"]", "b is a number of more than 64 bits"),
        (b"a = " + b"9" * 9000, "is not valid TOML"),
        ('a = "b"'.encode("utf-16"), "own.toml is UTF-16"),
        (b'# caf\xe9\na = "b"', "line 1 of own.toml is not UTF-8"),
    ],
)
def test_malformed_toml_ends_in_a_message(content: bytes, reason: str, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_bytes(content)
    with pytest.raises(XDistillError, match=reason):
        loader.load("recipes", str(own))


def test_toml_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_bytes(b"\xef\xbb\xbfa = 1\r\n")
    assert loader.load("recipes", str(own)) == {"a": 1}


def test_a_folder_in_place_of_a_file_names_the_files_in_it(tmp_path: Path) -> None:
    run = tmp_path / "my run"
    run.mkdir()
    (run / "recipe.toml").touch()
    with pytest.raises(ManifestError, match=f"give '{run / 'recipe.toml'}'"):
        loader.load("recipes", str(run))


@pytest.mark.timeout(10)
def test_a_pipe_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "own.toml")
    with pytest.raises(ManifestError, match="it is a named pipe"):
        loader.load("recipes", str(tmp_path / "own.toml"))


def test_a_file_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.toml").write_text("a = 1\n")
    assert loader.load("recipes", "~/own.toml") == {"a": 1}
