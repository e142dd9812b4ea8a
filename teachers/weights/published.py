"""The published HRNet-OCR weights in mmsegmentation's OCRNet: key names, and the network itself."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from xdistill.manifests.weights import listed
from xdistill.teachers.protocol import TeacherError

Branch = Float[Tensor, "batch _ _ _"]

ORIGINAL, INVERSEFORM, MMSEG = "hrnet-ocr", "inverseform", "mmsegmentation"
"""Authors of a checkpoint: HRNet-Semantic-Segmentation, InverseForm, or mmsegmentation."""

ATTENTION = "scale_attn."
"""Keys of the multi-scale head of InverseForm's second checkpoint; mmsegmentation has none."""

_LAYERS = {
    "conv3x3_ocr": "decode_head.1.bottleneck",
    "aux_head": "decode_head.0.convs.0",
    "ocr_distri_head.conv_bn_dropout": "decode_head.1.object_context_block.bottleneck",
}
_PROJECTIONS = {
    "f_pixel": ("query_project", 2),
    "f_object": ("key_project", 2),
    "f_down": ("value_project", 1),
    "f_up": ("out_project", 1),
}
"""By the published name: mmsegmentation's projection, and its number of convolutions."""

_TRAINING_ONLY = ("edge_head.", "edgeocr_cls_head.", "loss.")
"""Boundary heads and loss tables, which decide no label."""


def author(state: Mapping[str, Tensor]) -> str:
    """Tell by its keys who wrote a state dict: ORIGINAL, INVERSEFORM or MMSEG."""
    if any(key.startswith("ocr.ocr_distri_head.") for key in state):
        return INVERSEFORM
    if any(key.startswith(("ocr_distri_head.", "model.ocr_distri_head.")) for key in state):
        return ORIGINAL
    return MMSEG


def convert(state: Mapping[str, Tensor], *, where: Path) -> dict[str, Tensor]:
    """Rename every tensor as in mmsegmentation's OCRNet, without those of training alone.

    The multi-scale head keeps its names.

    Args:
        state: An ORIGINAL or INVERSEFORM state dict.
        where: Its file, named in the message.

    Raises:
        TeacherError: A key belongs to no part of the network, or two to the same tensor.
    """
    sources: dict[str, list[str]] = {}
    unknown = []
    for key in state:
        plain = re.sub(r"^(model\.)?(backbone\.|ocr\.)?", "", key)
        if plain.startswith(_TRAINING_ONLY):
            continue
        name = _rename(plain)
        if name is None:
            unknown.append(key)
        else:
            sources.setdefault(name, []).append(key)
    if unknown:
        raise _foreign(
            f"{len(unknown)} keys belong to no HRNet-OCR: {listed(unknown)}", where=where
        )
    if twins := [" and ".join(keys) for keys in sources.values() if len(keys) > 1]:
        raise _foreign(f"several keys name the same tensor: {listed(twins)}", where=where)
    return {name: state[key] for name, (key,) in sources.items()}


def _foreign(found: str, *, where: Path) -> TeacherError:
    return TeacherError(
        found,
        expected="an HRNet-48 OCR checkpoint as published by its authors",
        where=where,
        remedy="give the published file, unchanged",
    )


def _rename(key: str) -> str | None:
    """Rename a key that has lost its prefixes; None if it has no counterpart."""
    if re.match(r"(conv[12]|bn[12]|layer1|transition[1-3]|stage[2-4])\.", key):
        return f"backbone.{key}"
    if key.startswith(ATTENTION):
        return key
    if match := re.fullmatch(r"cls_head\.(\w+)", key):
        return f"decode_head.1.conv_seg.{match[1]}"
    # One author has the ReLU inside the normalisation, the other beside it: 2 or 3.
    if match := re.fullmatch(r"aux_head\.[23]\.(\w+)", key):
        return f"decode_head.0.conv_seg.{match[1]}"
    for theirs, ours in _LAYERS.items():
        if match := re.fullmatch(rf"{re.escape(theirs)}\.([01])(?:\.0)?\.(\w+)", key):
            return f"{ours}.{_part(match[1])}.{match[2]}"
    block = r"ocr_distri_head\.object_context_block"
    if match := re.fullmatch(rf"{block}\.(f_\w+)\.([0-3])(?:\.0)?\.(\w+)", key):
        return _projection(match[1], int(match[2]), match[3])
    return None


def _projection(theirs: str, index: int, tensor: str) -> str | None:
    """Convolutions at even places, their normalisation at odd ones."""
    name, count = _PROJECTIONS.get(theirs, ("", 0))
    if index // 2 >= count:
        return None
    place = f"{name}.{index // 2}" if count > 1 else name
    return f"decode_head.1.object_context_block.{place}.{_part(index % 2)}.{tensor}"


def _part(place: str | int) -> str:
    return "conv" if int(place) == 0 else "bn"


def adapt(model: Any, *, author: str, where: Path) -> None:
    """Change a built OCRNet so that an author's weights give the author's logits.

    Not bit by bit: on golden arrays of both authors, the logits of both heads differ by at most
    6e-5 of their standard deviation (tests/teachers/weights/test_published.py allows 1e-4).

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
            f"{author} weights do not suit a {type(model.backbone).__name__} with "
            f"{' and '.join(kinds) or 'one head'}",
            expected="the config of an HRNet-48 with FCNHead and OCRHead",
            where=where,
            remedy="give --teacher "
            + shlex.quote(f"mmseg:ocrnet_hr48_4xb2-160k_cityscapes-512x1024.py,{where}"),
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

    mmsegmentation first enlarges by a power of two and then resizes to fit, which differs wherever
    a side is not divisible by 32. Source: section 3, Wang et al. 2020 (HRNet).
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
