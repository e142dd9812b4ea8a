"""A street's folder: its settings, its missing drives, and the one process that writes in it."""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xdistill.manifests import disk
from xdistill.manifests.errors import XDistillError
from xdistill.manifests.progress import note
from xdistill.pipeline.street.record import raw

WORLD_VERSION = 1
"""Raise it whenever the same settings give other bytes. A street records it, so that one that was
begun with another version is never finished with this one's frames."""
RECORD = "street.json"
PARTIAL = ".partial"
"""Folder of the drive that is being written."""
LABELS, DEPTH, SPLITS = "labels", "depth", "splits"
DEPTH_STEPS = 256
"""Depth PNGs hold 1/256 m, 0 where there is none, as KITTI's depth benchmark does."""
SMALLEST, LARGEST = 16, 4096
"""Limits of height and width in pixels."""
TEST_SHARE, VAL_SHARE = 0.2, 0.1
FEWEST = 3
"""Drives (one for each split), and frames of a drive (one with both neighbours)."""

_claimed: dict[tuple[int, int], int] = {}
"""Open handle of each folder that this process holds, by device and inode."""


class StreetError(XDistillError, ValueError):
    """A street cannot be made as asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreetSettings:
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
                    f"--{name} is {value}, which is out of range",
                    expected=f"{low} to {high}",
                    where=f"--{name}",
                    remedy=f"give --{name} in this range",
                )
        if not all(SMALLEST <= side <= LARGEST for side in self.size):
            raise StreetError(
                f"--size is {self.size[1]}x{self.size[0]}, which is out of range",
                expected=f"{SMALLEST} to {LARGEST} pixels each way",
                where="--size",
                remedy="give another size, such as --size 192x64",
            )


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from ``WxH``.

    Raises:
        StreetError: The text has another form.
    """
    match = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text)
    if not match:
        raise StreetError(
            f"--size {text!r} is not a size",
            expected="WxH: width and height in pixels",
            where="--size",
            remedy="give it as in --size 192x64",
        )
    return int(match[2]), int(match[1])


def prepare(out: Path, settings: StreetSettings) -> list[int]:
    """Create the folder with everything but the drives; return the numbers of the missing drives.

    Raises:
        StreetError: The folder holds something else, a street of other settings or of another
            world version, or one that another process is making; or it cannot be written.
    """
    record = asdict(settings) | {"size": list(settings.size), "world": WORLD_VERSION}
    if out.exists() and not out.is_dir():
        raise StreetError(
            f"{out.name} is a file",
            expected="a folder, new or empty",
            where=out.absolute(),
            remedy="give another --out",
        )
    with refusals(out):
        out.mkdir(parents=True, exist_ok=True)
    # Before anything is read: another process may have written half of it.
    claim(out)
    _discard_unfinished(out)
    _require_ours(out, record)
    shutil.rmtree(out / PARTIAL, ignore_errors=True)
    # The record first, so that whatever else is found here later is known to be ours.
    files = {RECORD: json.dumps(record, indent=1, allow_nan=False) + "\n"}
    files |= {f"{raw.DATE}/{name}": text for name, text in raw.calibration(settings.size).items()}
    for name, numbers in split_drives(settings.drives).items():
        files[f"{SPLITS}/{name}.txt"] = split_lines(numbers, settings.frames)
    for name, text in files.items():
        with refusals(out / name):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            disk.write(out / name, [text.encode()])
    return [n for n in range(1, settings.drives + 1) if not (out / raw.drive_name(n)).is_dir()]


def _discard_unfinished(out: Path) -> None:
    """Remove files that a run did not finish; alone, they would be taken for something else's."""
    with refusals(out):
        for folder in (out, out / raw.DATE, out / SPLITS):
            for file in folder.glob(f"*{disk.PARTIAL}"):
                if disk.final_name(file.name) and file.is_file():
                    disk.discard(file)


def _require_ours(out: Path, record: Mapping[str, object]) -> None:
    with refusals(out):
        if not any(out.iterdir()):
            return
    try:
        found: Any = json.loads(disk.read_text(out / RECORD))
    except (OSError, ValueError, RecursionError):
        found = None
    if found == record:
        return
    expected, remedy = (
        f"nothing, or a street of {json.dumps(record, allow_nan=False)}",
        "give another --out",
    )
    if not isinstance(found, dict):
        headline = "the folder holds something other than a street"
    elif found | {"world": WORLD_VERSION} != record:
        headline = (
            f"the folder holds a street of other settings, {json.dumps(found, allow_nan=True)}"
        )
    else:
        # Nothing tells whether another version's frames equal ours, even if its settings do: a
        # street that mixed the two would look whole.
        headline = f"the street was begun with another world version, {found.get('world')!r}"
        expected = f"world version {WORLD_VERSION}"
        remedy = "give another --out, or finish it with the version of xdistill that began it"
    raise StreetError(headline, expected=expected, where=out.absolute(), remedy=remedy)


def split_drives(drives: int) -> dict[str, list[int]]:
    """Drive numbers of the train, val and test splits; no drive is in two of them."""
    test, val = max(1, round(TEST_SHARE * drives)), max(1, round(VAL_SHARE * drives))
    numbers, train = list(range(1, drives + 1)), drives - test - val
    splits = numbers[:train], numbers[train : train + val], numbers[train + val :]
    return dict(zip(("train", "val", "test"), splits, strict=True))


def split_lines(numbers: Sequence[int], frames: int) -> str:
    """Lines of a split file: every frame that has both neighbours."""
    return "".join(
        f"{raw.drive_name(number)} {frame} l\n"
        for number in numbers
        for frame in range(1, frames - 1)
    )


@contextmanager
def refusals(where: Path) -> Iterator[None]:
    """Report what the operating system refuses while something at ``where`` is written.

    Raises:
        StreetError: The disk is full or read-only, or the system reports anything else.
    """
    try:
        yield
    except OSError as error:
        raise StreetError(
            f"the street cannot be written ({error.strerror or error})",
            where=error.filename or where.absolute(),
            remedy="make room there or make it writable, then run the same command again "
            "(finished drives are kept), or give another --out",
        ) from error


def claim(folder: Path) -> None:
    """Keep other processes out of a folder until this one ends.

    The lock is on the folder itself: it leaves no file, and the kernel frees it however the
    process ends. Where the file system has no such locks, a note says so.

    Raises:
        StreetError: Another process is making a street there, or the folder cannot be opened.
    """
    with refusals(folder):
        handle = os.open(folder, os.O_RDONLY)
        status = os.fstat(handle)
    key = (status.st_dev, status.st_ino)
    if key in _claimed:
        os.close(handle)
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise StreetError(
            "another process is making a street in this folder",
            where=folder.absolute(),
            remedy="wait until it ends, or give another --out",
        ) from error
    except OSError as error:
        note(f"no locks here ({error.strerror}): start only one run in {folder} at a time")
    _claimed[key] = handle
