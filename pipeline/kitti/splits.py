"""Split lists: which frames a command works on, by file or by published name."""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from xdistill.manifests import environment, loader
from xdistill.manifests.disk import PathLike, TextError, as_path, read_text, reading_remedy
from xdistill.manifests.download import cache_folder, fetch
from xdistill.manifests.progress import note
from xdistill.pipeline.kitti.errors import SplitError
from xdistill.pipeline.kitti.frames import CAMERAS, EXAMPLE, Frame, drives_in, find_frames
from xdistill.pipeline.kitti.split_lines import Reading, read_line

TRAINING_SPLIT = "kitti-eigen-zhou-train"
"""What xd-train trains on unless told otherwise: the published set-up."""
EVERYTHING = "all"
"""Given as split: every frame found."""


def read_split(path: PathLike) -> list[Frame]:
    """Read a split file, one frame a line; blank lines and comments (#) are skipped.

    Lines in another form than ``date/drive 50 l`` are read where they can be read in one way only
    (``split_lines``), and a note says how.

    Raises:
        SplitError: The file is missing, no file or empty, or a line names no frame (its number
            is given).
        TextError: It is not UTF-8.
    """
    file = as_path(path)
    try:
        lines = read_text(file).split("\n")
    except OSError as error:
        raise SplitError(
            f"the split cannot be read ({error.strerror})",
            expected="a text file with one frame a line",
            where=file,
            remedy=reading_remedy(error, "check the path"),
        ) from error
    frames = _frames(lines, file)
    if not frames:
        raise SplitError(
            "the split is empty",
            expected=f"one frame a line: {EXAMPLE}",
            where=file,
            remedy="give another split",
        )
    return frames


def _frames(lines: Sequence[str], file: Path) -> list[Frame]:
    read = {
        number: _read(line, number, file)
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    }
    other = next((number for number, reading in read.items() if not reading.usual), None)
    if other is not None:
        line = lines[other - 1].strip()
        note(f"note: {file.name}: line {other}, {line}, is read as {read[other].frame}")
    assumed = sum(not reading.camera_named for reading in read.values())
    if assumed:
        note(
            f"note: {file.name}: {assumed} of {len(read)} lines name no camera: "
            "assumed is the left one (l)"
        )
    return [reading.frame for reading in read.values()]


def _read(line: str, number: int, path: Path) -> Reading:
    try:
        return read_line(line)
    except SplitError as error:
        raise SplitError(
            f"line {number}: {error.headline}",
            expected=f"date/drive, frame number, l or r: {EXAMPLE}; or the path of an image",
            where=path,
            remedy="correct the line",
        ) from None


def resolve_split(name_or_path: str) -> Path:
    """The file of a split, given by published name or by path.

    A published list is read from the folder in XDISTILL_SPLITS, else from the cache folder, into
    which it is downloaded if need be; its sha256 is checked each time. Line ends of one's own copy
    may be those of Windows.

    Raises:
        SplitError: Neither a published name nor an existing file.
        FetchError: The published list could not be downloaded, or the file differs from it.
    """
    known = loader.names("splits")
    if name_or_path not in known:
        path = as_path(name_or_path)
        # Whatever has the name: what is no file, or may not be read, says so when it is read.
        if os.path.lexists(path):
            return path
        raise SplitError(
            f"there is no split {name_or_path!r}",
            expected=f"the path of a split file, or one of {', '.join(known)}",
            where=path.absolute(),
            remedy="check the spelling",
        )
    manifest = loader.load("splits", name_or_path)
    own_folder = environment.folder(environment.SPLITS)
    own = own_folder / str(manifest["file"]) if own_folder else None
    if own is None or not own.is_file():
        target = cache_folder() / "splits" / str(manifest["file"])
    elif _same_text(own, manifest["sha256"]):
        return own
    else:
        target = own
    return fetch(manifest["address"], target, sha256=manifest["sha256"])


def _same_text(path: Path, digest: str) -> bool:
    """Whether a user's own copy is the published list, whatever ends its lines."""
    try:
        return sha256(read_text(path).encode()).hexdigest() == digest
    except (OSError, TextError):
        return False


def load_split(name_or_path: str) -> list[Frame]:
    """Read the frames of a split given by published name or by path.

    Raises:
        SplitError: The split is unknown, empty or malformed.
        FetchError: A published list could not be downloaded.
    """
    return read_split(resolve_split(name_or_path))


def list_frames(split: PathLike) -> list[Frame]:
    """The frames of a split, or all frames of a KITTI raw folder.

    Args:
        split: Published name (``kitti-eigen-test``), split file, or KITTI raw root, of which the
            frames of both colour cameras are listed, sorted.

    Raises:
        SplitError: The split is unknown, empty or malformed.
        FetchError: The published list could not be downloaded.
        KittiError: The folder holds no frame.
    """
    path = as_path(split)
    if path.is_dir():
        return find_frames(path, drives=None, cameras=list(CAMERAS))
    known = loader.names("splits")
    if not path.exists() and str(split) not in known:
        raise SplitError(
            f"there is no KITTI raw root and no split {str(split)!r}",
            expected=f"a KITTI raw root, a split file, or one of {', '.join(known)}",
            where=path.absolute(),
            remedy="correct the path, or the name of the split",
        )
    return load_split(str(path))


def assumed_split(root: PathLike) -> str | None:
    """The training split, where the folder has all of its drives; None takes every frame found.

    A bare ``segment`` then labels exactly what a bare ``xd-train`` asks for.
    """
    wanted = {
        f"{date}/{date}_drive_{number}_sync"
        for date, numbers in loader.load("splits", TRAINING_SPLIT)["drive_numbers"].items()
        for number in numbers
    }
    found = wanted.intersection(drives_in(root))
    if found == wanted:
        note(
            f"assumed: --split {TRAINING_SPLIT} with its cameras, since its drives are all here; "
            f"--split {EVERYTHING} takes every frame found"
        )
        return TRAINING_SPLIT
    if found:
        note(
            f"note: of the {len(wanted)} drives of {TRAINING_SPLIT}, on which xd-train trains by "
            f"default, {len(found)} are here: give xd-train a --split or --drive too"
        )
    return None
