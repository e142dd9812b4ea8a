"""The training objective: the multi-scale self-supervised loss and the total of Eq. 4."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from xdistill.train.objective.geometry import (
    MAX_DEPTH,
    MIN_DEPTH,
    sampling_grid,
    scaled_disparity,
    warp,
)
from xdistill.train.objective.losses import per_pixel_minimum, photometric, smoothness

Reduction = Literal["automask", "mean"]
"""Over the sources: Monodepth2's minimum with auto-mask, or the mean of the warped ones."""
TIE_BREAK = 1e-5
"""Deviation of the noise on the identity losses (Monodepth2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Views:
    """Target and source frames with all that projects one into the other."""

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
        """Photometric loss of each source as it is."""
        return torch.cat([photometric(source, self.target) for source in self.sources], 1)

    def reprojection(
        self, disparity: Float[Tensor, "batch 1 _ _"]
    ) -> Float[Tensor, "batch sources height width"]:
        """Photometric loss of each source warped by a sigmoid disparity of any scale (Eq. 1, 2)."""
        size = self.target.shape[2:]
        full = F.interpolate(disparity, size, mode="bilinear", align_corners=False)
        _, depth = scaled_disparity(full, min_depth=self.min_depth, max_depth=self.max_depth)
        losses = [
            photometric(warp(source, sampling_grid(depth, self.intrinsics, motion)), self.target)
            for source, motion in zip(self.sources, self.motions, strict=True)
        ]
        return torch.cat(losses, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfSupervised:
    """The self-supervised terms, scale by scale, finest first."""

    photometric: Float[Tensor, " scales"]
    """Mean over the pixels of the reduced photometric loss."""
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
    """Photometric loss with auto-mask and smoothness at every scale.

    Args:
        disparities: Sigmoid disparities, finest first.
        views: Frames, camera and motions.
        smoothness_weight: lambda_SM at the finest scale; halved at each coarser one.
        reduction: ``mean`` gives every warped source a gradient at every pixel, which a pose
            network from random weights needs at first.
        tie_break: Deviation of the noise on the identity losses.
        generator: Source of that noise.

    Source: Eq. 1 and 2, Cai et al. 2021; auto-mask and scales, Godard et al., ICCV 2019.
    """
    identity = views.identity()
    minima, smooth, masks = [], [], []
    for scale, disparity in enumerate(disparities):
        reprojection = views.reprojection(disparity)
        values, mask = reprojection.mean(1), torch.ones_like(reprojection[:, 0], dtype=torch.bool)
        if reduction == "automask":
            noise = torch.randn(identity.shape, generator=generator, device=identity.device)
            values, mask = per_pixel_minimum(identity + tie_break * noise, reprojection)
        minima.append(values.mean())
        masks.append(mask)
        image = F.interpolate(views.target, disparity.shape[2:], mode="area")
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
