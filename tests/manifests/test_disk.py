"""Files are whole or absent; a result that cannot be written is refused before the work."""

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

from xdistill.manifests import disk
from xdistill.manifests.disk import PathError, as_path, replacing, require_writable, write
from xdistill.manifests.errors import OutputError


def test_a_file_that_can_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    require_writable(tmp_path / "new.json", option="--json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".", "it is a folder, not a file"),
        ("absent/x.json", "No such file or directory"),
        ("file/x.json", "Not a directory"),
        ("pipe", "it is a named pipe, not a file"),
        ("null", "it is a device, not a file"),
        ("loop", "Too many levels of symbolic links"),
        # The name fits, but not that of the file that is written first.
        ("n" * 250, "File name too long"),
    ],
)
def test_where_no_file_can_be_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "loop").symlink_to("loop")
    out = tmp_path / name
    with pytest.raises(OutputError, match="what to do: create the folder") as told:
        require_writable(out, option="--json")
    assert f"--json {out} cannot be written ({reason})" in str(told.value)


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"kept")
    for name, target in (("link", "kept"), ("dangling", "absent")):
        link = tmp_path / name
        link.symlink_to(target)
        require_writable(link, option="--json")
        write(link, [b"new"])
        assert link.read_bytes() == b"new" and not link.is_symlink()
    assert (tmp_path / "kept").read_bytes() == b"kept" and not (tmp_path / "absent").exists()


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(OutputError, match="No space left on device"):
        require_writable(tmp_path / "new.json", option="--json")


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_file_is_replaced_in_one_step(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "a"
    if before is not None:
        path.write_bytes(before)
    with replacing(path) as aside:
        aside.write_bytes(b"new")
        assert (path.read_bytes() if path.exists() else None) == before
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, RuntimeError, KeyboardInterrupt])
def test_an_error_keeps_the_old_file_alone(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(error), replacing(path) as aside:
        aside.write_bytes(b"half")
        raise error
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_no_path_holds_a_nul_character() -> None:
    with pytest.raises(PathError, match="holds a NUL character"):
        as_path("a\0b")


def refuse_sync(monkeypatch: pytest.MonkeyPatch, *, code: int, folders: bool) -> None:
    """A file system whose fsync of folders, or of files, fails with ``code``."""
    real = os.fsync

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode) == folders:
            raise OSError(code, os.strerror(code))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(disk, "_UNSYNCED", set())


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_folder_that_cannot_be_synced_is_told_once(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse_sync(monkeypatch, code=code, folders=True)
    disk.write(tmp_path / "a", [b"1"])
    disk.write(tmp_path / "b", [b"2"])
    assert disk.create_folder(tmp_path / "c", {"d": b"3"})
    assert (tmp_path / "a").read_bytes() == b"1" and (tmp_path / "c" / "d").read_bytes() == b"3"
    assert capsys.readouterr().err.count("cannot sync folders") == 1


@pytest.mark.parametrize(
    ("code", "folders"),
    [(errno.EINVAL, False), (errno.EIO, False), (errno.EIO, True), (errno.ENOSPC, True)],
)
def test_any_other_failed_sync_is_an_error(
    code: int, folders: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_sync(monkeypatch, code=code, folders=folders)
    with pytest.raises(OSError) as caught:
        disk.write(tmp_path / "a", [b"1"])
    assert caught.value.errno == code


def test_the_folder_that_cannot_be_synced_has_its_lasting_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse_sync(monkeypatch, code=errno.EINVAL, folders=True)
    assert disk.create_folder(tmp_path / "c", {"d": b"3"})
    assert f"the file system of {tmp_path / 'c'} cannot" in capsys.readouterr().err
