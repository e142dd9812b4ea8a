"""Depth of one image: at its own size, with the scale that the run knows, from a file or array."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training_tree import DRIVE

from xdistill.manifests.errors import WeightsError, XDistillError
from xdistill.pipeline.kitti.errors import ImageError
from xdistill.pipeline.kitti.frames import Frame, image_path
from xdistill.train.evaluation.depth_model import DepthModel, load_depth_model
from xdistill.train.evaluation.predictions import predict_frames
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.training import TrainingError

RECIPE = Recipe(name="small", width=128, height=64, min_depth=0.5, max_depth=20.0)


class Red(nn.Module):
    """Gives the red channel as the finest disparity."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images[:, :1]]


MODEL = DepthModel(network=Red(), recipe=RECIPE, device=torch.device("cpu"))


def test_disparity_and_depth_have_the_images_size() -> None:
    image = np.zeros((80, 200, 3), np.uint8)
    image[:, :, 0] = 51
    prediction = MODEL.predict(image)
    # Depth 20 where the network gives 0, depth 0.5 where it gives 1; here it gives 0.2.
    expected = 1 / 20 + (1 / 0.5 - 1 / 20) * 0.2
    assert prediction.disparity.shape == prediction.depth.shape == (80, 200)
    assert prediction.disparity.dtype == prediction.depth.dtype == np.float32
    assert np.allclose(prediction.disparity, expected)
    assert np.allclose(prediction.depth, 1 / expected)


def test_a_file_and_its_pixels_give_the_same(data: Path) -> None:
    path = image_path(data, Frame(DRIVE, 3, "l"))
    pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    first = MODEL.predict(str(path)).disparity
    assert np.array_equal(first, MODEL.predict(path).disparity)
    assert np.array_equal(first, MODEL.predict(pixels).disparity)


def test_it_is_what_is_scored_enlarged_to_the_image(data: Path) -> None:
    frame = Frame(DRIVE, 3, "l")
    path = image_path(data, frame)
    height, width = cv2.imread(str(path)).shape[:2]
    (scored,) = predict_frames(MODEL, data, [frame])
    assert np.array_equal(MODEL.predict(path).disparity, cv2.resize(scored, (width, height)))


@pytest.mark.parametrize(("pose", "scale"), [("oxts", "metric"), ("network", "up to scale")])
def test_recorded_poses_give_metres(pose: str, scale: str) -> None:
    model = replace(MODEL, recipe=replace(RECIPE, pose=pose))
    assert model.predict(np.zeros((64, 128, 3), np.uint8)).scale == scale


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((64, 128), np.uint8), r"an array of uint8 and shape \(64, 128\)"),
        (np.zeros((3, 64, 128), np.uint8), r"an array of uint8 and shape \(3, 64, 128\)"),
        ("none.png", "none.png cannot be read"),
    ],
)
def test_what_is_no_image_is_refused(image: object, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        MODEL.predict(image)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("run", "device", "error", "said"),
    [
        ("none", "cpu", WeightsError, "the folder does not exist"),
        pytest.param(
            *("none", "cuda", TrainingError, "CUDA"),
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device"),
        ),
        ("none", "gpu", TrainingError, "'gpu' is not a device\n  expected: cpu, cuda or cuda:N"),
    ],
)
def test_what_cannot_be_loaded_is_refused(
    tmp_path: Path, run: str, device: str, error: type[XDistillError], said: str
) -> None:
    with pytest.raises(error, match=said):
        load_depth_model(tmp_path / run, device=device)
