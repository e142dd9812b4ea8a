import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xdistill.train.objective.geometry import (
    backproject,
    invert_pose,
    pixel_intrinsics,
    pose_matrix,
    project,
    rotation_matrix,
    sampling_grid,
    scaled_disparity,
    warp,
)

INTRINSICS = torch.tensor([[[50.0, 0.0, 8.0], [0.0, 60.0, 6.0], [0.0, 0.0, 1.0]]])
vectors = st.lists(st.floats(-2, 2), min_size=3, max_size=3)


def translation(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> torch.Tensor:
    return pose_matrix(torch.zeros(1, 3), torch.tensor([[x, y, z]]))


def test_range_by_hand() -> None:
    disparity, depth = scaled_disparity(torch.tensor([0.0, 1.0, 0.5]))
    assert disparity.tolist() == pytest.approx([0.01, 10.0, 5.005])
    assert depth.tolist() == pytest.approx([100.0, 0.1, 1 / 5.005])


def test_other_range() -> None:
    disparity, depth = scaled_disparity(torch.tensor([0.25]), min_depth=1.0, max_depth=4.0)
    assert disparity.item() == pytest.approx(0.25 + 0.75 * 0.25)
    assert depth.item() == pytest.approx(1 / 0.4375)


def test_pixel_intrinsics_of_kitti() -> None:
    matrix = pixel_intrinsics(torch.tensor([0.58, 1.92, 0.5, 0.5]), height=192, width=640)
    expected = torch.tensor([[371.2, 0.0, 320.0], [0.0, 368.64, 96.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(matrix, expected)


def test_quarter_turn_about_y_by_hand() -> None:
    rotation = rotation_matrix(torch.tensor([[0.0, math.pi / 2, 0.0]]))[0]
    expected = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    torch.testing.assert_close(rotation, expected, atol=1e-6, rtol=0)


def test_no_rotation_is_the_identity_with_finite_gradient() -> None:
    axisangle = torch.full((1, 3), 1e-12, requires_grad=True)
    rotation = rotation_matrix(axisangle)
    torch.testing.assert_close(rotation[0], torch.eye(3))
    rotation.sum().backward()  # type: ignore[no-untyped-call]
    assert axisangle.grad is not None and torch.isfinite(axisangle.grad).all()


@given(vectors, vectors)
def test_inverse_undoes_the_motion(axisangle: list[float], shift: list[float]) -> None:
    pose = pose_matrix(
        torch.tensor([axisangle], dtype=torch.float64), torch.tensor([shift], dtype=torch.float64)
    )
    product = invert_pose(pose) @ pose
    identity = torch.eye(4, dtype=torch.float64)[None]
    # EPSILON in the axis leaves the matrix that far from a rotation.
    torch.testing.assert_close(product, identity, atol=1e-5, rtol=0)


def test_principal_point_backprojects_along_the_axis() -> None:
    points = backproject(torch.full((1, 1, 12, 16), 7.0), INTRINSICS).view(1, 3, 12, 16)
    assert points[0, :, 6, 8].tolist() == pytest.approx([0.0, 0.0, 7.0], abs=1e-6)
    # 5 columns right of the axis: 5 / 50 of the depth.
    assert points[0, :, 6, 13].tolist() == pytest.approx([0.7, 0.0, 7.0], abs=1e-6)


def test_projection_by_hand() -> None:
    points = torch.tensor([[[1.0], [2.0], [4.0]]])
    pixels = project(points, INTRINSICS, translation(x=1.0, z=-2.0))
    # (2, 2, 2) in the source camera: u = 50 * 1 + 8, v = 60 * 1 + 6.
    assert pixels[0, :, 0].tolist() == pytest.approx([58.0, 66.0])


def test_standing_still_samples_each_pixel_itself() -> None:
    image = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(1))
    grid = sampling_grid(torch.full((1, 1, 12, 16), 5.0), INTRINSICS, translation())
    assert grid[0, 0, 0].tolist() == pytest.approx([-1, -1], abs=1e-5)
    assert grid[0, 11, 15].tolist() == pytest.approx([1, 1], abs=1e-5)
    torch.testing.assert_close(warp(image, grid), image, atol=1e-5, rtol=0)


def test_sideways_motion_shifts_by_whole_pixels_and_repeats_the_border() -> None:
    image = torch.arange(16.0).expand(1, 1, 12, 16).contiguous()
    # x / z * f = 0.2 / 5 * 50 = 2 pixels to the right.
    grid = sampling_grid(torch.full((1, 1, 12, 16), 5.0), INTRINSICS, translation(x=0.2))
    expected = torch.clamp(torch.arange(16.0) + 2, max=15)
    torch.testing.assert_close(warp(image, grid)[0, 0, 4], expected, atol=1e-4, rtol=0)


def test_a_place_that_is_not_a_number_has_no_colour() -> None:
    depth = torch.full((3, 1, 12, 16), 5.0)
    motions = torch.eye(4).repeat(3, 1, 1)
    motions[1, 0, 3], motions[2, 2, 0] = float("nan"), float("inf")
    warped = warp(
        torch.rand(3, 1, 12, 16), sampling_grid(depth, INTRINSICS.repeat(3, 1, 1), motions)
    )
    assert warped[0].isfinite().all() and warped[1].isnan().all() and warped[2].isnan().any()


@given(st.floats(0.5, 4.0))
def test_depth_and_translation_share_one_scale(scale: float) -> None:
    depth = torch.rand(1, 1, 6, 8, generator=torch.Generator().manual_seed(2)) + 1
    motion = translation(x=0.3, z=0.1)
    scaled = translation(x=0.3 * scale, z=0.1 * scale)
    torch.testing.assert_close(
        sampling_grid(depth, INTRINSICS, motion),
        sampling_grid(depth * scale, INTRINSICS, scaled),
        atol=1e-4,
        rtol=1e-4,
    )


def test_gradient_of_the_grid_by_finite_differences() -> None:
    generator = torch.Generator().manual_seed(4)
    depth = torch.rand(1, 1, 3, 4, generator=generator, dtype=torch.float64) + 1
    vector = torch.rand(1, 6, generator=generator, dtype=torch.float64)

    def grid(depth: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        return sampling_grid(depth, INTRINSICS.double(), pose_matrix(vector[:, :3], vector[:, 3:]))

    inputs = (depth.requires_grad_(), vector.requires_grad_())
    assert torch.autograd.gradcheck(grid, inputs)
