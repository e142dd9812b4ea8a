"""From the decoder's sigmoid output to disparity and depth."""

from jaxtyping import Float
from torch import Tensor

MIN_DEPTH = 0.1
"""Nearest depth of the networks' range, in the unit of the predicted translation."""
MAX_DEPTH = 100.0
"""Farthest depth of the networks' range, same unit."""


def scaled_disparity(
    sigmoid: Float[Tensor, "*shape"], *, min_depth: float = MIN_DEPTH, max_depth: float = MAX_DEPTH
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Map the sigmoid output linearly to disparity in [1 / max_depth, 1 / min_depth].

    Args:
        sigmoid: Decoder output in [0, 1], any shape.
        min_depth: Depth where the sigmoid is 1.
        max_depth: Depth where the sigmoid is 0.

    Returns:
        The scaled disparity and its inverse, the depth, both of the input's shape.

    Source: section 3, Godard et al., ICCV 2019.
    """
    farthest, nearest = 1.0 / max_depth, 1.0 / min_depth
    disparity = farthest + (nearest - farthest) * sigmoid
    return disparity, 1.0 / disparity
