from pathlib import Path

import numpy as np
import torch
from training_tree import DRIVE

from xdistill.grouping.scheme import load_scheme
from xdistill.pipeline.kitti.frames import Frame
from xdistill.train.data.augment import NOTHING
from xdistill.train.data.dataset import TripletDataset
from xdistill.train.data.labels import find_labels
from xdistill.train.picture import CAPTION_HEIGHT, draw
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.training import new_training

RECIPE = Recipe(name="test", width=416, height=64, distillation="d2s")
FRAMES = [Frame(DRIVE, 4, "l")]


def test_panels_of_a_distilled_network(narrow: None, data: Path, store: Path) -> None:
    scheme = load_scheme("4")
    labels = find_labels(store, FRAMES, scheme=scheme, segment="")
    sample = TripletDataset(data, FRAMES, recipe=RECIPE, labels=labels).sample(0, NOTHING)
    model = new_training(RECIPE, device=torch.device("cpu")).model.train()
    picture = draw(model, sample)
    row = CAPTION_HEIGHT + 64
    assert picture.shape == (2 * row + CAPTION_HEIGHT, 2 * 416, 3) and picture.dtype == np.uint8
    image = sample.originals[0, 0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(picture[CAPTION_HEIGHT:row, :416], image)
    assert sample.labels is not None
    colours = scheme.palette()[sample.labels[0].numpy()]
    np.testing.assert_array_equal(picture[row + CAPTION_HEIGHT : 2 * row, :416], colours)
    predicted = picture[row + CAPTION_HEIGHT : 2 * row, 416:].reshape(-1, 3)
    assert {tuple(c) for c in np.unique(predicted, axis=0).tolist()} <= set(scheme.colours)
    assert model.training


def test_a_baseline_shows_image_and_disparity_and_small_panels_are_enlarged(
    narrow: None, data: Path
) -> None:
    recipe = Recipe(name="test", width=64, height=64)
    sample = TripletDataset(data, FRAMES, recipe=recipe, labels=None).sample(0, NOTHING)
    model = new_training(recipe, device=torch.device("cpu")).model.eval()
    picture = draw(model, sample)
    assert picture.shape == (CAPTION_HEIGHT + 7 * 64, 2 * 7 * 64, 3)
    assert not model.training
