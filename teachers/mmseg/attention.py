"""Hierarchical multi-scale attention (Tao et al., 2020), as InverseForm's second network uses it.

Every scale predicts logits and an attention map; the attention of coarser scales decides where
finer ones count. Source: section 3.1, Tao, Sapra and Catanzaro 2020, arXiv:2005.10821.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

Logits = Float[Tensor, "batch classes height width"]
Attention = Float[Tensor, "batch 1 height width"]
Predict = Callable[[Tensor], tuple[Logits, Attention]]

SCALES = (0.25, 0.5, 1.0, 2.0)
"""Multiples of the network input behind InverseForm's published figures."""
WIDTH = 256
"""Channels inside the attention head."""


def fuse_scales(
    predict: Predict, inputs: Float[Tensor, "batch 3 height width"], scales: Sequence[float]
) -> Logits:
    """Predict at several scales and fuse the logits, at the size of ``inputs``.

    From the finest scale down: at 1 and above, attention chooses between this scale and the
    finer ones shrunk to it; below 1, this scale is enlarged, weighted by its own attention.

    Args:
        predict: Gives logits and attention at the size of its input.
        inputs: A frame at scale 1.
        scales: Multiples of that size, 1 among them.
    """
    fused: Tensor | None = None
    for scale in sorted(scales, reverse=True):
        logits, attention = predict(_times(inputs, scale))
        if fused is None:
            fused = logits
        elif scale >= 1.0:
            fused = attention * logits + (1 - attention) * _as(fused, logits)
        else:
            fused = _as(attention * logits, fused) + (1 - _as(attention, fused)) * fused
    if fused is None:
        raise ValueError("no scale to predict at")
    return _as(fused, inputs)


def _times(inputs: Tensor, scale: float) -> Tensor:
    size = [max(1, int(side * scale)) for side in inputs.shape[2:]]
    return interpolate(inputs, size=size, mode="bilinear", align_corners=False)


def _as(picture: Tensor, other: Tensor) -> Tensor:
    return interpolate(picture, size=other.shape[2:], mode="bilinear", align_corners=False)


def attention_head(channels: int) -> nn.Sequential:
    """3x3, 3x3 and 1x1 convolutions to one map between 0 and 1, with InverseForm's key names."""
    head = nn.Sequential()
    for index, width in enumerate((channels, WIDTH)):
        head.add_module(f"conv{index}", nn.Conv2d(width, WIDTH, 3, padding=1, bias=False))
        head.add_module(f"bn{index}", nn.BatchNorm2d(WIDTH))
        head.add_module(f"re{index}", nn.ReLU())
    head.add_module("conv2", nn.Conv2d(WIDTH, 1, 1, bias=False))
    head.add_module("sig", nn.Sigmoid())
    return head


class MultiScale(nn.Module):
    """An OCRNet with an attention head beside its classifier."""

    def __init__(self, model: Any, scales: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self.scales = tuple(scales)

    def forward(self, inputs: Float[Tensor, "batch 3 height width"]) -> Logits:
        """Fused logits at the size of ``inputs``."""
        return fuse_scales(self._predict, inputs, self.scales)

    def _predict(self, inputs: Tensor) -> tuple[Logits, Attention]:
        features = self.model.extract_feat(inputs)
        coarse, head = self.model.decode_head
        pixels = head.bottleneck(head._transform_inputs(features))
        regions = head.spatial_gather_module(pixels, coarse(features))
        objects = head.object_context_block(pixels, regions)
        logits = head.cls_seg(objects)
        attention = self.model.scale_attn(objects)
        return _as(logits, inputs), _as(torch.as_tensor(attention), inputs)
