"""Depth of images by the depth network of a run."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from xdistill.manifests.disk import PathLike, as_path
from xdistill.pipeline.kitti.images import as_image, resize
from xdistill.train.depth_network import load_depth_network
from xdistill.train.objective.geometry import scaled_disparity
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.training import choose_device

Disparity = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthPrediction:
    """Predicted depth of one image, at the image's own size."""

    disparity: NDArray[np.float32]
    """Scaled disparity (height, width): 1 / depth."""
    scale: Literal["metric", "up to scale"]
    """``metric``: depth is in metres, as the network was trained with recorded poses. ``up to
    scale``: depth times an unknown factor, which may differ from image to image, is in metres."""

    @property
    def depth(self) -> NDArray[np.float32]:
        """Depth (height, width) in the unit that ``scale`` names."""
        return np.asarray(1 / self.disparity, np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthModel:
    """A trained depth network, and what it takes to run it."""

    network: nn.Module
    """Depth network in evaluation mode on ``device``."""
    recipe: Recipe
    """The recipe it was trained with."""
    device: torch.device
    """Where the network runs."""

    def predict(self, image: PathLike | NDArray[np.uint8]) -> DepthPrediction:
        """Predict the depth of one image.

        Args:
            image: PNG or JPEG file, or RGB (height, width, 3) uint8, of any size.

        Returns:
            Disparity and depth at the image's size; the network runs at the recipe's size, and its
            disparity is enlarged bilinearly.

        Raises:
            ImageError: The file is missing or damaged, or the array is not an RGB image.
        """
        pixels = as_image(image)
        height, width = pixels.shape[:2]
        disparity = self.disparities(resize(pixels, self.recipe.size)[None])[0]
        full = cv2.resize(disparity, (width, height), interpolation=cv2.INTER_LINEAR)
        return DepthPrediction(
            disparity=np.asarray(full, np.float32),
            scale="metric" if self.recipe.pose == "oxts" else "up to scale",
        )

    def disparities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scaled disparity (batch, h, w), finest scale, of RGB images at the recipe's size.

        Args:
            images: (batch, h, w, 3).
        """
        with torch.inference_mode():
            batch = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float() / 255
            disparity, _ = scaled_disparity(
                self.network(batch)[0],
                min_depth=self.recipe.min_depth,
                max_depth=self.recipe.max_depth,
            )
        return np.asarray(disparity[:, 0].cpu().numpy())


def load_depth_model(run: PathLike, *, device: str | None = None) -> DepthModel:
    """Load the depth network of a run, or of a folder with Monodepth2's encoder.pth and depth.pth.

    Args:
        run: Folder of either kind.
        device: ``cpu``, ``cuda`` or ``cuda:1``; None takes cuda where it is available.

    Raises:
        WeightsError: The folder holds no network, or one that is damaged or does not fit its
            recipe.
        ManifestError: The run's recipe is missing or incomplete.
        TrainingError: The device is not available.
    """
    chosen = choose_device(device)
    network, recipe = load_depth_network(as_path(run), device=chosen)
    return DepthModel(network=network, recipe=recipe, device=chosen)
