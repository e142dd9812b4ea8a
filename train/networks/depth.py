"""The depth network: an encoder and the decoder of Monodepth2 (Godard et al., ICCV 2019)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xdistill.train.networks import narrow
from xdistill.train.networks.resnet import ResNetEncoder
from xdistill.train.networks.row_prior import RowPrior, recipe_prior
from xdistill.train.recipe.recipe import Encoder, Recipe

DECODER_CHANNELS = (16, 32, 64, 128, 256)
"""Output channels of the decoder's rows, finest first."""
SCALES = 4
"""Disparities at full, half, quarter and eighth size."""


class ReflectedConvolution(nn.Module):
    """A 3x3 convolution over a border that is reflected."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Float[Tensor, "batch _ h w"]) -> Float[Tensor, "batch _ h w"]:
        return self.conv(x)  # type: ignore[no-any-return]


class ConvolutionBlock(nn.Module):
    """A reflected 3x3 convolution and an ELU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ReflectedConvolution(inputs, outputs)

    def forward(self, x: Float[Tensor, "batch _ h w"]) -> Float[Tensor, "batch _ h w"]:
        return F.elu(self.conv(x), inplace=True)


class DepthDecoder(nn.ModuleList):
    """Encoder features to sigmoid disparities.

    From the coarsest row to the finest: a block, nearest upsampling by two, the encoder's feature
    of that size beside it, a second block. The list holds the ten blocks in this order, then the
    four disparity heads, finest first: the order of the published checkpoints.
    """

    def __init__(
        self,
        encoder_channels: Sequence[int],
        *,
        decoder_channels: Sequence[int] = DECODER_CHANNELS,
        prior: RowPrior | None = None,
    ) -> None:
        super().__init__()
        self.prior = prior
        inputs = encoder_channels[-1]
        for row in reversed(range(len(decoder_channels))):
            channels = decoder_channels[row]
            skipped = encoder_channels[row - 1] if row else 0
            self.append(ConvolutionBlock(inputs, channels))
            self.append(ConvolutionBlock(channels + skipped, channels))
            inputs = channels
        self.extend(ReflectedConvolution(decoder_channels[s], 1) for s in range(SCALES))

    def forward(
        self, features: Sequence[Float[Tensor, "batch _ _ _"]]
    ) -> list[Float[Tensor, "batch 1 _ _"]]:
        """Sigmoid disparities at four scales, finest (the image's size) first."""
        rows = len(DECODER_CHANNELS)
        x = features[-1]
        disparities: list[Tensor] = []
        for row in reversed(range(rows)):
            before, after = self[2 * (rows - 1 - row)], self[2 * (rows - 1 - row) + 1]
            x = F.interpolate(before(x), scale_factor=2, mode="nearest")
            x = after(torch.cat([x, features[row - 1]], 1) if row else x)
            if row < SCALES:
                logits = self[2 * rows + row](x)
                if self.prior is not None:
                    logits = logits + self.prior.logits(logits.shape[2], like=logits)
                disparities.insert(0, torch.sigmoid(logits))
        return disparities


class DepthNetwork(nn.Module):
    """Images to sigmoid disparities; what remains after training."""

    def __init__(self, encoder: Encoder, *, prior: RowPrior | None = None) -> None:
        """Build the network with random weights.

        Args:
            encoder: A key of ``resnet.ARCHITECTURES``, or ``narrow``.
            prior: Where disparity starts from; None starts from the middle of its range.
        """
        super().__init__()
        self.encoder: ResNetEncoder | narrow.NarrowEncoder
        if encoder == "narrow":
            self.encoder, decoder = narrow.NarrowEncoder(), narrow.DECODER_CHANNELS
        else:
            self.encoder, decoder = ResNetEncoder(encoder), DECODER_CHANNELS
        self.decoder = DepthDecoder(self.encoder.channels, decoder_channels=decoder, prior=prior)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> list[Float[Tensor, "batch 1 _ _"]]:
        """Sigmoid disparities of images in [0, 1], finest first."""
        return self.decoder(self.encoder(images))  # type: ignore[no-any-return]


def depth_network(recipe: Recipe) -> DepthNetwork:
    """The depth network of a recipe with random weights."""
    return DepthNetwork(recipe.encoder, prior=recipe_prior(recipe))
