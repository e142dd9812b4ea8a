"""The losses: photometric (Eq. 2) and automask, smoothness, distillation (Eq. 3), total (Eq. 4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from xdistill.grouping.classes import IGNORE_INDEX
from xdistill.train.objective.geometry import (
    MAX_DEPTH,
    MIN_DEPTH,
    sampling_grid,
    scaled_disparity,
    warp,
)

SSIM_SHARE = 0.85
"""Share of the SSIM term in the photometric loss: 1 - alpha, alpha = 0.15 (Monodepth2)."""
SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2
MEAN_EPSILON = 1e-7
"""Added to the mean disparity that normalises the smoothness term (Monodepth2)."""
Reduction = Literal["automask", "mean"]
"""Over the source frames: Monodepth2's minimum with automask, or the mean of the warped ones."""
TIE_BREAK = 1e-5
"""Deviation of the noise on the identity losses (Monodepth2)."""


class _WindowMean(torch.autograd.Function):
    """Mean over 3x3 windows, equal to F.avg_pool2d to the bit and faster on a CPU."""

    @staticmethod
    def forward(ctx: object, image: Tensor) -> Tensor:
        """Add nine shifted images in the order of avg_pool2d."""
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
    x, y = (F.pad(image, (1, 1, 1, 1), mode="reflect") for image in (first, second))  # B 3 H+2 W+2
    mean_x, mean_y = _window_mean(x), _window_mean(y)  # (B, 3, H, W)
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
    absolute = (target - predicted).abs().mean(1, keepdim=True)  # (B, 1, H, W)
    dissimilarity = ssim_dissimilarity(predicted, target).mean(1, keepdim=True)
    return SSIM_SHARE * dissimilarity + (1 - SSIM_SHARE) * absolute


def per_pixel_minimum(
    identity: Float[Tensor, "batch unwarped height width"],
    reprojection: Float[Tensor, "batch warped height width"],
) -> tuple[Float[Tensor, "batch height width"], Bool[Tensor, "batch height width"]]:
    """Minimum over the sources, warped and unwarped: the automask of Monodepth2.

    A pixel where an unwarped source fits best carries no gradient: the scene is static there, or
    moves along with the camera.

    Args:
        identity: Photometric loss of each unwarped source frame, with its tie-breaking noise.
        reprojection: Photometric loss of each warped source frame.

    Returns:
        The minimum, and True where a warped source has it (the identity wins ties).

    Source: section 3.2 and Eq. 5, Godard et al., ICCV 2019.
    """
    values, best = torch.cat([identity, reprojection], 1).min(dim=1)  # (B, H, W) each
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
        slope = normalised.diff(dim=axis).abs()  # (B, 1, h, w - 1) or (B, 1, h - 1, w)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Views:
    """Target and source frames with the camera and motions that project one into the other."""

    target: Float[Tensor, "batch 3 height width"]
    """Target images in [0, 1]."""
    sources: Sequence[Float[Tensor, "batch 3 height width"]]
    """Source images in [0, 1]."""
    intrinsics: Float[Tensor, "batch 3 3"]
    """K in pixels of the images' size."""
    motions: Sequence[Float[Tensor, "batch 4 4"]]
    """T(target -> source) of each source."""
    min_depth: float = MIN_DEPTH
    """Depth where the sigmoid is 1."""
    max_depth: float = MAX_DEPTH
    """Depth where the sigmoid is 0."""

    def identity(self) -> Float[Tensor, "batch sources height width"]:
        """Photometric loss of each unwarped source frame."""
        return torch.cat([photometric(source, self.target) for source in self.sources], 1)

    def reprojection(
        self, disparity: Float[Tensor, "batch 1 _ _"]
    ) -> Float[Tensor, "batch sources height width"]:
        """Photometric loss of each source warped by a sigmoid disparity of any scale (Eq. 1, 2)."""
        size = self.target.shape[2:]
        full = F.interpolate(disparity, size, mode="bilinear", align_corners=False)  # (B, 1, H, W)
        _, depth = scaled_disparity(full, min_depth=self.min_depth, max_depth=self.max_depth)
        losses = [
            photometric(warp(source, sampling_grid(depth, self.intrinsics, motion)), self.target)
            for source, motion in zip(self.sources, self.motions, strict=True)
        ]
        return torch.cat(losses, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfSupervised:
    """The self-supervised terms at each scale, finest first."""

    photometric: Float[Tensor, " scales"]
    """Mean over the pixels of the photometric loss, reduced over the source frames."""
    smoothness: Float[Tensor, " scales"]
    """Smoothness with its weight lambda_SM / 2^scale."""
    reprojected: Float[Tensor, ""]
    """Share of pixels at the finest scale where a warped source fits best."""


def self_supervised(
    disparities: Sequence[Float[Tensor, "batch 1 _ _"]],
    views: Views,
    *,
    smoothness_weight: float = 1e-3,
    reduction: Reduction = "automask",
    tie_break: float = TIE_BREAK,
    generator: torch.Generator | None = None,
) -> SelfSupervised:
    """Photometric loss with automask, and smoothness, at every scale.

    Args:
        disparities: Sigmoid disparities, finest first.
        views: Frames, camera and motions.
        smoothness_weight: lambda_SM at the finest scale; halved at each coarser one.
        reduction: ``mean`` gives every warped source a gradient at every pixel, which a pose
            network from random weights needs at first.
        tie_break: Deviation of the noise on the identity losses.
        generator: Source of that noise.

    Source: Eq. 1 and 2, Cai et al. 2021; automask and scales, Godard et al., ICCV 2019.
    """
    identity = views.identity()  # (B, sources, H, W)
    minima, smooth, masks = [], [], []
    for scale, disparity in enumerate(disparities):
        reprojection = views.reprojection(disparity)  # (B, sources, H, W) at any scale
        values, mask = reprojection.mean(1), torch.ones_like(reprojection[:, 0], dtype=torch.bool)
        if reduction == "automask":
            noise = torch.randn(identity.shape, generator=generator, device=identity.device)
            values, mask = per_pixel_minimum(identity + tie_break * noise, reprojection)
        minima.append(values.mean())
        masks.append(mask)
        image = F.interpolate(views.target, disparity.shape[2:], mode="area")  # (B, 3, h, w)
        smooth.append(smoothness_weight / 2**scale * smoothness(disparity, image))
    return SelfSupervised(
        photometric=torch.stack(minima),
        smoothness=torch.stack(smooth),
        reprojected=masks[0].float().mean(),
    )


def total_loss(
    per_scale: Float[Tensor, " scales"],
    distillation: Float[Tensor, ""],
    *,
    weight: float,
    placement: Literal["outside", "inside"],
) -> Float[Tensor, ""]:
    """The total of Eq. 4, with Monodepth2's division by the number of scales.

    Args:
        per_scale: Photometric plus weighted smoothness loss of each scale.
        distillation: L_D2S.
        weight: lambda_D2S.
        placement: Whether lambda_D2S L_D2S is added ``outside`` the mean over scales, or
            ``inside``, where it is divided by their number too.

    Source: Eq. 4, Cai et al. 2021.
    """
    share = weight if placement == "outside" else weight / len(per_scale)
    return per_scale.mean() + share * distillation
