"""Disparity to depth, and the reprojection of one frame into another: poses, the warp of Eq. 1."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

MIN_DEPTH = 0.1
"""Nearest depth of the networks' range, in the unit of the predicted translation."""
MAX_DEPTH = 100.0
"""Farthest depth of the networks' range, same unit."""
EPSILON = 1e-7
"""Keeps the divisions of Eq. 1 and of the rotation axis finite (Monodepth2's value)."""


def scaled_disparity(
    sigmoid: Float[Tensor, "*shape"], *, min_depth: float = MIN_DEPTH, max_depth: float = MAX_DEPTH
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Map the sigmoid output linearly to disparity in [1 / max_depth, 1 / min_depth].

    Args:
        sigmoid: Decoder output in [0, 1], any shape.
        min_depth: Depth where the sigmoid is 1.
        max_depth: Depth where the sigmoid is 0.

    Returns:
        The scaled disparity and its inverse, the depth, both of the input's shape.

    Source: section 3, Godard et al., ICCV 2019.
    """
    farthest, nearest = 1.0 / max_depth, 1.0 / min_depth
    disparity = farthest + (nearest - farthest) * sigmoid
    return disparity, 1.0 / disparity


def pixel_intrinsics(
    normalised: Float[Tensor, "4"], *, height: int, width: int
) -> Float[Tensor, "3 3"]:
    """The camera matrix in pixels from ``(fx, fy, cx, cy)`` as shares of width and height."""
    fx, fy, cx, cy = normalised.tolist()
    rows = [[fx * width, 0.0, cx * width], [0.0, fy * height, cy * height], [0.0, 0.0, 1.0]]
    return torch.tensor(rows)


def rotation_matrix(axisangle: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch 3 3"]:
    """Rodrigues' formula: R = cos(a) I + sin(a) [u]x + (1 - cos(a)) u u^T, a in radians."""
    angle = axisangle.norm(dim=1, keepdim=True)  # (B, 1)
    axis = axisangle / (angle + EPSILON)  # (B, 3)
    x, y, z = axis.unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(-1, 3, 3)  # (B, 3, 3)
    outer = axis[:, :, None] * axis[:, None, :]  # (B, 3, 3)
    cosine, sine = angle.cos()[:, :, None], angle.sin()[:, :, None]
    identity = torch.eye(3, dtype=axisangle.dtype, device=axisangle.device)
    rotation: Tensor = cosine * identity + sine * cross + (1 - cosine) * outer
    return rotation


def pose_matrix(
    axisangle: Float[Tensor, "batch 3"], translation: Float[Tensor, "batch 3"]
) -> Float[Tensor, "batch 4 4"]:
    """The rigid motion ``p -> R p + t`` as a homogeneous matrix.

    Args:
        axisangle: Rotation axis times angle in radians.
        translation: t, in the depth's unit.
    """
    upper = torch.cat([rotation_matrix(axisangle), translation[:, :, None]], 2)  # (B, 3, 4)
    last = upper.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(upper), 1, 4)
    return torch.cat([upper, last], 1)


def invert_pose(pose: Float[Tensor, "batch 4 4"]) -> Float[Tensor, "batch 4 4"]:
    """The inverse rigid motion, by transposition: ``p -> R^T p - R^T t``."""
    rotation = pose[:, :3, :3].transpose(1, 2)
    translation = -rotation @ pose[:, :3, 3:]  # (B, 3, 1)
    return torch.cat([torch.cat([rotation, translation], 2), pose[:, 3:]], 1)


class _Rotated(torch.autograd.Function):
    """``matrix @ points``, each term added with a single rounding.

    A matrix product is rounded as the processor's library pleases, and a pixel coordinate of a few
    hundred turns that last bit into 1e-5 of the warped image. Fused multiply-adds are rounded
    alike on every processor that has them.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, points: Tensor) -> Tensor:
        """Matrices (batch, 3, 3) times points (batch, 3, points)."""
        ctx.save_for_backward(matrix, points)
        total = matrix[:, :, :1] * points[:, :1]
        for axis in (1, 2):
            column, row = matrix[:, :, axis : axis + 1], points[:, axis : axis + 1]
            torch.addcmul(total, column, row, out=total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Of a matrix product."""
        matrix, points = ctx.saved_tensors
        by_matrix, by_points = ctx.needs_input_grad
        return (
            gradient @ points.transpose(1, 2) if by_matrix else None,
            matrix.transpose(1, 2) @ gradient if by_points else None,
        )


def backproject(
    depth: Float[Tensor, "batch 1 height width"], intrinsics: Float[Tensor, "batch 3 3"]
) -> Float[Tensor, "batch 3 height*width"]:
    """Lift every pixel centre of the target frame to its 3D point, D(p) K^-1 p of Eq. 1.

    Args:
        depth: Depth of the target frame.
        intrinsics: K in pixels of the same size.
    """
    batch, _, height, width = depth.shape
    columns = torch.arange(width, dtype=depth.dtype, device=depth.device)
    rows = torch.arange(height, dtype=depth.dtype, device=depth.device)
    v, u = torch.meshgrid(rows, columns, indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)]).view(1, 3, -1)  # (1, 3, H * W)
    rays: Tensor = torch.linalg.inv(intrinsics) @ pixels  # (B, 3, H * W)
    return depth.view(batch, 1, -1) * rays


def project(
    points: Float[Tensor, "batch 3 points"],
    intrinsics: Float[Tensor, "batch 3 3"],
    motion: Float[Tensor, "batch 4 4"],
) -> Float[Tensor, "batch 2 points"]:
    """Pixel coordinates in the source frame of points of the target frame, K T p of Eq. 1.

    Args:
        points: 3D points in the target camera.
        intrinsics: K of the source frame, in pixels.
        motion: T(target -> source).

    Returns:
        u (column) and v (row), in pixels; unbounded.
    """
    projection = intrinsics @ motion[:, :3]  # (B, 3, 4)
    rotated: Tensor = _Rotated.apply(projection[:, :, :3], points)  # type: ignore[no-untyped-call]
    moved = rotated + projection[:, :, 3:]  # (B, 3, points)
    return moved[:, :2] / (moved[:, 2:] + EPSILON)


def sampling_grid(
    depth: Float[Tensor, "batch 1 height width"],
    intrinsics: Float[Tensor, "batch 3 3"],
    motion: Float[Tensor, "batch 4 4"],
) -> Float[Tensor, "batch height width 2"]:
    """Where each target pixel falls in the source frame, in grid_sample's [-1, 1] (corners).

    Source: Eq. 1, Cai et al. 2021.
    """
    batch, _, height, width = depth.shape
    pixels = project(backproject(depth, intrinsics), intrinsics, motion)  # (B, 2, H * W)
    extent = pixels.new_tensor([width - 1, height - 1])
    grid = pixels.view(batch, 2, height, width).permute(0, 2, 3, 1)  # (B, H, W, 2)
    return (grid / extent - 0.5) * 2


def warp(
    source: Float[Tensor, "batch channels height width"],
    grid: Float[Tensor, "batch height width 2"],
) -> Float[Tensor, "batch channels height width"]:
    """Sample the source frame bilinearly; outside it the border is repeated (Monodepth2).

    A place that is not a number gives NaN, so that the loss shows it. grid_sample gives it the
    colour of a corner, and on a CPU its backward pass would then end the process.
    """
    unknown = grid.isnan().any(3)  # (B, H, W)
    sampled = F.grid_sample(source, grid, padding_mode="border", align_corners=True)
    return sampled.masked_fill(unknown[:, None], float("nan"))
