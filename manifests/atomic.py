"""Files that are whole or absent, even after a crash.

Everything is written aside under a name that ends in ``.partial``, synced, renamed into place, and
the folder is synced too: a rename alone survives a killed process but not a power cut. The store
changes a disk only through the small functions at the top, so that a test can let each one fail.
"""

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from xdistill.manifests.errors import OutputError

PARTIAL = ".partial"
"""Ending of unfinished files and folders, which nothing reads."""


def _store(path: Path, block: bytes) -> None:
    """Append one block to a file, creating it."""
    with path.open("ab", buffering=0) as file:
        view = memoryview(block)
        while view:
            view = view[file.write(view) :]


def _sync(path: Path) -> None:
    """Sync a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _rename(source: Path, target: Path) -> None:
    os.rename(source, target)


def _make_folder(path: Path) -> None:
    path.mkdir()


def _unlink(path: Path) -> None:
    path.unlink()


def _remove_folder(path: Path) -> None:
    path.rmdir()


def partial_name(path: Path) -> Path:
    """A unique name beside ``path`` for what is to become ``path``."""
    return path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}{PARTIAL}")


def final_name(name: str) -> str | None:
    """The name that an unfinished file was to get; None for any other name."""
    found = re.fullmatch(r"(.+)\.\d+-[0-9a-f]{8}\.partial", name)
    return found[1] if found else None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file in one step: yields the path to write to, which then becomes ``path``.

    After a crash, ``path`` is the old file, or none, or the new one. An error within leaves it as
    it was and removes what was written.

    Raises:
        OSError: The file could not be written.
    """
    aside = partial_name(path)
    try:
        yield aside
        _sync(aside)
        _rename(aside, path)
    except BaseException:
        # Above all on a full disk, what is not finished must not keep the room.
        discard(aside)
        raise
    _sync(path.parent)


def write(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a file's blocks in one step; see ``replacing``.

    Raises:
        OSError: The file could not be written; what was there before is unchanged.
    """
    with replacing(path) as aside:
        for block in blocks:
            _store(aside, block)


def create_folder(path: Path, files: Mapping[str, bytes]) -> bool:
    """Create a folder with its first files in one step.

    Returns:
        False if another process created it first: its folder is kept.

    Raises:
        OSError: The folder could not be written.
    """
    aside = partial_name(path)
    try:
        _make_folder(aside)
        for name, content in files.items():
            _store(aside / name, content)
            _sync(aside / name)
        _sync(aside)
        _rename(aside, path)
    except OSError:
        discard(aside)
        # A rename onto a folder that is not empty fails, whatever the errno is called here.
        if path.is_dir() and any(path.iterdir()):
            return False
        raise
    _sync(path.parent)
    return True


def discard(path: Path) -> None:
    """Remove a file, or a folder with its files, if it exists and can be removed."""
    try:
        if path.is_dir():
            for entry in path.iterdir():
                discard(entry)
            _remove_folder(path)
        elif path.exists():
            _unlink(path)
    except OSError:
        # The sweep at the next opening tries again; the error in hand matters more.
        return


def require_writable(path: Path, *, option: str) -> None:
    """Check that a file can be written, before the work for it is done; nothing is left behind.

    Args:
        path: The file to be.
        option: The flag that named it, for the message.

    Raises:
        OutputError: It is a folder, or its folder is missing, full or read-only.
    """
    if path.is_dir():
        raise unwritable(path, "a folder", option=option)
    try:
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            pass
    except OSError as error:
        raise unwritable(path, error.strerror, option=option) from error


def unwritable(path: Path, reason: str | None, *, option: str | None = None) -> OutputError:
    """The error that says why ``path`` cannot be written."""
    return OutputError(
        f"{option} {path} cannot be written ({reason})"
        if option
        else f"{path} cannot be written ({reason})",
        expected="a path that can be written, in an existing folder",
        where=path.absolute().parent,
        remedy="create the folder, make room there, or give another path",
    )
