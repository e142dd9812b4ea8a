"""Key names of the published HRNet-OCR weights, translated to mmsegmentation's OCRNet."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from xdistill.manifests.weights import listed
from xdistill.teachers.protocol import TeacherError

ORIGINAL, INVERSEFORM, MMSEG = "hrnet-ocr", "inverseform", "mmsegmentation"
"""Who wrote a checkpoint: HRNet-Semantic-Segmentation, InverseForm, or mmsegmentation."""

ATTENTION = "scale_attn."
"""The multi-scale head of InverseForm's second checkpoint; mmsegmentation has none."""

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
"""Theirs: the projection of mmsegmentation and its number of convolutions."""

_TRAINING_ONLY = ("edge_head.", "edgeocr_cls_head.", "loss.")
"""Boundary heads and loss tables, which decide no label."""


def author(state: Mapping[str, Tensor]) -> str:
    """Whose names a state dict carries: ORIGINAL, INVERSEFORM or MMSEG."""
    if any(key.startswith("ocr.ocr_distri_head.") for key in state):
        return INVERSEFORM
    if any(key.startswith(("ocr_distri_head.", "model.ocr_distri_head.")) for key in state):
        return ORIGINAL
    return MMSEG


def convert(state: Mapping[str, Tensor], *, where: Path) -> dict[str, Tensor]:
    """Rename every tensor to mmsegmentation's OCRNet; what only training reads is left out.

    The multi-scale head keeps its name.

    Args:
        state: An ORIGINAL or INVERSEFORM state dict.
        where: Its file, named in the message.

    Raises:
        TeacherError: Keys that belong to no part of the network, or several to the same.
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
        raise _foreign(f"{len(unknown)} keys of no HRNet-OCR: {listed(unknown)}", where=where)
    if twins := [" and ".join(keys) for keys in sources.values() if len(keys) > 1]:
        raise _foreign(f"keys of one and the same tensor: {listed(twins)}", where=where)
    return {name: state[key] for name, (key,) in sources.items()}


def _foreign(found: str, *, where: Path) -> TeacherError:
    return TeacherError(
        found,
        expected="an HRNet-48 OCR checkpoint as its authors published it",
        where=where,
        remedy="give the published file, unchanged",
    )


def _rename(key: str) -> str | None:
    """One key without its prefixes; None if it has no counterpart."""
    if re.match(r"(conv[12]|bn[12]|layer1|transition[1-3]|stage[2-4])\.", key):
        return f"backbone.{key}"
    if key.startswith(ATTENTION):
        return key
    if match := re.fullmatch(r"cls_head\.(\w+)", key):
        return f"decode_head.1.conv_seg.{match[1]}"
    # The one has its ReLU inside the normalisation, the other beside it: 2 or 3.
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
