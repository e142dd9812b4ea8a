"""Render and write one drive; it takes its name when all of it is on disk."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from xdistill.manifests.progress import Advance
from xdistill.pipeline.street.record import raw, rig
from xdistill.pipeline.street.record.drive import Drive, make_drive
from xdistill.pipeline.street.record.folder import (
    DEPTH,
    DEPTH_STEPS,
    LABELS,
    PARTIAL,
    StreetError,
    StreetSettings,
    refusals,
)
from xdistill.pipeline.street.record.lidar import scan
from xdistill.pipeline.street.render.camera import render


def write_drive(out: Path, settings: StreetSettings, number: int, *, advance: Advance) -> None:
    """Render and write one drive of a folder that ``prepare`` has made.

    Raises:
        StreetError: The disk refuses, or frames are missing when the drive is finished.
    """
    drive = make_drive(settings.seed, number, frames=settings.frames)
    partial, name = out / PARTIAL, raw.drive_name(number)
    shutil.rmtree(partial, ignore_errors=True)
    for frame in range(settings.frames):
        _write_frame(partial, name, drive, frame, settings.size)
        advance(1)
    for sensor, delay in (("image_02", 0.0), ("oxts", 0.002), ("velodyne_points", 0.004)):
        text = raw.timestamps(drive.motion, number, delay=delay)
        _write(partial / name / sensor / "timestamps.txt", text.encode())
    fields = "\n".join(raw.OXTS_FIELDS) + "\n"
    _write(partial / name / "oxts" / "dataformat.txt", fields.encode())
    with refusals(out):
        _take_name(out, name, settings.frames)


def _take_name(out: Path, name: str, frames: int) -> None:
    """Move a drive out of the partial folder, the drive itself last.

    Its presence says that labels and depth are there too.
    """
    partial, parts = out / PARTIAL, (f"{LABELS}/{name}", f"{DEPTH}/{name}", name)
    sensors = [f"{name}/{sensor}/data" for sensor in ("image_02", "oxts", "velodyne_points")]
    for folder in (*sensors, *(f"{part}/image_02" for part in parts[:2])):
        found = sum(1 for _ in (partial / folder).iterdir())
        if found != frames:
            raise StreetError(
                f"a finished drive has {found} files in {folder}",
                expected=f"{frames}, one for each frame",
                where=(partial / folder).absolute(),
                remedy="let nothing else change the folder, and run the same command again",
            )
    for part in parts:
        target = out / part
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial / part, target)
    shutil.rmtree(partial)


def _write_frame(folder: Path, name: str, drive: Drive, frame: int, size: tuple[int, int]) -> None:
    scene, file, own = drive.scene(frame), f"{frame:010d}", folder / name
    picture = render(scene, drive.camera(frame, size), size=size, sensor=drive.sensor(frame))
    steps = np.round(picture.depth * DEPTH_STEPS)
    depth = np.where(steps < 2**16, steps, 0).astype(np.uint16)
    _write(own / "image_02" / "data" / f"{file}.png", _png(picture.image[..., ::-1]))
    _write(folder / LABELS / name / "image_02" / f"{file}.png", _png(picture.labels))
    _write(folder / DEPTH / name / "image_02" / f"{file}.png", _png(depth))
    pose = drive.motion.pose(frame) @ np.linalg.inv(rig.IMU_TO_VELO)
    points = scan(scene, pose, seed=drive.seed + frame)
    _write(own / "velodyne_points" / "data" / f"{file}.bin", points.astype("<f4").tobytes())
    _write(own / "oxts" / "data" / f"{file}.txt", raw.oxts_record(drive.motion, frame).encode())


def _png(image: NDArray[np.generic]) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(image))[1].tobytes()


def _write(path: Path, content: bytes) -> None:
    """Write a file of the partial folder, and the folders above it."""
    with refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
