"""Paths as users give them in Python: a string or a path object."""

import os
from pathlib import Path
from typing import TypeAlias

from xdistill.manifests.errors import XDistillError

PathLike: TypeAlias = str | os.PathLike[str]


class PathError(XDistillError, TypeError):
    """Something other than a path where a path belongs."""


def as_path(path: PathLike) -> Path:
    """The path, with ``~`` expanded.

    Raises:
        PathError: Neither a string nor a path object.
    """
    if not isinstance(path, str | os.PathLike):
        raise PathError(
            f"{path!r} is {type(path).__name__}, not a path",
            expected="a string or a pathlib.Path",
            remedy="pass the path of a file or folder",
        )
    return Path(path).expanduser()
