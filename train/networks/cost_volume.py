"""A pose network that reads how well shifted frames match, for training from random weights.

A network of Monodepth2's form, without ImageNet weights, learns no motion that varies from sample
to sample on small data; matching costs carry the flow from the first step on.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

RADIUS_X, RADIUS_Y = 3, 2
"""Largest shift in pixels of the half-size image: 7 x 5 shifts."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B (ITU-R BT.601)."""
HIDDEN = (32, 64, 64, 128)
"""Channels of the four convolutions of stride 2."""
ROTATION_SCALE = 0.02
"""Radians for one unit of output."""
TRANSLATION_SCALE = 0.4
"""Nearest depths for one unit of output."""
FORWARD = 0.8
"""Nearest depths that the camera drives ahead between frames before anything is learned."""
SPREAD_EPSILON = 1e-3
"""Keeps the normalised costs of a uniform image finite."""


def cost_volume(
    earlier: Float[Tensor, "batch 3 height width"], later: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch 35 height//2 width//2"]:
    """Matching cost of every shift of the earlier frame against the later one.

    Args:
        earlier: Frames in [0, 1].
        later: The frames that follow them.

    Returns:
        |shifted earlier - later| on half-size luma, averaged over 3x3 pixels, then per image with
        its mean subtracted and divided by its deviation. Shifts go row by row from (-2, -3).
    """
    first, second = _half_luma(earlier), _half_luma(later)  # (B, 1, H / 2, W / 2)
    height, width = first.shape[2:]
    padded = F.pad(first, (RADIUS_X, RADIUS_X, RADIUS_Y, RADIUS_Y), mode="replicate")
    shifted = [
        padded[:, :, y : y + height, x : x + width]
        for y in range(2 * RADIUS_Y + 1)
        for x in range(2 * RADIUS_X + 1)
    ]
    costs = F.avg_pool2d((torch.cat(shifted, 1) - second).abs(), 3, stride=1, padding=1)
    mean = costs.mean((1, 2, 3), keepdim=True)
    spread = costs.std((1, 2, 3), keepdim=True)
    return (costs - mean) / (spread + SPREAD_EPSILON)


def _half_luma(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1 _ _"]:
    weights = images.new_tensor(LUMA).view(1, 3, 1, 1)
    return F.avg_pool2d((images * weights).sum(1, keepdim=True), 2)


class CostVolumePoseNetwork(nn.Module):
    """Matching costs and pixel positions through four convolutions and a linear layer.

    The linear layer sees every position: a mean over the image cannot tell a turn, where all
    pixels move alike, from a drive ahead, where they move away from the centre.
    """

    def __init__(self, *, size: tuple[int, int], unit: float) -> None:
        """Build the network with random weights.

        Args:
            size: Height and width of its images in pixels, multiples of 32.
            unit: The nearest depth; motions are scaled by it.
        """
        super().__init__()
        height, width = size
        shifts = (2 * RADIUS_X + 1) * (2 * RADIUS_Y + 1)
        channels = (shifts + 2, *HIDDEN)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
            for inputs, outputs in zip(channels, channels[1:], strict=False)
        )
        self.linear = nn.Linear(HIDDEN[-1] * (height // 32) * (width // 32), 6)
        # The camera drives ahead, so the points of the earlier frame come nearer: z gets smaller.
        self.start = (0.0, 0.0, 0.0, 0.0, 0.0, -FORWARD * unit)
        self.scales = (ROTATION_SCALE,) * 3 + (TRANSLATION_SCALE * unit,) * 3

    def forward(
        self,
        earlier: Float[Tensor, "batch 3 height width"],
        later: Float[Tensor, "batch 3 height width"],
    ) -> Float[Tensor, "batch 1 6"]:
        """Axis-angle (3) and translation (3) of the motion earlier -> later.

        Args:
            earlier: Frames in [0, 1].
            later: The frames that follow them in time.
        """
        costs = cost_volume(earlier, later)  # (B, 35, H / 2, W / 2)
        x = torch.cat([costs, _positions(costs)], 1)  # (B, 37, H / 2, W / 2)
        for convolution in self.convolutions:
            x = F.relu(convolution(x), inplace=True)
        raw: Tensor = self.linear(x.flatten(1)).float()
        return (raw * raw.new_tensor(self.scales) + raw.new_tensor(self.start))[:, None]


def _positions(like: Float[Tensor, "batch _ h w"]) -> Float[Tensor, "batch 2 h w"]:
    """x and y from -1 to 1 at every pixel."""
    batch, _, height, width = like.shape
    ends = [torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device) for n in (height, width)]
    y, x = torch.meshgrid(*ends, indexing="ij")
    return torch.stack([x, y]).expand(batch, -1, -1, -1)
