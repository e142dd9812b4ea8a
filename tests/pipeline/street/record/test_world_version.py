"""The world's version number is raised whenever the same seed gives another street."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from xdistill.pipeline.street.record.drive import Drive
from xdistill.pipeline.street.record.folder import RECORD, WORLD_VERSION
from xdistill.pipeline.street.render.camera import Picture

WORLDS = {1: "3ff599fc73d8f0a5"}
"""What every version of the world looks like: a new line for each, never another digest for one."""


def decimals(values: NDArray[np.float64]) -> bytes:
    """Six decimals of double precision numbers.

    Processors differ in the last bits: numpy and the C library choose their sines and exponentials
    by instruction set. Pixels, labels, 1/256 m and the single precision of a scan hide that; the
    numbers that are stored in full do not.
    """
    # Adding zero: rounding leaves -0.0 on one processor and 0.0 on another.
    return bytes((np.round(values, 6) + 0.0).tobytes())


def of_disk(street: Path) -> Iterator[bytes]:
    """Names and contents of a street's files, images decoded: PNG has many encodings of one."""
    for path in sorted(path for path in street.rglob("*") if path.is_file()):
        if path.name == RECORD:
            continue
        yield str(path.relative_to(street)).encode()
        if path.suffix == ".png":
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert image is not None
            yield image.tobytes()
        elif path.parent.parent.name == "oxts":
            yield decimals(np.array(path.read_text().split(), float))
        else:
            yield path.read_bytes()


def of_drives(drives: list[Drive], pictures: list[Picture]) -> Iterator[bytes]:
    """Everything that stands or moves in six drives, seen or not, and a picture of each."""
    for drive, picture in zip(drives, pictures, strict=True):
        solids = drive.scene(0).solids
        for field in solids.dtype.names or ():
            yield decimals(solids[field].astype(float))
        yield from (picture.image.tobytes(), picture.labels.tobytes())


def test_another_street_has_another_version(
    street: Path, drives: list[Drive], first_pictures: list[Picture]
) -> None:
    digest = hashlib.sha256()
    for part in (*of_disk(street), *of_drives(drives, first_pictures)):
        digest.update(part)
    assert WORLDS[WORLD_VERSION] == digest.hexdigest()[:16], (
        "the same seed gives another street: raise WORLD_VERSION and add its digest to WORLDS"
    )
    assert max(WORLDS) == WORLD_VERSION
