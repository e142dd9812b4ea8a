"""The losses: SSIM, photometric (Eq. 2), per-pixel minimum, smoothness, distillation (Eq. 3)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from xdistill.grouping.classes import IGNORE_INDEX

SSIM_SHARE = 0.85
"""Share of the SSIM term in the photometric loss: 1 - alpha, alpha = 0.15 (Monodepth2)."""
SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2
MEAN_EPSILON = 1e-7
"""Added to the mean disparity that normalises the smoothness term (Monodepth2)."""


class _WindowMean(torch.autograd.Function):
    """Mean over 3x3 windows, equal to F.avg_pool2d to the bit and faster on a CPU."""

    @staticmethod
    def forward(ctx: object, image: Tensor) -> Tensor:
        """Nine shifted images, added in the order in which avg_pool2d adds."""
        height, width = image.shape[2] - 2, image.shape[3] - 2
        total = torch.zeros_like(image[..., :height, :width])
        for row in range(3):
            for column in range(3):
                total += image[..., row : row + height, column : column + width]
        return total.div_(9)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        """The same window over the padded gradient, first its rows, then its columns."""
        padded = F.pad(gradient, (2, 2, 2, 2))
        rows = padded[..., :-2, :] + padded[..., 1:-1, :]
        rows += padded[..., 2:, :]
        total = rows[..., :-2] + rows[..., 1:-1]
        total += rows[..., 2:]
        return total.div_(9)


def _window_mean(image: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h-2 w-2"]:
    if image.is_cuda:
        return F.avg_pool2d(image, 3, stride=1)
    mean: Tensor = _WindowMean.apply(image)  # type: ignore[no-untyped-call]
    return mean


def ssim_dissimilarity(
    first: Float[Tensor, "batch channels height width"],
    second: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch channels height width"]:
    """(1 - SSIM) / 2 per pixel and channel over 3x3 windows, clamped to [0, 1].

    Args:
        first: Images in [0, 1].
        second: Images in [0, 1].

    Source: Wang et al., IEEE TIP 2004; window, padding and constants as Monodepth2.
    """
    x, y = (F.pad(image, (1, 1, 1, 1), mode="reflect") for image in (first, second))
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    variance_x = _window_mean(x * x) - mean_x**2
    variance_y = _window_mean(y * y) - mean_y**2
    covariance = _window_mean(x * y) - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + SSIM_C1) * (2 * covariance + SSIM_C2)
    denominator = (mean_x**2 + mean_y**2 + SSIM_C1) * (variance_x + variance_y + SSIM_C2)
    return ((1 - numerator / denominator) / 2).clamp(0, 1)


def photometric(
    predicted: Float[Tensor, "batch channels height width"],
    target: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch 1 height width"]:
    """alpha L1 + (1 - alpha) (1 - SSIM) / 2 per pixel, both averaged over the channels.

    Source: Eq. 2, Cai et al. 2021, with alpha = 0.15.
    """
    absolute = (target - predicted).abs().mean(1, keepdim=True)
    dissimilarity = ssim_dissimilarity(predicted, target).mean(1, keepdim=True)
    return SSIM_SHARE * dissimilarity + (1 - SSIM_SHARE) * absolute


def per_pixel_minimum(
    identity: Float[Tensor, "batch unwarped height width"],
    reprojection: Float[Tensor, "batch warped height width"],
) -> tuple[Float[Tensor, "batch height width"], Bool[Tensor, "batch height width"]]:
    """Minimum over the sources, warped and unwarped: the auto-mask of Monodepth2.

    A pixel where an unwarped source fits best carries no gradient: nothing moves there, or it
    moves along with the camera.

    Args:
        identity: Photometric loss of each source frame as it is, with its tie-breaking noise.
        reprojection: Photometric loss of each warped source frame.

    Returns:
        The minimum, and True where a warped source has it (the identity wins a tie).

    Source: section 3.2 and Eq. 5, Godard et al., ICCV 2019.
    """
    values, best = torch.cat([identity, reprojection], 1).min(dim=1)
    return values, best >= identity.shape[1]


def smoothness(
    disparity: Float[Tensor, "batch 1 height width"],
    image: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, ""]:
    """Edge-aware smoothness of the mean-normalised disparity.

    Args:
        disparity: Sigmoid disparity of one scale.
        image: The image without augmentation, in [0, 1], resized to that scale.

    Returns:
        mean |dx d*| exp(-|dx I|) + mean |dy d*| exp(-|dy I|), with d* = d / (mean(d) + 1e-7).

    Source: Eq. 3, Godard et al., ICCV 2019.
    """
    normalised = disparity / (disparity.mean((2, 3), keepdim=True) + MEAN_EPSILON)

    def along(axis: int) -> Tensor:
        slope = normalised.diff(dim=axis).abs()
        edge = image.diff(dim=axis).abs().mean(1, keepdim=True)
        return (slope * torch.exp(-edge)).mean()

    return along(3) + along(2)


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
