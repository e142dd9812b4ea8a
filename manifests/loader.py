"""Find and read the TOML and TSV files of this package, or a user's own by path."""

import csv
import os
import tomllib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeAlias

from xdistill.manifests.errors import ManifestError, XDistillError

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


def names(kind: str) -> list[str]:
    """Names of the shipped manifests of one kind (``schemes``, ``recipes``, ``splits``, ...)."""
    folder = files(__package__) / kind
    return sorted(Path(entry.name).stem for entry in folder.iterdir())


def find(kind: str, name: str) -> Traversable:
    """Locate a shipped manifest by name, or a user's own file by path.

    A shipped name wins over a file of that name in the current folder; ``./4`` names the file.

    Raises:
        ManifestError: The name is neither shipped nor an existing file.
    """
    shipped = files(__package__) / kind / f"{name}.toml"
    if "/" not in name and shipped.is_file():
        return shipped
    own = Path(name)
    if own.is_file():
        return own
    raise ManifestError(
        f"there is no {kind.rstrip('s')} named {name!r}",
        expected=f"one of {', '.join(names(kind))}, or the path of a TOML file",
        where=own.absolute() if own.suffix or "/" in name else None,
        remedy="check the spelling, or give the path of your own file",
    )


def load(kind: str, name: str) -> dict[str, Any]:
    """Read a manifest as a dictionary.

    Raises:
        ManifestError: It is missing or not valid TOML.
    """
    source = find(kind, name)
    try:
        return tomllib.loads(source.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(
            f"the file is not valid TOML: {error}",
            expected=f"a {kind.rstrip('s')} in TOML form",
            where=source,
            remedy="fix the line named above",
        ) from error


@cache
def load_table(kind: str, name: str) -> tuple[dict[str, str], ...]:
    """Read a shipped TSV as rows of column name to printed text."""
    text = (files(__package__) / kind / f"{name}.tsv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines(), delimiter="\t"))
