"""Networks of mmsegmentation with random weights that still tell several classes apart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from xdistill.grouping.classes import cityscapes
from xdistill.teachers.mmseg import config as mmseg_config
from xdistill.teachers.mmseg import teacher as mmseg

OCRNET = "ocrnet_hr48_4xb2-160k_cityscapes-512x1024.py"
FCN = "fcn_hr18s_4xb2-160k_cityscapes-512x1024.py"
SEGFORMER = "segformer_mit-b1_8xb1-160k_cityscapes-1024x1024.py"
PIDNET = "pidnet-s_2xb6-120k_1024x1024-cityscapes.py"

Checkpoints = Callable[[str], Path]


def random_state(config: str) -> dict[str, Tensor]:
    """Seeded weights whose class scores are balanced, so that many classes occur."""
    pytest.importorskip("mmseg")
    torch.manual_seed(7)
    model = mmseg.build(mmseg_config.load_config(config))
    picture = torch.nn.functional.interpolate(torch.randn(1, 3, 6, 16), (192, 512), mode="bicubic")
    for module in model.modules():
        classifier = getattr(module, "conv_seg", None)
        if isinstance(classifier, nn.Conv2d):
            classifier.register_forward_hook(balance)
    with torch.no_grad():
        model.encode_decode(picture, [{"img_shape": picture.shape[2:]}])
    return model.state_dict()


def balance(classifier: nn.Conv2d, _: object, scores: Tensor) -> Tensor:
    """Shift and scale each class's scores to mean 0 and deviation 1."""
    deviation, mean = torch.std_mean(scores, dim=(0, 2, 3))
    classifier.weight.div_(deviation[:, None, None, None])
    if classifier.bias is not None:
        classifier.bias.sub_(mean).div_(deviation)
    return (scores - mean[:, None, None]) / deviation[:, None, None]


def save(path: Path, state: dict[str, Tensor], **meta: Any) -> Path:
    """A checkpoint file in mmsegmentation's form."""
    names = {"dataset_meta": {"classes": cityscapes().names, "palette": []}}
    torch.save({"state_dict": state, "meta": meta or names}, path)
    return path
