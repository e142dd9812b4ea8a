"""Write a street: drive by drive, so that a run that was stopped goes on where it was."""

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from xdistill.pipeline.street.compiled import sources_digest
from xdistill.pipeline.street.errors import StreetError
from xdistill.pipeline.street.record import raw, rig
from xdistill.pipeline.street.record.disk import claim, told, write_bytes, write_text
from xdistill.pipeline.street.record.drive import Drive, make_drive
from xdistill.pipeline.street.record.lidar import scan
from xdistill.pipeline.street.render.render import Picture, render

RECORD = "street.json"
PARTIAL = ".partial"
LABELS, DEPTH, SPLITS = "labels", "depth", "splits"
DEPTH_STEPS = 256
"""Depth PNGs hold 1/256 m, 0 where there is none, as KITTI's depth benchmark does."""
SMALLEST, LARGEST = 16, 4096
"""Limits of height and width in pixels."""
TEST_SHARE, VAL_SHARE = 0.2, 0.1
FEWEST = 3
"""Drives (one for each split), and frames of a drive (one with both neighbours)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What decides every byte of a street.

    Raises:
        StreetError: A number is out of range.
    """

    drives: int
    """How many drives."""
    frames: int
    """Frames of each drive, 10 a second."""
    size: tuple[int, int]
    """Height and width in pixels."""
    seed: int
    """Decides everything else."""

    def __post_init__(self) -> None:
        limits = {"drives": (FEWEST, 9999), "frames": (FEWEST, 10_000), "seed": (0, 2**32 - 1)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise StreetError(
                    f"{value} {name}",
                    expected=f"{low} to {high}",
                    where=f"--{name}",
                    remedy=f"give --{name} in this range",
                )
        if not all(SMALLEST <= side <= LARGEST for side in self.size):
            raise StreetError(
                f"frames of {self.size[1]}x{self.size[0]} pixels",
                expected=f"{SMALLEST} to {LARGEST} pixels each way",
                where="--size",
                remedy="give another size, such as --size 192x64",
            )


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from ``WxH``.

    Raises:
        StreetError: Not of that form.
    """
    match = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text)
    if not match:
        raise StreetError(
            f"size {text!r}",
            expected="WxH: width and height in pixels",
            where="--size",
            remedy="give it as in --size 192x64",
        )
    return int(match[2]), int(match[1])


def prepare(out: Path, settings: Settings) -> list[int]:
    """Make the folder and everything but the drives; return the numbers of the missing drives.

    Raises:
        StreetError: The folder holds something else, a street of other settings, or one that
            another process is making, or cannot be written.
    """
    record = asdict(settings) | {"size": list(settings.size), "world": sources_digest()}
    if out.exists() and not out.is_dir():
        raise StreetError(
            "a file",
            expected="a folder, new or empty",
            where=out.absolute(),
            remedy="give another --out",
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StreetError(
            f"the folder cannot be made ({error.strerror})",
            where=out.absolute(),
            remedy="give another --out, or let this one be written",
        ) from error
    # Before anything is read: another process may have written half of it.
    claim(out)
    _require_ours(out, record)
    shutil.rmtree(out / PARTIAL, ignore_errors=True)
    # First, so that whatever else is found here later is known to be ours.
    write_text(out / RECORD, json.dumps(record, indent=1) + "\n")
    for name, text in raw.calibration(settings.size).items():
        write_text(out / raw.DATE / name, text)
    for name, numbers in split_drives(settings.drives).items():
        write_text(out / SPLITS / f"{name}.txt", split_lines(numbers, settings.frames))
    return [n for n in range(1, settings.drives + 1) if not (out / raw.drive_name(n)).is_dir()]


def _require_ours(out: Path, record: Mapping[str, object]) -> None:
    with told(out):
        if not any(out.iterdir()):
            return
    try:
        found = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found == record:
        return
    raise StreetError(
        f"the folder holds {'something else' if found is None else json.dumps(found)}",
        expected=f"nothing, or a street of {json.dumps(record)}",
        where=out.absolute(),
        remedy="give another --out, or remove the folder",
    )


def split_drives(drives: int) -> dict[str, list[int]]:
    """Drive numbers of the train, val and test splits; no drive is in two of them."""
    test, val = max(1, round(TEST_SHARE * drives)), max(1, round(VAL_SHARE * drives))
    numbers = list(range(1, drives + 1))
    train = drives - test - val
    return {
        "train": numbers[:train],
        "val": numbers[train : train + val],
        "test": numbers[train + val :],
    }


def split_lines(numbers: Sequence[int], frames: int) -> str:
    """Lines of a split file: every frame that has both neighbours."""
    return "".join(
        f"{raw.drive_name(number)} {frame} l\n"
        for number in numbers
        for frame in range(1, frames - 1)
    )


def write_drive(
    out: Path, settings: Settings, number: int, *, advance: Callable[[int], object]
) -> None:
    """Render and write one drive; it takes its name when all of it is there.

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
        write_text(partial / name / sensor / "timestamps.txt", text)
    write_text(partial / name / "oxts" / "dataformat.txt", "\n".join(raw.OXTS_FIELDS) + "\n")
    with told(out):
        _take_name(out, name, settings.frames)


def _take_name(out: Path, name: str, frames: int) -> None:
    """Move a drive out of the partial folder, the drive itself last.

    It is what says that labels and depth are there too.
    """
    partial, parts = out / PARTIAL, (f"{LABELS}/{name}", f"{DEPTH}/{name}", name)
    sensors = [f"{name}/{sensor}/data" for sensor in ("image_02", "oxts", "velodyne_points")]
    for folder in (*sensors, *(f"{part}/image_02" for part in parts[:2])):
        found = sum(1 for _ in (partial / folder).iterdir())
        if found != frames:
            raise StreetError(
                f"{found} files of a finished drive",
                expected=f"{frames}, one for each frame",
                where=(partial / folder).absolute(),
                remedy="let nothing else change the folder, and give the same command again",
            )
    for part in parts:
        target = out / part
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial / part, target)
    shutil.rmtree(partial)


def _write_frame(folder: Path, name: str, drive: Drive, frame: int, size: tuple[int, int]) -> None:
    scene = drive.scene(frame)
    picture = render(scene, drive.camera(frame, size), size=size, sensor=drive.sensor(frame))
    file = f"{frame:010d}"
    _write_pictures(folder, name, file, picture)
    pose = drive.motion.pose(frame) @ np.linalg.inv(rig.IMU_TO_VELO)
    points = scan(scene, pose, seed=drive.seed + frame)
    path = folder / name / "velodyne_points" / "data" / f"{file}.bin"
    write_bytes(path, points.astype("<f4").tobytes())
    record = raw.oxts_record(drive.motion, frame)
    write_text(folder / name / "oxts" / "data" / f"{file}.txt", record)


def _write_pictures(folder: Path, name: str, file: str, picture: Picture) -> None:
    steps = np.round(picture.depth * DEPTH_STEPS)
    depth = np.where(steps < 2**16, steps, 0).astype(np.uint16)
    _write_png(folder / name / "image_02" / "data" / f"{file}.png", picture.image[..., ::-1])
    _write_png(folder / LABELS / name / "image_02" / f"{file}.png", picture.labels)
    _write_png(folder / DEPTH / name / "image_02" / f"{file}.png", depth)


def _write_png(path: Path, image: NDArray[np.generic]) -> None:
    write_bytes(path, cv2.imencode(".png", np.ascontiguousarray(image))[1].tobytes())
