"""Which networks a recipe names.

A depth network is added by one file in this folder: its table ``DEPTH_NETWORKS`` maps the names
that recipes may give as ``encoder`` to functions that build it. Pose and D2S networks are chosen
here.
"""

import pkgutil
from collections.abc import Callable
from functools import cache
from importlib import import_module

from xdistill.grouping.scheme import load_scheme
from xdistill.train import networks
from xdistill.train.networks.cost_volume import CostVolumePoseNetwork
from xdistill.train.networks.d2s import D2SNetwork
from xdistill.train.networks.depth import DepthNetwork
from xdistill.train.networks.pose import PoseNetwork
from xdistill.train.recipe.recipe import Recipe, RecipeError

Build = Callable[[Recipe], DepthNetwork]


@cache
def depth_networks() -> dict[str, Build]:
    """Every depth network that a file of this folder lists, by the name that recipes give it."""
    found: dict[str, Build] = {}
    for file in pkgutil.iter_modules(networks.__path__):
        module = import_module(f"{networks.__name__}.{file.name}")
        found |= getattr(module, "DEPTH_NETWORKS", {})
    return found


def require_depth_network(recipe: Recipe) -> Build:
    """What builds the recipe's depth network.

    Raises:
        RecipeError: No file lists the name.
    """
    known = depth_networks()
    if recipe.encoder not in known:
        raise RecipeError(
            f"encoder is {recipe.encoder!r}, which is unknown",
            expected=f"one of {', '.join(sorted(known))}",
            where=f"recipe {recipe.name!r}",
            remedy="correct encoder in the recipe, or with --set encoder=NAME",
        )
    return known[recipe.encoder]


def depth_network(recipe: Recipe) -> DepthNetwork:
    """The recipe's depth network with random weights.

    Raises:
        RecipeError: The network is unknown.
    """
    return require_depth_network(recipe)(recipe)


def pose_network(recipe: Recipe) -> PoseNetwork | CostVolumePoseNetwork | None:
    """The recipe's pose network with random weights; None with recorded poses."""
    if recipe.pose != "network":
        return None
    if recipe.pose_network == "cost_volume":
        return CostVolumePoseNetwork(size=recipe.size, unit=recipe.min_depth)
    return PoseNetwork(recipe.pose_encoder)


def d2s_network(recipe: Recipe) -> D2SNetwork | None:
    """The recipe's D2S network with random weights; None without distillation.

    Raises:
        ManifestError: The recipe's grouping scheme cannot be read.
    """
    if recipe.distillation != "d2s":
        return None
    groups = len(load_scheme(recipe.scheme).groups)
    return D2SNetwork(layers=recipe.d2s_layers, channels=recipe.d2s_channels, groups=groups)
