"""Find and read the TOML and TSV files of this package, or a user's own by path."""

import csv
import os
import tomllib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from shlex import quote
from typing import Any

from xdistill.manifests.disk import TextError, as_path, read_text
from xdistill.manifests.errors import ManifestError, shown


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
    if name in names(kind):
        return shipped
    own = as_path(name)
    # Whatever has the name: what is no file, or may not be read, says so when it is read.
    if os.path.lexists(own) and not os.path.isdir(own):
        return own
    inside = sorted(path.name for path in own.glob("*.toml")) if os.path.isdir(own) else []
    raise ManifestError(
        f"{name} is a folder" if inside else f"there is no {kind.rstrip('s')} named {shown(name)}",
        expected=f"one of {', '.join(names(kind))}, or the path of a TOML file",
        where=own.absolute() if own.suffix or "/" in name else None,
        remedy=f"give {' or '.join(quote(str(own / one)) for one in inside[:3])}"
        if inside
        else "check the spelling, or give the path of your own file",
    )


def load(kind: str, name: str) -> dict[str, Any]:
    """Read a manifest as a dictionary.

    Raises:
        ManifestError: It is missing or not valid TOML.
    """
    return read_toml(find(kind, name), form=f"a {kind.rstrip('s')} in TOML form")


def read_toml(source: Traversable, *, form: str = "a file in TOML form") -> dict[str, Any]:
    """Read a TOML file.

    Args:
        source: The file.
        form: What is expected of it, for the message.

    Raises:
        ManifestError: It cannot be read, or is not valid TOML.
        TextError: It is not UTF-8.
    """
    try:
        text = read_text(source) if isinstance(source, Path) else source.read_text("utf-8")
        content = tomllib.loads(text)
        _require_small_numbers(content)
    except OSError as error:
        raise ManifestError(
            f"{source} cannot be read ({error.strerror})",
            expected=form,
            remedy="check the path and its permissions",
        ) from error
    except RecursionError:
        raise _not_toml(source, "it is nested too deeply", form=form) from None
    except ValueError as error:
        if isinstance(error, TextError):
            raise
        raise _not_toml(source, str(error), form=form) from error
    return content


def _not_toml(source: Traversable, reason: str, *, form: str) -> ManifestError:
    return ManifestError(
        f"{source.name} is not valid TOML: {reason}",
        expected=form,
        where=source,
        remedy="fix the line named above",
    )


def _require_small_numbers(value: Any, key: str = "") -> None:
    """TOML's integers have 64 bits; Python's have no end, and end as an infinite float."""
    if isinstance(value, dict):
        for name, item in value.items():
            _require_small_numbers(item, name)
    elif isinstance(value, list):
        for item in value:
            _require_small_numbers(item, key)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{key} is a number of more than 64 bits")


@cache
def load_table(kind: str, name: str) -> tuple[dict[str, str], ...]:
    """Read a shipped TSV as rows of column name to printed text."""
    text = (files(__package__) / kind / f"{name}.tsv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines(), delimiter="\t"))
