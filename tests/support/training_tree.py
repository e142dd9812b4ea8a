"""One small drive to train on: images, calibration, recorded poses, labels."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

DRIVE = "2011_09_26/2011_09_26_drive_0001_sync"
SEQUENCE = f"{DRIVE}/image_02"
FRAMES = 10
HEIGHT, WIDTH = 80, 128
TINY = [
    part
    for value in (
        *("width=64", "height=64", "batch_size=2", "epochs=1"),
        *("encoder_weights=none", "num_workers=0"),
    )
    for part in ("--set", value)
]
"""What makes a training of one step take a moment."""
Labels = NDArray[np.uint8]


def texture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A smooth random RGB image wider than a frame, so that frames can slide over it."""
    coarse = rng.integers(0, 256, (10, 40, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (4 * WIDTH, HEIGHT)), np.uint8)


def write_drive(root: Path) -> None:
    """A KITTI raw root with one drive of ten frames that slide over a texture."""
    folder = root / SEQUENCE / "data"
    folder.mkdir(parents=True)
    wide = texture(np.random.default_rng(3))
    for index in range(FRAMES):
        image = wide[:, 4 * index : 4 * index + WIDTH]
        cv2.imwrite(str(folder / f"{index:010d}.png"), image)
    write_calibration(root / "2011_09_26")
    write_oxts(root / DRIVE / "oxts" / "data")


def labels_of(index: int) -> Labels:
    """Labels that tell frames, rows and columns apart, with some ignored pixels."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    labels = ((rows // 8 + columns // 8 + index) % 19).astype(np.uint8)
    labels[:4, :10] = 255
    return labels


def write_calibration(folder: Path) -> None:
    """The three calibration files of a date, for frames of this size."""
    projection = "90 0 60 {shift} 0 90 40 0 0 0 1 0"
    shifts = {"02": 0, "03": -48}
    camera = [f"P_rect_{n}: {projection.format(shift=shifts[n])}" for n in shifts]
    camera += ["R_rect_00: 1 0 0 0 1 0 0 0 1"]
    camera += [f"S_rect_{n}: {WIDTH} {HEIGHT}" for n in ("02", "03")]
    (folder / "calib_cam_to_cam.txt").write_text("\n".join(camera) + "\n")
    # Camera axes (right, down, forward) from those of the car (forward, left, up).
    axes = "R: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 0\n"
    (folder / "calib_velo_to_cam.txt").write_text(axes)
    (folder / "calib_imu_to_velo.txt").write_text("R: 1 0 0 0 1 0 0 0 1\nT: 0 0 0\n")


def write_oxts(folder: Path) -> None:
    """A car that drives east at 1 m a frame."""
    folder.mkdir(parents=True)
    metre = np.degrees(1 / 6378137.0)
    for index in range(FRAMES):
        record = [0.0, index * metre, *[0.0] * 28]
        (folder / f"{index:010d}.txt").write_text(" ".join(map(str, record)))


def write_labelled_drive(root: Path, *, labels: Path, drive: str = DRIVE) -> None:
    """A drive of small frames with labels, calibration, scans and recorded poses."""
    rng = np.random.default_rng(3)
    wide = texture(rng)
    for index in range(FRAMES):
        name = f"{index:010d}.png"
        image = wide[:, 4 * index : 4 * index + WIDTH]
        for path, content in (
            (root / drive / "image_02/data" / name, image),
            (labels / drive / "image_02" / name, labels_of(index)),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), content)
        scan = root / drive / "velodyne_points/data" / f"{index:010d}.bin"
        scan.parent.mkdir(parents=True, exist_ok=True)
        points = rng.uniform((2, -20, -4, 0), (60, 20, 1, 1), (3000, 4))
        scan.write_bytes(points.astype("<f4").tobytes())
    write_calibration((root / drive).parent)
    write_oxts(root / drive / "oxts/data")
