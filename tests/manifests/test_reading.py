"""Only regular files are read, and text as editors save it."""

import os
import socket
from pathlib import Path

import pytest

from xdistill.manifests import environment
from xdistill.manifests.disk import TextError, as_path, read_bytes, read_text
from xdistill.manifests.errors import XDistillError


def test_regular_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\x00\xff")
    (tmp_path / "link").symlink_to(path)
    assert read_bytes(path) == read_bytes(tmp_path / "link") == b"\x00\xff"


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _socket(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
    return path


def _loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


def _link_to_pipe(path: Path) -> Path:
    path.symlink_to(_pipe(path.with_suffix(".pipe")))
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_pipe, "it is a named pipe, not a file"),
        (_link_to_pipe, "it is a named pipe, not a file"),
        (_socket, "it is a socket, not a file"),
        (lambda path: Path("/dev/zero"), "it is a device, not a file"),
        (_folder, "it is a folder, not a file"),
        (_loop, "Too many levels of symbolic links"),
        (lambda path: path, "No such file or directory"),
    ],
)
def test_what_is_no_file_is_refused_at_once(make, reason: str, tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        read_bytes(make(tmp_path / "a"))
    assert caught.value.strerror == reason


@pytest.mark.parametrize("content", [b"a\nb\n", b"\xef\xbb\xbfa\r\nb\r\n", b"a\rb\r"])
def test_text_as_editors_save_it(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    assert read_text(path) == "a\nb\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a\n".encode("utf-16"), "a.txt is UTF-16"),
        (b"a\nb\xff\n", "line 2 of a.txt is not UTF-8"),
    ],
)
def test_other_encodings_are_named(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(TextError) as caught:
        read_text(path)
    assert caught.value.headline == reason
    assert "save the file as UTF-8" in str(caught.value)


def test_a_string_and_a_path_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/a")
    assert as_path("~/kitti") == as_path(Path("~/kitti")) == Path("/home/a/kitti")
    assert as_path("runs/first") == Path("runs/first")


@pytest.mark.parametrize("value", [7, None, b"kitti", ["kitti"]])
def test_anything_else_is_refused_with_its_type(value: object) -> None:
    with pytest.raises(XDistillError, match=f"is {type(value).__name__}, not a path") as caught:
        as_path(value)  # type: ignore[arg-type]
    assert isinstance(caught.value, TypeError)


def test_unknown_home_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(XDistillError, match="the home folder ~nobody-of-this-name is unknown"):
        as_path("~nobody-of-this-name/kitti")


@pytest.mark.parametrize("variable", [environment.DATA, environment.CACHE, environment.SPLITS])
def test_variables_name_folders_of_the_home(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/a")
    monkeypatch.setenv(variable, "~/x")
    assert environment.folder(variable) == Path("/home/a/x")
    monkeypatch.setenv(variable, "")
    assert environment.folder(variable) is None
