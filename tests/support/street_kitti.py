"""Drives of the street under the names, sizes and formats of two drives of KITTI.

They stand in for the real ones where a checkout has no reference material: 2011_09_26_drive_0002
with ten PNG frames of both cameras, and 2011_09_26_drive_0013 with 72 JPEG frames of the left one.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from xdistill.pipeline.street.record import raw, rig
from xdistill.pipeline.street.record.drive import Drive, make_drive
from xdistill.pipeline.street.record.lidar import scan
from xdistill.pipeline.street.render.camera import Camera, render

DATE = "2011_09_26"
SIZE = (375, 1242)
"""Height and width in pixels."""
COARSER = 3
"""The street is rendered at a third of that size, which takes a ninth of the time."""
BASELINE_M = rig.BASELINES_M["02"] - rig.BASELINES_M["03"]
LEFT, RIGHT = "image_02", "image_03"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What of a drive is there."""

    name: str
    frames: int
    suffix: str
    cameras: tuple[str, ...]
    scanned: tuple[int, ...]
    seed: int


DRIVES = (
    Recorded(
        name=f"{DATE}_drive_0002_sync",
        frames=10,
        suffix=".png",
        cameras=(LEFT, RIGHT),
        scanned=(0, 3, 6, 9),
        seed=2,
    ),
    Recorded(
        name=f"{DATE}_drive_0013_sync",
        frames=72,
        suffix=".jpg",
        cameras=(LEFT,),
        scanned=(0, 5, 10, 20, 30, 35, 40, 45, 50, 60, 65, 70),
        seed=13,
    ),
)


def write_material(folder: Path) -> None:
    """Render both drives into ``kitti`` and ``labels``."""
    for name, text in raw.calibration(SIZE).items():
        put(folder / "kitti" / DATE / name, text.encode())
    for recorded in DRIVES:
        drive = make_drive(recorded.seed, 1, frames=recorded.frames)
        for index in range(recorded.frames):
            write_frame(folder, recorded, drive, index)
        stamps = raw.timestamps(drive.motion, 1, delay=0.0).encode()
        for sensor in ("oxts", *recorded.cameras):
            put(folder / "kitti" / DATE / recorded.name / sensor / "timestamps.txt", stamps)


def write_frame(folder: Path, recorded: Recorded, drive: Drive, index: int) -> None:
    """Images, label map, motion and, where the drive has one, the scan of a frame."""
    own, name = folder / "kitti" / DATE / recorded.name, f"{index:010d}"
    put(own / "oxts" / "data" / f"{name}.txt", raw.oxts_record(drive.motion, index).encode())
    scene, coarse = drive.scene(index), (SIZE[0] // COARSER, SIZE[1] // COARSER)
    left = drive.camera(index, coarse)
    for camera in recorded.cameras:
        view = left if camera == LEFT else moved(left, BASELINE_M)
        picture = render(scene, view, size=coarse, sensor=drive.sensor(index))
        image = enlarged(picture.image[..., ::-1], cv2.INTER_CUBIC)
        put(own / camera / "data" / f"{name}{recorded.suffix}", encoded(image, recorded.suffix))
        if camera == LEFT:
            labels = enlarged(picture.labels, cv2.INTER_NEAREST)
            path = folder / "labels" / DATE / recorded.name / camera / f"{name}.png"
            put(path, encoded(labels, ".png"))
    if index in recorded.scanned:
        pose = drive.motion.pose(index) @ np.linalg.inv(rig.IMU_TO_VELO)
        points = scan(scene, pose, seed=drive.seed + index).astype("<f4")
        put(own / "velodyne_points" / "data" / f"{name}.bin", points.tobytes())


def moved(camera: Camera, metres: float) -> Camera:
    """The camera to the right of this one."""
    shift = np.eye(4)
    shift[0, 3] = metres
    return camera._replace(pose=camera.pose @ shift)


def enlarged(picture: NDArray[np.uint8], method: int) -> NDArray[np.uint8]:
    """A rendered picture at KITTI's size."""
    plain = np.ascontiguousarray(picture)
    return np.asarray(cv2.resize(plain, SIZE[::-1], interpolation=method), np.uint8)


def encoded(picture: NDArray[np.uint8], suffix: str) -> bytes:
    """The picture as a file."""
    return cv2.imencode(suffix, picture)[1].tobytes()


def put(path: Path, content: bytes) -> None:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
