"""The losses, warps and gradients of the peer (reference/README.md)."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from golden import assert_match, golden

from xdistill.train.objective.geometry import (
    invert_pose,
    pose_matrix,
    sampling_grid,
    scaled_disparity,
    warp,
)
from xdistill.train.objective.losses import (
    Views,
    photometric,
    self_supervised,
    smoothness,
    ssim_dissimilarity,
    total_loss,
)

SCALES = range(4)
Arrays = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def arrays(shared: Path) -> Arrays:
    return golden(shared, "self_supervised_loss")


def test_depth(arrays: Arrays) -> None:
    disparity, depth = scaled_disparity(arrays["sigmoid_disp_0"])
    assert_match(disparity, arrays["scaled_disp_0"])
    assert_match(depth, arrays["depth_0"])


def test_poses(arrays: Arrays) -> None:
    motions = {
        name: pose_matrix(arrays[f"axisangle_{name}"][:, 0], arrays[f"translation_{name}"][:, 0])
        for name in ("prev", "next")
    }
    assert_match(motions["next"], arrays["T_next"])
    assert_match(invert_pose(motions["prev"]), arrays["T_prev"])


def test_warp(arrays: Arrays) -> None:
    grid = sampling_grid(arrays["depth_0"], arrays["K"][:, :3, :3], arrays["T_prev"])
    assert_match(grid, arrays["grid_prev"])
    assert_match(warp(arrays["source_prev"], grid), arrays["warped_prev"])


def test_photometric(arrays: Arrays) -> None:
    source, target = arrays["source_prev"], arrays["target"]
    assert_match(ssim_dissimilarity(source, target), arrays["ssim_map"])
    assert_match(photometric(source, target), arrays["photometric_map"])


def test_smoothness(arrays: Arrays) -> None:
    found = smoothness(arrays["sigmoid_disp_0"], arrays["target"])
    assert_match(found, arrays["smoothness_0"])


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_image_pyramid(arrays: Arrays, scale: int) -> None:
    size = (64 // 2**scale, 96 // 2**scale)
    assert_match(F.interpolate(arrays["target"], size, mode="area"), arrays[f"target_{scale}"])


def test_whole_loss_and_its_gradients(arrays: Arrays) -> None:
    disparities = [arrays[f"sigmoid_disp_{s}"].clone().requires_grad_() for s in SCALES]
    views = Views(
        target=arrays["target"],
        sources=[arrays["source_prev"], arrays["source_next"]],
        intrinsics=arrays["K"][:, :3, :3],
        motions=[arrays["T_prev"], arrays["T_next"]],
    )
    found = self_supervised(disparities, views, tie_break=0.0)
    per_scale = found.photometric + found.smoothness
    total = total_loss(per_scale, torch.zeros(()), weight=0.0, placement="outside")
    total.backward()  # type: ignore[no-untyped-call]
    assert_match(per_scale.detach(), arrays["loss_per_scale"])
    assert_match(total.detach(), arrays["loss_total"])
    assert found.reprojected.item() == pytest.approx(arrays["automask_0"].mean().item())
    for scale in SCALES:
        gradient = disparities[scale].grad
        assert gradient is not None
        assert_match(gradient, arrays[f"grad_sigmoid_disp_{scale}"])
