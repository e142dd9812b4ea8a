"""The depth-to-segmentation network: trained jointly, dropped after training."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xdistill.train.objective.geometry import scaled_disparity


class D2SNetwork(nn.Sequential):
    """3x3 convolutions, each with BatchNorm and ReLU, then a 1x1 convolution to the groups.

    Maps (batch, 1, height, width) of disparity, depth or log depth to logits (batch, groups,
    height, width).

    Source: section 3.2 and Table 6, Cai et al. 2021.
    """

    def __init__(self, *, layers: int, channels: int, groups: int) -> None:
        """Build the network with random weights.

        Args:
            layers: Number of 3x3 convolutions.
            channels: Their width.
            groups: Groups of the scheme.
        """
        modules: list[nn.Module] = []
        inputs = 1
        for _ in range(layers):
            # Reflected, as in the depth decoder: zeros would tell the border from the inside.
            convolution = nn.Conv2d(
                inputs, channels, 3, padding=1, padding_mode="reflect", bias=False
            )
            modules += [convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            inputs = channels
        super().__init__(*modules, nn.Conv2d(inputs, groups, 1))


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
