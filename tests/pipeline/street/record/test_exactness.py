"""What the street promises: exact depth, exact poses, and a LiDAR that agrees with both."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from xdistill.pipeline.kitti.calibration import read_calibration
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.kitti.oxts import camera_motion
from xdistill.pipeline.kitti.velodyne import project_scan, read_scan, scan_path
from xdistill.pipeline.street.record import raw, rig
from xdistill.pipeline.street.record.drive import Drive, make_drive
from xdistill.pipeline.street.record.folder import DEPTH, LABELS, StreetSettings
from xdistill.pipeline.street.render.camera import Picture, render

SIZE = (64, 192)
Image = NDArray[np.float32]


def picture(drive: Drive, frame: int) -> Picture:
    """A frame without noise and changes of exposure."""
    gains = np.full_like(drive.gains, drive.gains.mean())
    still = dataclasses.replace(drive, gains=gains, noise=0.0)
    scene = still.scene(frame)
    return render(scene, still.camera(frame, SIZE), size=SIZE, sensor=still.sensor(frame))


def motion(drive: Drive, target: int, source: int) -> NDArray[np.float64]:
    to_world, from_world = (drive.camera(k, SIZE).pose for k in (target, source))
    return np.asarray(np.linalg.inv(from_world) @ to_world)


def reproject(
    depth: NDArray[np.float32], transform: NDArray[np.float64]
) -> tuple[Image, Image, Image]:
    """Where each pixel of the target lies in the source: column, row, depth (Eq. 1)."""
    matrix = rig.intrinsics(SIZE)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float64)
    pixels = np.stack([columns, rows, np.ones_like(rows)]).reshape(3, -1)
    points = np.linalg.inv(matrix) @ (pixels * depth.ravel())
    moved = matrix @ (transform[:3, :3] @ points + transform[:3, 3:])
    z = np.maximum(moved[2], 1e-3)
    u, v, z = (part.reshape(SIZE).astype(np.float32) for part in (moved[0] / z, moved[1] / z, z))
    return u, v, z


def sample(values: NDArray[np.generic], u: Image, v: Image) -> Image:
    image = np.asarray(values, np.float32)
    return np.asarray(cv2.remap(image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def static_overlap(target: Picture, source: Picture, u: Image, v: Image) -> NDArray[np.bool_]:
    """Static pixels of the target frame that lie inside the source frame."""
    inside = (u >= 0) & (u <= SIZE[1] - 1) & (v >= 0) & (v <= SIZE[0] - 1)
    moving = target.moving | (sample(source.moving, u, v) > 0)
    return np.asarray(inside & ~moving & (target.depth > 0))


def inverse_depth(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear over the image of a plane, so that bilinear sampling of it is exact there."""
    return np.where(depth > 0, 1 / np.maximum(depth, 1e-3), 0).astype(np.float32)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_the_depth_of_a_frame_predicts_that_of_its_neighbour(number: int) -> None:
    drive = make_drive(1, number, frames=3)
    target, source = picture(drive, 1), picture(drive, 2)
    u, v, z = reproject(target.depth, motion(drive, 1, 2))
    seen = static_overlap(target, source, u, v)
    error = np.abs(sample(inverse_depth(source.depth), u, v) * z - 1)[seen]
    assert seen.mean() > 0.3
    assert np.median(error) < 1e-6
    assert np.mean(error < 1e-2) > 0.7


def test_warping_the_neighbour_reproduces_the_frame(drive: Drive) -> None:
    target, source = picture(drive, 1), picture(drive, 2)
    u, v, z = reproject(target.depth, motion(drive, 1, 2))
    visible = np.abs(sample(inverse_depth(source.depth), u, v) * z - 1) < 0.02
    seen = static_overlap(target, source, u, v) & visible
    warped = sample(source.image, u, v)
    error = float(np.abs(warped - target.image)[seen].mean())
    without = float(np.abs(source.image.astype(np.float32) - target.image)[seen].mean())
    print(f"visible {seen.mean():.2f}; mean error {error:.2f} of 255, unwarped {without:.2f}")
    assert error < 4.0
    assert error < without / 3


