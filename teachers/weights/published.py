"""mmsegmentation's OCRNet brought to what the authors of published weights trained."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from xdistill.teachers.protocol import TeacherError
from xdistill.teachers.weights.convert import ORIGINAL

Branch = Float[Tensor, "batch _ _ _"]


def adapt(model: Any, *, author: str, where: Path) -> None:
    """Change a built OCRNet so that an author's weights give the author's logits.

    Not to the bit: on golden arrays of both authors the logits of both heads differ by at most
    6e-5 of their standard deviation (tests/teachers/test_convert.py allows 1e-4).

    Two convolutions get the biases that they were trained with, and the exchange between
    resolutions resizes once; the original network aligns corners everywhere.

    Args:
        model: mmsegmentation's CascadeEncoderDecoder of an HRNet and an OCRHead; changed.
        author: ORIGINAL or INVERSEFORM.
        where: The checkpoint, named in the message.

    Raises:
        TeacherError: The config builds another network.
    """
    heads: Any = getattr(model, "decode_head", ())
    kinds = [type(head).__name__ for head in heads] if isinstance(heads, nn.ModuleList) else []
    if type(model.backbone).__name__ != "HRNet" or kinds != ["FCNHead", "OCRHead"]:
        raise TeacherError(
            f"{author} weights for a {type(model.backbone).__name__} with {kinds or 'one head'}",
            expected="the config of an HRNet-48 with FCNHead and OCRHead",
            where=where,
            remedy="mmseg:ocrnet_hr48_4xb2-160k_cityscapes-512x1024.py,CHECKPOINT",
        )
    align_corners = author == ORIGINAL
    for convolution in (heads[0].convs[0].conv, heads[1].bottleneck.conv):
        convolution.bias = nn.Parameter(torch.zeros(convolution.out_channels))
    for part in (*heads, model):
        part.align_corners = align_corners
    for name in ("stage2", "stage3", "stage4"):
        stage = getattr(model.backbone, name)
        for index, module in enumerate(stage):
            stage[index] = Exchange(module, align_corners=align_corners)


class Exchange(nn.Module):
    """One HRNet module as first published: each coarser branch is resized straight to the finer.

    mmsegmentation enlarges by a power of two first and then resizes what does not fit, which
    differs wherever a side is not divisible by 32. Source: section 3, Wang et al. 2020 (HRNet).
    """

    def __init__(self, module: Any, *, align_corners: bool) -> None:
        super().__init__()
        self.branches = module.branches
        self.fuse_layers = module.fuse_layers
        self.align_corners = align_corners
        for target, row in enumerate(self.fuse_layers):
            for layer in row[target + 1 :]:
                layer[2] = nn.Identity()  # The enlargement; convolution and normalisation stay.

    def forward(self, features: list[Branch]) -> list[Branch]:
        """Features of every resolution, finest first, from those of every resolution."""
        own = [branch(part) for branch, part in zip(self.branches, features, strict=True)]
        return [self._mix(own, target) for target in range(len(self.fuse_layers))]

    def _mix(self, features: list[Branch], target: int) -> Branch:
        total = torch.zeros((), device=features[0].device, dtype=features[0].dtype)
        for source, part in enumerate(features):
            moved = part if source == target else self.fuse_layers[target][source](part)
            if source > target:
                moved = interpolate(
                    moved,
                    size=features[target].shape[2:],
                    mode="bilinear",
                    align_corners=self.align_corners,
                )
            total = total + moved
        return total.relu()
