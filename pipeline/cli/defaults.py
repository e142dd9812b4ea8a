"""What ``xdistill.toml`` may hold: known keys, and values of the form that an option takes."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from xdistill.manifests.errors import ManifestError

DEFAULTS_FILE = Path("xdistill.toml")


def refuse_unknown(found: Iterable[str], known: Iterable[str], *, what: str) -> None:
    """Require that every key is known.

    Args:
        found: Keys of the file.
        known: Keys that it may have.
        what: Where they stand, for the message.

    Raises:
        ManifestError: One is not.
    """
    known = sorted(known)
    for key in found:
        if key not in known:
            raise ManifestError(
                f"{what} {key!r} is unknown",
                expected=f"one of {', '.join(known)}",
                where=DEFAULTS_FILE.absolute(),
                remedy="correct or remove the key",
            )


def check_form(option: click.Option, key: str, value: Any) -> None:
    """Require a list for an option that may be repeated, and values that click can convert.

    Raises:
        ManifestError: The value has another form, is empty, or holds a NUL character.
    """
    kinds: tuple[type, ...] = (str,)
    expected = "a list of strings" if option.multiple else "a string"
    if option.is_flag:
        kinds, expected = (bool,), "true or false"
    elif isinstance(option.type, click.types.IntParamType):
        kinds, expected = (str, int), "a whole number"
    elif isinstance(option.type, click.types.FloatParamType):
        kinds, expected = (str, int, float), "a number"
    elif isinstance(option.type, click.types.StringParamType):
        kinds = (str, int)
    values = value if isinstance(value, list) else [value]
    # Not isinstance, for which true is a whole number.
    if isinstance(value, list) == option.multiple and all(type(item) in kinds for item in values):
        return _refuse_no_text(key, values)
    texts = [str(item) for item in values]
    example = json.dumps(texts if option.multiple else " ".join(texts), allow_nan=False)
    raise ManifestError(
        f"{key} = {json.dumps(value, default=str, allow_nan=True)} is not {expected}",
        expected=expected,
        where=DEFAULTS_FILE.absolute(),
        remedy=f"write {key} = {example}" if "string" in expected else f"correct {key}",
    )


def _refuse_no_text(key: str, values: Iterable[Any]) -> None:
    if any(value == "" or "\0" in str(value) for value in values):
        raise ManifestError(
            f"{key} is empty, or holds a NUL character",
            expected="a value",
            where=DEFAULTS_FILE.absolute(),
            remedy=f"correct {key}, or remove it",
        )