def test_warping_with_the_inverse_motion_is_worse_than_none(drive: Drive) -> None:
    """The direction of the transform matters, so the test above can fail."""
    target, source = picture(drive, 1), picture(drive, 2)
    u, v, _ = reproject(target.depth, motion(drive, 2, 1))
    seen = static_overlap(target, source, u, v)
    warped = np.abs(sample(source.image, u, v) - target.image)[seen].mean()
    assert warped > np.abs(source.image.astype(np.float32) - target.image)[seen].mean()


@pytest.mark.slow
def test_oxts_give_the_true_camera_motion(street: Path, settings: StreetSettings) -> None:
    for number in range(1, settings.drives + 1):
        drive = make_drive(settings.seed, number, frames=settings.frames)
        frame = Frame(raw.drive_name(number), 0, "l")
        for step in (1, 2, 3):
            recorded = camera_motion(street, frame, frame.neighbour(step))
            np.testing.assert_allclose(recorded, motion(drive, 0, step), atol=1e-6)


def test_the_lidar_agrees_with_the_exact_depth(street: Path, drive: Drive) -> None:
    frame = Frame(raw.drive_name(1), 1, "l")
    points = read_scan(scan_path(street, frame))
    rows, columns, depth = project_scan(
        points, read_calibration(street, frame.date), "l", size=SIZE, depth="camera_z"
    )
    exact = picture(drive, 1).depth
    # Within one pixel: the beam meets the surface anywhere in the pixel, not in its centre.
    low = cv2.erode(exact, np.ones((3, 3)))[rows, columns]
    high = cv2.dilate(exact, np.ones((3, 3)))[rows, columns]
    inside = (depth > low * 0.99) & (depth < high * 1.01)
    centre = exact[rows, columns]
    relative = np.abs(depth - centre)[centre > 0] / centre[centre > 0]
    print(
        f"{len(depth)} pixels; median error {np.median(relative):.4f}; within {inside.mean():.3f}"
    )
    assert len(depth) > 0.3 * SIZE[0] * SIZE[1]
    assert inside.mean() > 0.97
    assert np.median(relative) < 0.02
    for shift in (-1, 1):
        moved = exact[np.clip(rows + shift, 0, SIZE[0] - 1), columns]
        assert np.mean(np.abs(depth - moved) < 0.03 * depth) < np.mean(
            np.abs(depth - centre) < 0.03 * depth
        )


def test_files_hold_what_was_rendered(street: Path, drive: Drive) -> None:
    scene = drive.scene(1)
    rendered = render(scene, drive.camera(1, SIZE), size=SIZE, sensor=drive.sensor(1))
    folder, file = raw.drive_name(1), "image_02/0000000001.png"
    image = cv2.imread(str(street / folder / "image_02/data/0000000001.png"))
    labels = cv2.imread(str(street / LABELS / folder / file), cv2.IMREAD_UNCHANGED)
    depth = cv2.imread(str(street / DEPTH / folder / file), cv2.IMREAD_UNCHANGED)
    assert image is not None and labels is not None and depth is not None
    np.testing.assert_array_equal(image[..., ::-1], rendered.image)
    np.testing.assert_array_equal(labels, rendered.labels)
    known = (rendered.depth > 0) & (rendered.depth < 255)
    np.testing.assert_allclose((depth / 256)[known], rendered.depth[known], atol=1 / 512 + 1e-5)
    assert not depth[rendered.depth == 0].any()


def test_the_size_changes_the_sampling_not_the_world(drive: Drive) -> None:
    scene, small = drive.scene(1), (32, 96)
    coarse = render(scene, drive.camera(1, small), size=small, sensor=drive.sensor(1))
    fine = render(scene, drive.camera(1, SIZE), size=SIZE, sensor=drive.sensor(1))
    np.testing.assert_allclose(coarse.depth, fine.depth[::2, ::2], rtol=1e-5)
    np.testing.assert_array_equal(coarse.labels, fine.labels[::2, ::2])
