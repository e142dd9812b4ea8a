"""The pose network of Monodepth2: the camera's motion between two frames."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xdistill.train.networks.resnet import ResNetEncoder
from xdistill.train.recipe.recipe import ResNet

CHANNELS = 256
MOTIONS = 2
"""The published network predicts two motions; only the first is used."""
OUTPUT_SCALE = 0.01
"""Keeps the first motions small (radians; translation in the depth's unit)."""


class PoseNetwork(nn.Module):
    """An encoder of two stacked frames, a squeeze to 256 channels and three convolutions."""

    def __init__(self, encoder: ResNet) -> None:
        """Build the network with random weights; ``encoder`` as in ``resnet.ARCHITECTURES``."""
        super().__init__()
        self.encoder = ResNetEncoder(encoder, images=2)
        self.net = nn.ModuleList(
            [
                nn.Conv2d(self.encoder.channels[-1], CHANNELS, 1),
                nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
                nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
                nn.Conv2d(CHANNELS, 6 * MOTIONS, 1),
            ]
        )

    def forward(
        self,
        earlier: Float[Tensor, "batch 3 height width"],
        later: Float[Tensor, "batch 3 height width"],
    ) -> Float[Tensor, "batch 2 6"]:
        """Axis-angle (3) and translation (3) of two motions; the first is earlier -> later.

        Args:
            earlier: Frames in [0, 1].
            later: The frames that follow them in time.
        """
        x = self.encoder(torch.cat([earlier, later], 1))[-1]  # (B, C, H / 32, W / 32)
        *hidden, last = self.net
        for convolution in hidden:
            x = F.relu(convolution(x), inplace=True)
        motions: Tensor = OUTPUT_SCALE * last(x).float().mean((2, 3))  # (B, 12)
        return motions.view(-1, MOTIONS, 6)
