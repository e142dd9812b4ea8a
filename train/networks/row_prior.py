"""Where disparity starts from: a flat road seen from the camera's height."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from xdistill.train.recipe.recipe import ROAD_HEIGHTS, Recipe

FOCAL_SHARE = 1.92
"""Focal length as a share of the image's height (Monodepth2's for every KITTI drive)."""
HORIZON = 0.5
"""Row of the horizon as a share of the image's height (the same source)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowPrior:
    """Fixed logits, one for each image row, that are added to the disparity heads' own.

    A network from random weights learns what stands on the road sooner when the road need not be
    learned first. The published networks have no such prior.
    """

    height: float
    """Of the camera above the road, in the depth's unit."""
    min_depth: float
    """Depth where the sigmoid is 1, same unit."""
    max_depth: float
    """Depth where the sigmoid is 0, same unit."""

    def logits(self, rows: int, *, like: Tensor) -> Float[Tensor, "1 1 rows 1"]:
        """Logits of the rows of an image, on the device of ``like``."""
        row = (torch.arange(rows, dtype=like.dtype, device=like.device) + 0.5) / rows
        road = (row - HORIZON) / (FOCAL_SHARE * self.height)
        disparity = road.clamp(min=1 / (ROAD_HEIGHTS[1] * self.height))
        farthest, nearest = 1 / self.max_depth, 1 / self.min_depth
        return torch.logit((disparity - farthest) / (nearest - farthest)).view(1, 1, rows, 1)


def recipe_prior(recipe: Recipe) -> RowPrior | None:
    """The prior that a recipe asks for."""
    if recipe.row_prior is None:
        return None
    return RowPrior(height=recipe.row_prior, min_depth=recipe.min_depth, max_depth=recipe.max_depth)
