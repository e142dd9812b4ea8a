"""Files on disk: only regular ones are read; what is written is whole or absent after a crash.

A named pipe without a writer, a device or a folder in place of a file would be waited for without
end, or read without end. Every file that a user can name is opened here.

Everything is written aside under a name that ends in ``.partial``, synced, renamed into place, and
the folder is synced too: a rename alone survives a killed process but not a power cut. The store
changes a disk only through the small functions that begin with an underscore, so that a test can
let each one fail.
"""

import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from xdistill.manifests.errors import OutputError, XDistillError
from xdistill.manifests.progress import note

PARTIAL = ".partial"
"""Ending of unfinished files and folders, which nothing reads."""
PathLike: TypeAlias = str | os.PathLike[str]

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""What file systems without kernel locks answer."""


NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""What file systems answer that cannot sync a folder."""
_UNSYNCED: set[int] = set()
"""Devices of which that was told."""


class PathError(XDistillError, TypeError):
    """Something other than a path where a path belongs."""


class TextError(XDistillError, ValueError):
    """A text file that is not UTF-8."""


def as_path(path: PathLike) -> Path:
    """The path, with ``~`` expanded.

    Raises:
        PathError: Neither a string nor a path object, or the home folder is unknown.
    """
    if not isinstance(path, str | os.PathLike):
        raise PathError(
            f"{path!r} is {type(path).__name__}, not a path",
            expected="a string or a pathlib.Path",
            remedy="pass the path of a file or folder",
        )
    if "\0" in os.fspath(path):
        raise PathError(
            f"{os.fspath(path)!r} holds a NUL character, which no path may",
            expected="the path of a file or folder",
            remedy="correct the path",
        )
    try:
        return Path(path).expanduser()
    except RuntimeError:
        name = Path(path).parts[0]
        raise PathError(
            f"the home folder {name} is unknown",
            expected="HOME set, or a user's name after ~",
            where=path,
            remedy="give the absolute path",
        ) from None


def open_regular(path: Path) -> int:
    """Open a regular file for reading, without waiting for a pipe's writer.

    Returns:
        Its descriptor, which the caller closes.

    Raises:
        OSError: It cannot be opened, or is no regular file; ``strerror`` says which.
    """
    # Opening is refused after a look at what is there, since opening a device can act on it.
    # What was put in its place meanwhile is found by the second look, and O_NONBLOCK never waits.
    require_regular(path, os.stat(path).st_mode)
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        require_regular(path, os.fstat(handle).st_mode)
    except OSError:
        os.close(handle)
        raise
    return handle


def require_regular(path: Path, mode: int) -> None:
    """Refuse anything but a regular file.

    Raises:
        OSError: The mode, from ``stat``, is that of something else; ``strerror`` says of what.
    """
    if stat.S_ISREG(mode):
        return
    kind = next((name for matches, name in KINDS if matches(mode)), "something else")
    code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    raise OSError(code, f"it is {kind}, not a file", str(path))


def read_bytes(path: Path) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: It cannot be read, or is no regular file; ``strerror`` says which.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read()


def reading_remedy(error: OSError, otherwise: str) -> str:
    """What to do about a file that cannot be read; a permission is not mended by a new file."""
    if isinstance(error, PermissionError):
        return "ask its owner for the permission to read it"
    return otherwise


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without the byte-order mark that Windows editors write.

    Line ends become ``\\n``, as in every text file that Python reads.

    Raises:
        OSError: It cannot be read, or is no regular file; ``strerror`` says which.
        TextError: It is not UTF-8.
    """
    return decode(read_bytes(path), path)


def decode(content: bytes, path: Path) -> str:
    """The text of ``content``, which was read from ``path``; see ``read_text``.

    Raises:
        TextError: It is not UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        wide = content.startswith(UTF16_MARKS)
        raise TextError(
            f"{path.name} is UTF-16" if wide else f"line {line} of {path.name} is not UTF-8",
            expected="text in UTF-8",
            where=path,
            remedy="save the file as UTF-8",
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _store(path: Path, block: bytes) -> None:
    """Append one block to a file, creating it."""
    with path.open("ab", buffering=0) as file:
        view = memoryview(block)
        while view:
            view = view[file.write(view) :]


def _sync(path: Path) -> None:
    """Sync a file or folder to disk.

    Some network file systems cannot sync a folder. A rename is one step there as elsewhere, so that
    only a power cut can still undo it: that is told once. A file must be synced everywhere.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC or not stat.S_ISDIR(os.fstat(handle).st_mode):
            raise
        _tell_unsynced(os.fstat(handle).st_dev, path)
    finally:
        os.close(handle)


def _tell_unsynced(device: int, folder: Path) -> None:
    if device not in _UNSYNCED:
        _UNSYNCED.add(device)
        # The lasting name of a folder that is written aside.
        folder = folder.with_name(final_name(folder.name) or folder.name)
        note(
            f"note: the file system of {folder} cannot sync folders: after a power cut, what was "
            "written last may be missing there; then run the same command again"
        )


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

    A link of that name is replaced; what it leads to is never written.

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
        OutputError: It is a folder or a device, its name is too long, or its folder is missing,
            full or read-only.
    """
    try:
        # A device or pipe would be replaced by a file, as the null device of a container's root.
        with suppress(FileNotFoundError):
            require_regular(path, os.stat(path).st_mode)
        # The name of the file that is written first is longer; asking for it tells whether it fits.
        with suppress(FileNotFoundError):
            os.lstat(partial_name(path))
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


def open_to_lock(path: Path, flags: int) -> int:
    """Open a file for a kernel lock, which is freed at once however its process ends.

    Forked children do not inherit it: they would keep the lock of a parent that was killed.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    # O_NONBLOCK, as a named pipe in place of the file would be waited for without end.
    handle = os.open(path, flags | os.O_NONBLOCK, 0o666)
    try:
        require_regular(path, os.fstat(handle).st_mode)
    except OSError:
        os.close(handle)
        raise
    _to_lock.add(handle)
    return handle


def close_locked(handle: int) -> None:
    """Close a file from ``open_to_lock``, which frees its lock."""
    _to_lock.discard(handle)
    os.close(handle)


def _forget_inherited() -> None:
    for handle in _to_lock:
        os.close(handle)
    _to_lock.clear()


_to_lock: set[int] = set()
os.register_at_fork(after_in_child=_forget_inherited)
