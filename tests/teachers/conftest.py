"""Networks with random weights that still tell several classes apart, built once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xdistill.grouping.classes import cityscapes
from xdistill.teachers.mmseg import config as mmseg_config
from xdistill.teachers.mmseg import teacher as mmseg

OCRNET = "ocrnet_hr48_4xb2-160k_cityscapes-512x1024.py"
FCN = "fcn_hr18s_4xb2-160k_cityscapes-512x1024.py"
SEGFORMER = "segformer_mit-b1_8xb1-160k_cityscapes-1024x1024.py"
PIDNET = "pidnet-s_2xb6-120k_1024x1024-cityscapes.py"

Checkpoints = Callable[[str], Path]


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels are compared bit by bit with those of a CPU, also where there is a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


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


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """Checkpoint file of a shipped config, from a seeded random initialisation."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def checkpoint(config: str) -> Path:
        path = folder / f"{config}.pth"
        return path if path.exists() else save(path, random_state(config))

    return checkpoint


@pytest.fixture(scope="session")
def frames(shared: Path) -> list[NDArray[np.uint8]]:
    """Two real frames as RGB, 1242x375."""
    names = (
        "drive_0002_sync/image_02/data/0000000000.png",
        "drive_0013_sync/image_02/data/0000000050.jpg",
    )
    images = [
        cv2.imread(str(shared / "kitti" / "2011_09_26" / f"2011_09_26_{name}")) for name in names
    ]
    return [np.ascontiguousarray(image[..., ::-1]).astype(np.uint8) for image in images]
