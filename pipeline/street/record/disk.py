"""A street's folder: for one process at a time, every refusal of the disk told in words."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xdistill.manifests.progress import note
from xdistill.pipeline.street.errors import StreetError

_claimed: dict[tuple[int, int], int] = {}
"""Open handle of each folder that this process holds, by device and inode."""


@contextmanager
def told(where: Path) -> Iterator[None]:
    """Tell what the operating system refused while something below ``where`` was written.

    Raises:
        StreetError: No room, read-only, or whatever else the system reports.
    """
    try:
        yield
    except OSError as error:
        raise StreetError(
            f"the street cannot be written ({error.strerror or error})",
            where=error.filename or where.absolute(),
            remedy="make room there or let it be written, then give the same command again: "
            "finished drives are kept",
        ) from error


def claim(folder: Path) -> None:
    """Keep other processes out of a folder until this one ends.

    The lock is on the folder itself: it leaves no file, and the kernel frees it however the
    process ends. Where the file system has no such locks, a note says so.

    Raises:
        StreetError: Another process makes a street there, or the folder cannot be opened.
    """
    with told(folder):
        handle = os.open(folder, os.O_RDONLY)
        status = os.fstat(handle)
    key = (status.st_dev, status.st_ino)
    if key in _claimed:
        os.close(handle)
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise StreetError(
            "another process is making a street in this folder",
            where=folder.absolute(),
            remedy="wait until it ends, or give another --out",
        ) from error
    except OSError as error:
        note(f"no locks here ({error.strerror}): start only one run in {folder} at a time")
    _claimed[key] = handle


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, and the folders above it.

    Raises:
        StreetError: The disk refuses.
    """
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        StreetError: The disk refuses.
    """
    part = path.with_name(path.name + ".part")
    write_bytes(part, text.encode())
    with told(path):
        os.replace(part, path)
