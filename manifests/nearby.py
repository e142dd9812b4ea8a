"""Folders near a path that was given one level too deep or too shallow."""

import os
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

from xdistill.manifests.disk import read_bytes

LEVELS_UP = 4
"""From the images of a drive, or from the array of a sequence, up to the root."""


def nearby(path: Path, fits: Callable[[Path], bool]) -> list[Path]:
    """Folders that fit, absolute: the one above the path, else those directly in it.

    Where nothing exists at the path, those beside it count, as for a misspelt name.
    """
    folder = path.absolute()
    # The root of the file system is nobody's data folder, and long to search.
    parents = takewhile(lambda parent: parent != parent.parent, folder.parents[:LEVELS_UP])
    above = [parent for parent in parents if fits(parent)]
    return above[:1] or [inner for inner in subfolders(_existing(folder)) if fits(inner)]


def above(path: Path, file: str, mark: bytes) -> list[Path]:
    """Folders above a path that hold a file with a mark in it, absolute, from the nearest on."""
    return [parent for parent in path.absolute().parents if has(parent / file, mark)]


def has(file: Path, mark: bytes) -> bool:
    """Whether a file can be read and holds a mark."""
    try:
        return mark in read_bytes(file)
    except OSError:
        return False


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, without hidden ones; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                folder / entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir()
            )
    except OSError:
        # This only looks for a hint: the error in hand matters more.
        return []


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else folder.parent
