"""Existing labels: a folder of PNG files, one per frame."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from xdistill.grouping.classes import IGNORE_INDEX, cityscapes
from xdistill.manifests import png
from xdistill.manifests.disk import read_bytes, reading_remedy
from xdistill.teachers.protocol import (
    FrameLabelError,
    Ids,
    Prediction,
    Record,
    TeacherError,
    fingerprint_of,
)

GREY, PALETTE = 0, 3
LAYOUT = "*/*/image_0[23]/[!.]*.png"
"""Where label maps lie; a folder without any is probably mistyped."""
LABEL_IDS = 34
"""Cityscapes label ids run from 0 to 33."""
VOID, ROAD, BEYOND_TRAIN_IDS = slice(0, 7), 7, slice(19, IGNORE_INDEX)
"""Label ids: what is no class, the road, and what train ids do not reach."""
SAMPLED = 32
"""Label maps that are read before any frame is labelled, spread over the folder: a tenth of a
second, however large it is.
"""
PLACE = ("folder", "sample_sha256")
"""Keys of a record that tell one folder from another; the others say how it is read."""

Item = TypeVar("Item")


class PngTeacher:
    """Reads ``<folder>/<key>.png``: 8-bit grey or palette PNG of ids at the frame's own size.

    Its fingerprint is the same wherever the folder lies. It holds a digest of a few label maps, so
    that it also changes when maps are added: whether labels are those of a store is told by
    comparing them (``pipeline.labelling.identity``).
    """

    def __init__(self, folder: Path, *, ids: Ids = "train") -> None:
        if not folder.is_dir() or next(folder.glob(LAYOUT), None) is None:
            raise TeacherError(
                f"the folder {'holds no label maps' if folder.is_dir() else 'does not exist'}",
                expected="label maps as <date>/<drive>/image_02/<10 digits>.png",
                where=folder.absolute(),
                remedy="correct the path after png:",
            )
        self._folder = folder
        self._ids = ids
        some = dict(readable(_sampled(folder)))
        if ids == "label":
            require_label_ids(some.values(), where=folder)
        self.record: Record = {
            "kind": "png",
            "folder": str(folder.resolve()),
            "ids": ids,
            "sample_sha256": _digest(some, folder),
            "classes": list(cityscapes().names),
        }
        moved = {key: value for key, value in self.record.items() if key != "folder"}
        self.fingerprint = fingerprint_of(moved)
        self.calls_at_once = 1
        self.reads_pixels = False

    def check_size(self, height: int, width: int) -> None:
        """Accept any size: each frame's label map is compared with its frame."""

    def label(self, images: Sequence[NDArray[np.uint8]], keys: Sequence[str]) -> Prediction:
        """Read the label map of every frame; the images only give the expected size.

        Raises:
            FrameLabelError: A label map is missing, damaged, of another size or form, or holds
                numbers that are not ids.
        """
        maps = [
            read_label_map(
                self._folder / f"{key}.png",
                key=key,
                ids=self._ids,
                size=(image.shape[0], image.shape[1]),
            )
            for image, key in zip(images, keys, strict=True)
        ]
        return Prediction(classes=np.stack(maps))


