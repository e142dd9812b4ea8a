"""Depth-to-segmentation distillation: the D2S network's input and its loss (Eq. 3)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from xdistill.grouping.classes import IGNORE_INDEX
from xdistill.train.objective.depth import scaled_disparity

D2S_INPUTS = ("disparity", "depth", "log_depth")
"""What the D2S network may read; the paper leaves it open."""


def d2s_input(
    sigmoid: Float[Tensor, "batch 1 height width"],
    kind: str,
    *,
    min_depth: float,
    max_depth: float,
) -> Float[Tensor, "batch 1 height width"]:
    """The depth network's output in the form that the D2S network reads.

    Args:
        sigmoid: Sigmoid disparity in [0, 1].
        kind: ``disparity`` (the sigmoid itself), ``depth`` or ``log_depth`` (natural logarithm).
        min_depth: Depth where the sigmoid is 1.
        max_depth: Depth where the sigmoid is 0.
    """
    if kind == "disparity":
        return sigmoid
    _, depth = scaled_disparity(sigmoid, min_depth=min_depth, max_depth=max_depth)
    return depth if kind == "depth" else torch.log(depth)


def cross_entropy(
    logits: Float[Tensor, "batch groups height width"], labels: UInt8[Tensor, "batch height width"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy over all pixels that have a label; 0 where none has.

    Args:
        logits: The D2S network's output.
        labels: The teacher's groups; 255 is ignored (footnote 1).

    Source: Eq. 3, Cai et al. 2021.
    """
    labelled = (labels != IGNORE_INDEX).sum().clamp(min=1)
    total = F.cross_entropy(logits, labels.long(), ignore_index=IGNORE_INDEX, reduction="sum")
    return total / labelled


def d2s_loss(
    logits: Sequence[Float[Tensor, "batch groups height width"]],
    labels: UInt8[Tensor, "batch height width"],
) -> Float[Tensor, ""]:
    """L_D2S: the cross-entropy of Eq. 3, averaged over the scales that the D2S network read."""
    return torch.stack([cross_entropy(scale, labels) for scale in logits]).mean()
