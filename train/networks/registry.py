"""The encoders and decoders that recipes name, found in the files of this folder."""

import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from torch import nn

from xdistill.train.networks.depth import DepthNetwork, Encoder
from xdistill.train.recipe.recipe import Recipe, RecipeError

BuildEncoder = Callable[[Recipe], Encoder]
"""From a recipe to its encoder with random weights."""
BuildDecoder = Callable[[Encoder, Recipe], nn.Module]
"""From an encoder and the recipe to the decoder of its features, with random weights."""
Build = TypeVar("Build")


def encoders() -> dict[str, BuildEncoder]:
    """Every encoder by the name that recipes give it; ``timm:`` stands for all of timm's."""
    return _tables("ENCODERS")


def decoders() -> dict[str, BuildDecoder]:
    """Every decoder by the name that recipes give it."""
    return _tables("DECODERS")


@cache
def _tables(name: str) -> dict[str, Any]:
    """The tables of one name in all files of the folder, as one."""
    found: dict[str, Any] = {}
    folder = import_module(__package__)
    for file in pkgutil.iter_modules(folder.__path__):
        module = import_module(f"{folder.__name__}.{file.name}")
        found |= getattr(module, name, {})
    return found


def require_networks(recipe: Recipe) -> tuple[BuildEncoder, BuildDecoder]:
    """The functions that build the recipe's encoder and decoder.

    Raises:
        RecipeError: No file defines one of them.
    """
    return _known(encoders(), "encoder", recipe), _known(decoders(), "decoder", recipe)


def _known(table: Mapping[str, Build], key: str, recipe: Recipe) -> Build:
    name = str(getattr(recipe, key))
    family, colon, _ = name.partition(":")
    if family + colon not in table:
        shown = (f"{entry}NAME" if entry.endswith(":") else entry for entry in sorted(table))
        raise RecipeError(
            f"{key} is {name!r}, which is unknown",
            expected=f"one of {', '.join(shown)}",
            where=f"recipe {recipe.name!r}",
            remedy=f"correct {key} in the recipe, or with --set {key}=NAME",
        )
    return table[family + colon]


def depth_network(recipe: Recipe) -> DepthNetwork:
    """The recipe's depth network with random weights.

    Raises:
        RecipeError: A part of it is unknown, or encoder and decoder do not go together.
    """
    build_encoder, build_decoder = require_networks(recipe)
    encoder = build_encoder(recipe)
    return DepthNetwork(encoder, build_decoder(encoder, recipe))
