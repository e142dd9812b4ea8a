"""Recorded poses: by hand on round numbers, and against the recorded speed on real drives."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from material import Material

from xdistill.pipeline.kitti.calibration import read_calibration
from xdistill.pipeline.kitti.errors import CalibrationError, PoseError
from xdistill.pipeline.kitti.frames import Camera, Frame, image_path
from xdistill.pipeline.kitti.images import read_image
from xdistill.pipeline.kitti.oxts import camera_motion, read_pose, read_record
from xdistill.pipeline.kitti.velodyne import project_scan, read_scan, scan_path

A = "2011_09_26/2011_09_26_drive_0001_sync"
DRIVES = [f"2011_09_26/2011_09_26_drive_{number}_sync" for number in ("0013", "0002")]
METRES_PER_DEGREE = np.pi / 180 * 6378137.0
FORWARD_SPEED = 8
"""Position of vf in an oxts record."""

Write = Callable[..., Path]


def test_the_pose_at_the_equator_by_hand(root: Path, write_oxts: Write) -> None:
    write_oxts(0, 0.0, 2.0, 7.0, 0.0, 0.0, np.pi / 2)
    pose = read_pose(root, A, 0)
    # Facing north: forward (x) is north (y), left (y) is west (-x).
    rows = [[0, -1, 0, 2 * METRES_PER_DEGREE], [1, 0, 0, 0], [0, 0, 1, 7], [0, 0, 0, 1]]
    assert np.allclose(pose, np.array(rows), atol=1e-8)


def test_the_scale_is_that_of_the_first_records_latitude(root: Path, write_oxts: Write) -> None:
    write_oxts(3, 60.0, 0.0)
    write_oxts(4, 0.0, 1.0)
    # cos 60 degrees = 1/2, whatever the record's own latitude.
    assert read_pose(root, A, 4)[0, 3] == pytest.approx(METRES_PER_DEGREE / 2)
    north = read_pose(root, A, 3)[1, 3]
    assert north == pytest.approx(6378137.0 / 2 * np.log(np.tan(np.radians(75.0))))


@pytest.mark.parametrize(
    ("angles", "forward", "left"),
    [
        ((0.1, 0.0, 0.0), (1, 0, 0), (0, np.cos(0.1), np.sin(0.1))),  # roll: left side up
        ((0.0, 0.1, 0.0), (np.cos(0.1), 0, -np.sin(0.1)), (0, 1, 0)),  # pitch: front down
        ((0.0, 0.0, 0.1), (np.cos(0.1), np.sin(0.1), 0), (-np.sin(0.1), np.cos(0.1), 0)),
        # Rz Ry Rx: forward is turned by pitch then yaw.
        ((0.0, np.pi / 2, 0.1), (0, 0, -1), (-np.sin(0.1), np.cos(0.1), 0)),
    ],
)
def test_signs_and_order_of_the_rotations(
    root: Path,
    write_oxts: Write,
    angles: tuple[float, ...],
    forward: tuple[float, ...],
    left: tuple[float, ...],
) -> None:
    write_oxts(0, 0.0, 0.0, 0.0, *angles)
    rotation = read_pose(root, A, 0)[:3, :3]
    assert np.allclose(rotation[:, 0], forward) and np.allclose(rotation[:, 1], left)


def test_driving_straight_moves_points_towards_the_camera(
    calibrated: Path, write_oxts: Write
) -> None:
    write_oxts(0, 0.0, 0.0, 0.0)
    write_oxts(1, 0.0, 2.0 / METRES_PER_DEGREE, 0.0)
    motion = camera_motion(calibrated, Frame(A, 0, "l"), Frame(A, 1, "l"))
    expected = np.eye(4)
    expected[2, 3] = -2.0
    assert np.allclose(motion, expected, atol=1e-9)


def test_the_other_camera_of_one_instant_is_the_baseline_away(
    calibrated: Path, write_oxts: Write
) -> None:
    write_oxts(0, 10.0, 20.0, 3.0, 0.1, 0.2, 0.3)
    motion = camera_motion(calibrated, Frame(A, 0, "l"), Frame(A, 0, "r"))
    expected = np.eye(4)
    expected[0, 3] = -0.6  # P_rect: (-10 - 2) / 20
    assert np.allclose(motion, expected, atol=1e-6)


@pytest.mark.parametrize("drive", DRIVES)
def test_real_motion_agrees_with_the_recorded_speed(material: Material, drive: str) -> None:
    root = material.kitti
    stamps = (root / drive / "oxts" / "timestamps.txt").read_text().splitlines()
    times = [datetime.fromisoformat(stamp[:26]) for stamp in stamps]
    ratios = []
    for index in range(9):
        target = Frame(drive, index, "l")
        motion = camera_motion(root, target, target.neighbour(1))
        assert motion[2, 3] < 0
        speeds = [read_record(root, drive, i)[FORWARD_SPEED] for i in (index, index + 1)]
        seconds = (times[index + 1] - times[index]).total_seconds()
        ratios.append(np.linalg.norm(motion[:3, 3]) / (np.mean(speeds) * seconds))
    assert np.abs(np.array(ratios) - 1).max() < 0.03
    assert abs(np.median(ratios) - 1) < 0.01


@pytest.mark.parametrize("drive", DRIVES)
@pytest.mark.parametrize("cameras", [("l", "l"), ("l", "r"), ("r", "r")])
def test_there_and_back_is_the_identity(
    material: Material, drive: str, cameras: tuple[Camera, Camera]
) -> None:
    target, source = Frame(drive, 2, cameras[0]), Frame(drive, 7, cameras[1])
    there = camera_motion(material.kitti, target, source)
    back = camera_motion(material.kitti, source, target)
    assert np.allclose(there @ back, np.eye(4), atol=1e-7)
    assert np.allclose(there[:3, :3] @ there[:3, :3].T, np.eye(3), atol=1e-6)


def test_motions_compose(material: Material) -> None:
    first, middle, last = (Frame(DRIVES[0], index, "l") for index in (10, 20, 30))
    root = material.kitti
    composed = camera_motion(root, middle, last) @ camera_motion(root, first, middle)
    assert np.allclose(camera_motion(root, first, last), composed, atol=1e-6)


def test_a_missing_record_is_named(calibrated: Path, write_oxts: Write) -> None:
    write_oxts(0, 0.0, 0.0, 0.0)
    with pytest.raises(PoseError, match=r"no oxts record of frame 1\n(.*\n)*.*0000000001.txt"):
        camera_motion(calibrated, Frame(A, 0, "l"), Frame(A, 1, "l"))


def test_a_drive_without_records_is_named(calibrated: Path) -> None:
    with pytest.raises(PoseError, match=f"what to do: download the oxts records of {A}"):
        read_pose(calibrated, A, 0)


def test_the_latitude_kept_follows_the_folder(
    root: Path, write_oxts: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_oxts(0, 60.0, 1.0)
    monkeypatch.chdir(root.parent)
    assert read_pose(Path("kitti"), A, 0)[0, 3] == pytest.approx(METRES_PER_DEGREE / 2)
    other = root.parent / "other" / "kitti"
    other.parent.mkdir()
    root.rename(other)
    (other / A / "oxts" / "data" / "0000000000.txt").write_text("0 1" + " 0" * 28)
    monkeypatch.chdir(other.parent)
    assert read_pose(Path("kitti"), A, 0)[0, 3] == pytest.approx(METRES_PER_DEGREE)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 2 3", "has 3 numbers"),
        ("", "has 0 numbers"),
        ("a " * 30, r"is damaged \(could not convert string to float: 'a'\)"),
        ("\u20ac " * 30, "is damaged"),
        ("49 8 115 0 0 0 inf" + " 0" * 23, "has numbers that are not finite"),
    ],
)
def test_a_malformed_record_is_refused(root: Path, write_oxts: Write, text: str, told: str) -> None:
    write_oxts(0).write_text(text)
    with pytest.raises(PoseError, match=f"^the oxts record of frame 0 {told}"):
        read_pose(root, A, 0)


@pytest.mark.parametrize(
    ("pose", "told"),
    [
        (("nan",), "latitude in .* is nan"),
        (("-90",), "latitude in .* is -90"),  # The projection's logarithm of 0.
        (("90.1",), "latitude in .* is 90.1"),  # Its logarithm of a negative number.
        (("0", "1e300"), r"longitude in .* is 1e\+300"),
        (("0", "0", "1e39"), r"altitude in .* is 1e\+39"),  # Infinite in 32 bits.
        (("0", "0", "0", "inf"), "roll in .* is inf"),
        (("0", "0", "0", "0", "0", "-90"), "yaw in .* is -90"),  # Degrees.
    ],
)
def test_a_record_of_no_place_on_the_road_is_refused(
    root: Path, write_oxts: Write, pose: tuple[str, ...], told: str
) -> None:
    write_oxts(0).write_text(" ".join([*pose, *["0"] * (30 - len(pose))]))
    with pytest.raises(PoseError, match=f"^the {told}\n"):
        read_pose(root, A, 0)


def test_a_motion_that_is_not_finite_names_its_frames(calibrated: Path, write_oxts: Write) -> None:
    for index in (0, 1):
        write_oxts(index, 0.0, 0.0, 0.0, 0.0, 0.0, float(index))
    # Beyond the range of single precision, in which a training uses motions.
    path = calibrated / "2011_09_26" / "calib_imu_to_velo.txt"
    path.write_text("R: 1 0 0 0 1 0 0 0 1\nT: 1e39 0 0\n")
    with pytest.raises(PoseError, match=f"the motion from {A} 0 l to {A} 1 l is not finite"):
        camera_motion(calibrated, Frame(A, 0, "l"), Frame(A, 1, "l"))


def test_without_calibration_there_is_no_motion(root: Path, write_oxts: Write) -> None:
    write_oxts(0, 0.0, 0.0, 0.0)
    with pytest.raises(CalibrationError):
        camera_motion(root, Frame(A, 0, "l"), Frame(A, 0, "r"))


def test_frames_of_different_drives_are_refused(root: Path) -> None:
    other = Frame("2011_09_28/2011_09_28_drive_0001_sync", 0, "l")
    with pytest.raises(PoseError, match="of one drive"):
        camera_motion(root, Frame(A, 0, "l"), other)


def colour_difference(root: Path, target: Frame, source: Frame, motion: np.ndarray) -> float:
    """Mean |target - source| at the pixels that LiDAR points of the target move to."""
    calibration = read_calibration(root, target.date)
    size = calibration.size(target.camera)
    scan = read_scan(scan_path(root, target))
    rows, columns, depth = project_scan(
        scan, calibration, target.camera, size=size, depth="camera_z"
    )
    intrinsics = calibration.intrinsics(target.camera, size)
    rays = np.linalg.inv(intrinsics) @ np.stack([columns, rows, np.ones_like(rows)])
    moved = intrinsics @ (motion[:3, :3] @ (rays * depth) + motion[:3, 3:])
    places = (moved[:2] / moved[2]).astype(np.float32)
    inside = (places > 0).all(0) & (places[0] < size[1] - 1) & (places[1] < size[0] - 1)
    ours, theirs = (read_image(image_path(root, frame)) for frame in (target, source))
    columns_, rows_ = places[:, inside]
    sampled = cv2.remap(theirs, columns_[None], rows_[None], cv2.INTER_LINEAR)[0].astype(float)
    return float(np.abs(sampled - ours[rows[inside], columns[inside]]).mean())


@pytest.mark.parametrize(
    ("target", "source", "bound"),
    [
        (f"{DRIVES[0]} 20 l", f"{DRIVES[0]} 21 l", 0.75),
        (f"{DRIVES[0]} 40 l", f"{DRIVES[0]} 39 l", 0.75),
        (f"{DRIVES[1]} 0 l", f"{DRIVES[1]} 1 l", 0.6),
        (f"{DRIVES[1]} 3 l", f"{DRIVES[1]} 3 r", 0.5),
        (f"{DRIVES[1]} 3 l", f"{DRIVES[1]} 4 r", 0.6),
    ],
)
def test_real_lidar_points_keep_their_colour_where_the_motion_takes_them(
    material: Material, target: str, source: str, bound: float
) -> None:
    root, frames = material.kitti, (Frame.parse(target), Frame.parse(source))
    motion = camera_motion(root, *frames)
    still = colour_difference(root, *frames, np.eye(4))
    assert colour_difference(root, *frames, motion) < bound * still
    assert colour_difference(root, *frames, np.linalg.inv(motion)) > still