def read_alike(one: Record, other: Record) -> bool:
    """Whether two records are of PNG folders, perhaps different ones, that are read in one way."""
    ways = [{k: v for k, v in record.items() if k not in PLACE} for record in (one, other)]
    return ways[0].get("kind") == "png" and ways[0] == ways[1]


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of the items, evenly spread over them."""
    count = min(most, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def readable(paths: Iterable[Path]) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    """The label maps that can be read, with their ids; the frames of others fail alone, later."""
    for path in paths:
        with suppress(OSError, ValueError):
            yield path, read_ids(read_bytes(path))


def _digest(maps: Mapping[Path, NDArray[np.uint8]], folder: Path) -> str:
    """The sha256 of label maps: of their names in the folder, their sizes and their ids."""
    digest = hashlib.sha256()
    for path, ids in maps.items():
        name = path.relative_to(folder).as_posix()
        digest.update(f"{name} {ids.shape}\n".encode(errors="surrogateescape"))
        digest.update(ids.tobytes())
    return digest.hexdigest()


def _sampled(folder: Path) -> Iterator[Path]:
    """Some label maps of some drives: no more folders are listed than files are read."""
    sequences = spread(sorted(folder.glob(str(Path(LAYOUT).parent))), SAMPLED)
    for sequence in sequences:
        yield from spread(sorted(sequence.glob(Path(LAYOUT).name)), -(-SAMPLED // len(sequences)))


def require_label_ids(maps: Iterable[NDArray[np.uint8]], *, where: Path) -> None:
    """Refuse train ids where label ids were announced: both are small numbers.

    Read as label ids, the train ids of a street are void (0 to 6) for 13 to 88 % of a map, hardly
    ever road, and never beyond 18. Of 779 real maps, the label ids lay beyond 18 for at least 12 %.

    Args:
        maps: Ids of some label maps, (height, width) each.
        where: Their folder, named in the message.

    Raises:
        TeacherError: No street has such label ids.
    """
    pixels = sum((np.bincount(ids.ravel(), minlength=256) for ids in maps), np.zeros(256, int))
    void, road = (pixels[ids].sum() / max(pixels.sum(), 1) for ids in (VOID, ROAD))
    if not pixels[BEYOND_TRAIN_IDS].any() and void >= 0.1 and road < 0.1:
        raise TeacherError(
            f"read as label ids, the label maps are void for {void:.0%} of their pixels and road "
            f"for {road:.0%}",
            expected="Cityscapes label ids: 7 is the road, and a street has ids above 18 "
            "(21 vegetation, 23 sky, 26 car)",
            where=where.absolute(),
            remedy="leave out --ids label: these look like train ids",
        )


def read_label_map(path: Path, *, key: str, ids: Ids, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Read one label map as train ids or 255, (height, width).

    Args:
        path: An 8-bit grey or palette PNG of ids.
        key: Its frame, named in the message.
        ids: What the numbers in it are.
        size: Height and width that it must have, in pixels.

    Raises:
        FrameLabelError: It is missing, damaged, of another size or form, or holds numbers that
            are not ids.
    """
    try:
        content = read_bytes(path)
        # Before the pixels are decoded: a damaged size could ask for any memory.
        declared = png.declared_size(content)
        found = read_ids(content) if declared == size else None
    except FileNotFoundError:
        raise FrameLabelError(
            "the frame has no label map", key=key, where=path, remedy="add the file"
        ) from None
    except (OSError, ValueError) as error:
        reason, remedy = str(error), "write the file again"
        if isinstance(error, OSError):
            reason = f"cannot be read ({error.strerror})"
            remedy = reading_remedy(error, remedy)
        raise FrameLabelError(
            f"the label map {reason}",
            key=key,
            expected="an 8-bit PNG with one channel of ids",
            where=path,
            remedy=remedy,
        ) from error
    if found is None:
        raise FrameLabelError(
            f"the label map is {declared[1]}x{declared[0]}",
            key=key,
            expected=f"the frame's own size, {size[1]}x{size[0]}",
            where=path,
            remedy="resize it by nearest neighbour, or give the folder made from these frames",
        )
    return _train_ids(found, key=key, ids=ids, where=path)


def _train_ids(found: NDArray[np.uint8], *, key: str, ids: Ids, where: Path) -> NDArray[np.uint8]:
    converted = id_table(ids)[found]
    if (converted < 0).any():
        named = ", ".join(map(str, np.unique(found[converted < 0])))
        expected = f"0-{LABEL_IDS - 1}" if ids == "label" else "0-18"
        raise FrameLabelError(
            f"the label map holds ids {named}",
            key=key,
            expected=f"{ids} ids {expected}, or {IGNORE_INDEX} (ignore)",
            where=where,
            remedy="correct the ids" if ids == "label" else "add --ids label if they are label ids",
        )
    return converted.astype(np.uint8)


@cache
def id_table(ids: Ids) -> NDArray[np.int16]:
    """Look-up table (256,) from ids to train ids or 255; -1 marks numbers that are not ids."""
    table = np.full(256, -1, np.int16)
    table[IGNORE_INDEX] = IGNORE_INDEX
    if ids == "label":
        table[:LABEL_IDS] = cityscapes().from_label_ids()[:LABEL_IDS]
    else:
        count = len(cityscapes().names)
        table[:count] = np.arange(count)
    return table


def read_ids(content: bytes) -> NDArray[np.uint8]:
    """Decode a PNG of ids, (height, width) uint8; a palette's indices are the ids.

    Raises:
        ValueError: Cut short, damaged, or not 8 bits in one channel.
    """
    png.declared_size(content)
    # OpenCV would turn a palette into colours; declared grey, the same pixels are the indices.
    plain = png.SIGNATURE + b"".join(
        png.encode_chunk(name, _as_grey(bytes(data)) if name == b"IHDR" else data)
        for name, data in png.read_chunks(content)
        if name in (b"IHDR", b"IDAT", b"IEND")
    )
    try:
        ids = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        ids = None
    if ids is None or ids.dtype != np.uint8 or ids.ndim != 2:
        raise ValueError("is a PNG whose pixels cannot be decoded")
    return np.asarray(ids, np.uint8)


def _as_grey(header: bytes) -> bytes:
    depth, colour = header[8], header[9]
    if depth != 8 or colour not in (GREY, PALETTE):
        names = {GREY: "grey", 2: "RGB", PALETTE: "palette", 4: "grey with alpha", 6: "RGBA"}
        raise ValueError(f"is a PNG of {depth} bits, {names.get(colour, f'colour type {colour}')}")
    return header[:9] + bytes([GREY]) + header[10:]
