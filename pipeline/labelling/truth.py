"""Ground-truth label maps, and which frame each of them shows."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xdistill.manifests import disk
from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.kitti.errors import SplitError
from xdistill.pipeline.kitti.frames import Frame
from xdistill.teachers.png import LAYOUT

FLAT = "[0-9][0-9][0-9][0-9][0-9][0-9]_10.png"
"""KITTI-2015 semantics: number of the image; ``_10`` is the first of its pair."""
DEVKIT = "train_mapping.txt of KITTI 2015's scene-flow development kit"


class ScoreError(XDistillError, ValueError):
    """Labels and ground truth that cannot be compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TruthMap:
    """The ground truth of one frame."""

    path: Path
    """PNG file of ids."""
    sequence: str
    """``<date>/<drive>/image_02``."""
    index: int
    """Frame number within the drive."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """A folder of ground truth."""

    folder: Path
    """The folder."""
    maps: tuple[TruthMap, ...]
    """Ground-truth maps whose frame is known."""
    unmapped: int = 0
    """Number of files whose frame the mapping does not name."""


def find_truth(folder: Path, *, mapping: Path | None = None) -> Truth:
    """Find ground-truth maps and the frames they belong to.

    Args:
        folder: ``<date>/<drive>/image_02/<10 digits>.png``; with a mapping ``000000_10.png``,
            as KITTI-2015 semantics names its images.
        mapping: KITTI 2015's train_mapping.txt; line n + 1 names the frame of image n.

    Raises:
        ScoreError: The folder or mapping does not exist, the folder has no ground truth, or a line
            of the mapping is malformed.
    """
    if not folder.is_dir():
        raise ScoreError(
            f"{folder} does not exist or is no folder",
            expected="a folder of ground-truth label maps",
            where=folder.absolute(),
            remedy="correct the path after --labels",
        )
    flat = sorted(folder.glob(FLAT))
    if mapping is None:
        maps = tuple(sorted(_laid_out(folder), key=lambda found: found.path))
        if not maps:
            raise _nothing(folder, flat=bool(flat))
        return Truth(folder=folder, maps=maps)
    frames = read_mapping(mapping)
    if not flat:
        raise ScoreError(
            f"{folder} has no ground truth",
            expected="files named like 000000_10.png (KITTI-2015 semantics), because of --mapping",
            where=folder.absolute(),
            remedy="give the folder that holds them, or leave out --mapping",
        )
    maps = tuple(_mapped(flat, frames))
    return Truth(folder=folder, maps=maps, unmapped=len(flat) - len(maps))


def _laid_out(folder: Path) -> Iterator[TruthMap]:
    """Maps laid out like the images of KITTI raw."""
    for path in folder.glob(LAYOUT):
        if re.fullmatch(r"\d{10}", path.stem):
            sequence = str(path.parent.relative_to(folder))
            yield TruthMap(path=path, sequence=sequence, index=int(path.stem))


def _nothing(folder: Path, *, flat: bool) -> ScoreError:
    return ScoreError(
        f"the files in {folder} have names of KITTI-2015 semantics (000000_10.png), without a drive"
        if flat
        else f"{folder} has no ground truth",
        expected="files named like <date>/<drive>/image_02/<10 digits>.png",
        where=folder.absolute(),
        remedy=f"give --mapping: {DEVKIT}" if flat else "correct the path after --labels",
    )


def _mapped(files: list[Path], frames: list[Frame | None]) -> Iterator[TruthMap]:
    """The maps whose frame the mapping names."""
    for path in files:
        number = int(path.name.partition("_")[0])
        frame = frames[number] if number < len(frames) else None
        if frame is not None:
            yield TruthMap(path=path, sequence=frame.sequence, index=frame.index)


def read_mapping(path: Path) -> list[Frame | None]:
    """The raw frame of every image of KITTI 2015; None where its line is empty.

    Args:
        path: Lines like ``2011_09_26 2011_09_26_drive_0005_sync 0000000010``.

    Raises:
        ScoreError: The file does not exist or is not text, or a line is malformed.
    """
    try:
        lines = disk.read_text(path).splitlines()
    except OSError as error:
        raise ScoreError(
            f"{path.name} cannot be read: {error.strerror}",
            expected=DEVKIT,
            where=path.absolute(),
            remedy="correct the path after --mapping",
        ) from error
    return [_frame(line, number, path) for number, line in enumerate(lines, 1)]


def _frame(line: str, number: int, path: Path) -> Frame | None:
    fields = line.split()
    if not fields:
        return None
    try:
        # KITTI-2015 semantics labels the left colour camera.
        return Frame.parse(f"{'/'.join(fields[:-1])} {fields[-1]} l")
    except SplitError as error:
        raise ScoreError(
            f"line {number} of {path.name} names no frame: {line.strip()[:80]!r}",
            expected="date, drive and frame like 2011_09_26 2011_09_26_drive_0005_sync 0000000010, "
            "or an empty line",
            where=path.absolute(),
            remedy=f"give {DEVKIT}, unchanged",
        ) from error
