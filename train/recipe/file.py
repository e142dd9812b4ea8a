"""Recipes as TOML: shipped or your own, inheritance, overrides, the resolved copy."""

import difflib
import math
import os
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal

import tomli_w

from xdistill.manifests import loader
from xdistill.manifests.disk import as_path
from xdistill.manifests.errors import shown
from xdistill.train.recipe.recipe import Recipe, RecipeError

FILE_NAME = "recipe.toml"
BASE = "base"
"""The key that names the recipe to inherit from."""
ABOUT = "about"
"""What the recipe is, in a sentence; not inherited."""
REPRODUCES = "reproduces"
"""Published rows that it reproduces: table, method, backbone, resolution; not inherited."""
LONGEST_CHAIN = 20
"""Recipes that may inherit from each other."""
NONE_TEXT = "none"
"""How an optional key is unset with ``--set``."""
ADDED: Mapping[str, Any] = {
    "remark": NONE_TEXT,
    "decoder": "monodepth2",
    "pose_encoder_weights": "same",
    "precision": "float32",
    "accumulate": 1,
}
"""Keys that runs of earlier versions lack, with what these versions did."""
RUN_PREFIX = "run:"
"""Before the name of the recipe whose newest run ``init`` starts from."""


def load_recipe(name: str, *, overrides: Sequence[str] = ()) -> Recipe:
    """Read a shipped recipe by name, or your own by path, with ``key=value`` overrides.

    Raises:
        ManifestError: Not found or not TOML.
        RecipeError: A key is unknown (the nearest known one is named) or a value invalid.
    """
    values = {"name": Path(name).stem} | _inherited(name, seen=())
    values |= parse_overrides(overrides)
    return build_recipe(values | _absolute_paths(values), where=f"recipe {name!r}")


def load_run_recipe(run: Path) -> Recipe:
    """Read the recipe of a run, which holds every key.

    No key takes its default: that would be another network than the run's. A key that is newer than
    the run has the value of what was done before.

    Raises:
        ManifestError: Not found or not TOML.
        RecipeError: A key is missing or unknown, or a value invalid.
    """
    path = run / FILE_NAME
    values = {**ADDED} | loader.load("recipes", str(path))
    missing = [field.name for field in fields(Recipe) if field.name not in values]
    if missing:
        raise RecipeError(
            f"the run's recipe lacks {', '.join(missing)}",
            expected="every key, as xd-train wrote it",
            where=path,
            remedy="restore the file, or start a new run",
        )
    return build_recipe(values, where=f"recipe {str(path)!r}")


def dump_recipe(recipe: Recipe) -> bytes:
    """The resolved recipe as TOML: every key, nothing inherited."""
    values = {key: NONE_TEXT if v is None else v for key, v in asdict(recipe).items()}
    return tomli_w.dumps(values).encode()


def override(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with ``key=value`` overrides.

    Raises:
        RecipeError: A key is unknown or a value invalid.
    """
    return build_recipe(asdict(recipe) | parse_overrides(overrides), where="--set")


def build_recipe(values: Mapping[str, Any], *, where: str) -> Recipe:
    """Check keys and types and make the recipe.

    Raises:
        RecipeError: A key is unknown, or a value has another type or is out of range.
    """
    hints = typing.get_type_hints(Recipe)
    for key in values:
        if key not in hints:
            raise _unknown(key, hints, where)
    return Recipe(**{key: _typed(key, values[key], hints[key], where) for key in values})


def parse_overrides(texts: Sequence[str]) -> dict[str, str]:
    """Split ``key=value`` texts; values stay text until the type of their key is known.

    Raises:
        RecipeError: A text has no ``=``.
    """
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise RecipeError(
                f"--set {text} has no value",
                expected="key=value, such as --set batch_size=4",
                remedy=f"known keys: {', '.join(field.name for field in fields(Recipe))}",
            )
        pairs[key.strip().replace("-", "_")] = value.strip()
    return pairs


def _inherited(name: str, *, seen: tuple[str, ...]) -> dict[str, Any]:
    """The file's values over those of its base, recursively."""
    if name in seen:
        raise RecipeError(
            f"{BASE} is circular: {' -> '.join([*seen, name])}",
            expected=f"a chain of {BASE} keys that ends",
            where=name,
            remedy=f"remove one {BASE} key",
        )
    if len(seen) == LONGEST_CHAIN:
        raise RecipeError(
            f"the chain of {BASE} keys is longer than {LONGEST_CHAIN} recipes",
            expected=f"a chain of {BASE} keys that ends",
            where=name,
            remedy="merge some of them into one recipe",
        )
    values = loader.load("recipes", name)
    base = values.pop(BASE, None)
    for key in (ABOUT, REPRODUCES):
        values.pop(key, None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise RecipeError(
            f"{BASE} is {shown(base)}, not text",
            expected="a recipe by name, or the path of a TOML file",
            where=name,
            remedy=f"correct {BASE}",
        )
    beside = as_path(name).parent / as_path(str(base))
    # Of a text that is no path at all, the loader says that there is no such recipe.
    if base not in loader.names("recipes") and os.path.isfile(beside):
        base = str(beside)
    inherited = _inherited(str(base), seen=(*seen, name))
    return {key: inherited[key] for key in inherited if key != "name"} | values


def _absolute_paths(values: Mapping[str, Any]) -> dict[str, str]:
    """Make the paths of a user's own files absolute, so that they mean the same in every folder."""
    words = {
        "scheme": loader.names("schemes"),
        "encoder_weights": ["imagenet", "none"],
        "pose_encoder_weights": ["same", "imagenet", "none"],
        "init": [NONE_TEXT],
    }
    return {
        key: str(as_path(values[key]).absolute())
        for key, known in words.items()
        if isinstance(values.get(key), str)
        and values[key] not in known
        and not values[key].startswith(RUN_PREFIX)
    }


def _typed(key: str, value: Any, hint: Any, where: str) -> Any:
    """Convert a value to the type of its field; text comes from ``--set``."""
    # ``A | None`` of classes and of literals have different origins.
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    options = typing.get_args(hint) if union else (hint,)
    if type(None) in options and value in (None, NONE_TEXT):
        return None
    literals = [option for option in options if typing.get_origin(option) is Literal]
    choices = tuple(choice for literal in literals for choice in typing.get_args(literal))
    kind = type(choices[0]) if choices else next(o for o in options if o is not type(None))
    converted = _convert(value, kind)
    if converted is None or (choices and converted not in choices):
        names = {int: "a whole number", float: "a finite number", bool: "true or false"}
        expected = f"one of {', '.join(map(str, choices))}" if choices else names.get(kind, "text")
        raise RecipeError(
            f"{key} is {shown(value)}, not {expected}",
            expected=expected,
            where=where,
            remedy=f"correct {key}",
        )
    return converted


def _convert(value: Any, kind: type) -> bool | int | float | str | None:
    """Convert a value to ``kind``; None if it has another form."""
    if kind is bool:
        return value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value))
    if isinstance(value, bool):
        return None
    if kind is str:
        return str(value) if isinstance(value, str | int) else None
    try:
        if isinstance(value, str | int) and kind is int:
            return int(value)
        number = float(value) if kind is float else math.nan
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _unknown(key: str, known: Mapping[str, Any], where: str) -> RecipeError:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return RecipeError(
        f"the recipe key {key!r} is unknown",
        expected=f"{near[0]!r}?" if near else f"one of {', '.join(known)}",
        where=where,
        remedy="correct or remove the key",
    )
