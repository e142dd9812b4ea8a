"""Read images, and notice the truncated ones; write pictures.

OpenCV silently fills what a truncated file lacks with grey, so whole files are checked here first.
"""

import os
import re
import struct
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xdistill.manifests import png
from xdistill.manifests.disk import (
    PathLike,
    as_path,
    open_regular,
    read_bytes,
    reading_remedy,
    unwritable,
    write,
)
from xdistill.manifests.errors import OutputError
from xdistill.pipeline.kitti.errors import ImageError

DOWNLOAD = "download this file again"
JPEG_START = b"\xff\xd8"
JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
"""A marker within entropy-coded data: stuffed zeros and restart markers belong to the data."""
END_OF_IMAGE = 0xD9
FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers of a frame header, which holds the size (ITU-T T.81, Table B.1)."""
MOST_PIXELS_PER_BYTE = {png.SIGNATURE: 8 * 1032, JPEG_START: 8 * 64}
"""Deflate makes 1032 bytes at most of one, of 8 pixels each; a JPEG spends at least one bit on a
block of 64 pixels. A header that declares more is wrong, and would take its size in memory.
"""


def read_image(path: PathLike) -> NDArray[np.uint8]:
    """Decode a PNG or JPEG file to RGB of shape (height, width, 3).

    Raises:
        ImageError: The file is missing, truncated, neither PNG nor JPEG, or a PNG with a wrong
            checksum.
    """
    file = as_path(path)
    data = _read_whole(file)
    # Orientation is ignored so that the decoded size is the header's.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise _error(file, f"cannot be decoded ({error.err})") from error
    if image is None:
        raise _error(file, "cannot be decoded")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def whole_size(path: PathLike) -> tuple[int, int]:
    """Height and width in pixels of a file that ``read_image`` would not find damaged.

    Its pixels are not decoded, which takes most of the time that reading an image does.

    Raises:
        ImageError: The file is missing, truncated, neither PNG nor JPEG, or a PNG with a wrong
            checksum.
    """
    file = as_path(path)
    return _declared_size(BytesIO(_read_whole(file)))


def as_image(image: PathLike | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The RGB image (height, width, 3) of a file, or the array itself.

    Args:
        image: PNG or JPEG file, or RGB (height, width, 3) uint8; a Pillow image will do.

    Raises:
        ImageError: The file is missing or damaged, or the array is not an RGB image.
    """
    if isinstance(image, str | os.PathLike):
        return read_image(as_path(image))
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ImageError(
            f"the image is an array of {array.dtype} and shape {array.shape}",
            expected="RGB of shape (height, width, 3), uint8 from 0 to 255",
            remedy="convert it: channels last, values times 255 where they lie between 0 and 1",
        )
    return array


def read_at_size(path: PathLike, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode an image and resize it, in the one way of training and evaluation.

    Args:
        path: PNG or JPEG.
        size: Height and width in pixels.

    Returns:
        RGB of shape (height, width, 3), by Lanczos' filter as Pillow has it: the pixels that
        Monodepth2's published networks were trained and scored on.

    Raises:
        ImageError: Missing, truncated, or not an image.
    """
    return resize(read_image(path), size)


def resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize RGB (height, width, 3) to ``size`` (height, width), as ``read_at_size`` does."""
    height, width = size
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    # A copy: torch wants memory that it may write.
    return np.array(resized)


def image_size(path: PathLike) -> tuple[int, int]:
    """Height and width in pixels, from the header alone.

    Raises:
        ImageError: The file is missing, neither PNG nor JPEG, ends within its header, or declares
            a size that it cannot hold.
    """
    found = as_path(path)
    try:
        with os.fdopen(open_regular(found), "rb") as file:
            return _declared_size(file)
    except OSError as error:
        raise _unreadable(found, error) from error
    except ValueError as error:
        raise _error(found, str(error)) from error


def _declared_size(file: BinaryIO) -> tuple[int, int]:
    """Height and width by the header; ValueError says, as a predicate, why there are none."""
    start = file.read(24)
    form = next((mark for mark in MOST_PIXELS_PER_BYTE if start.startswith(mark)), None)
    if form is None:
        raise ValueError("is neither PNG nor JPEG" if start else "is empty")
    try:
        height, width = _png_size(start) if form == png.SIGNATURE else _jpeg_size(file)
    except struct.error:
        raise ValueError("has no complete PNG or JPEG header") from None
    length = file.seek(0, os.SEEK_END)
    if not 0 < height * width <= MOST_PIXELS_PER_BYTE[form] * length:
        raise ValueError(f"declares {width}x{height} pixels, in a file of {length} bytes")
    return height, width


def _png_size(start: bytes) -> tuple[int, int]:
    width, height = struct.unpack(">II", start[16:])
    return height, width


def _jpeg_size(file: BinaryIO) -> tuple[int, int]:
    file.seek(len(JPEG_START))
    while True:
        marker, length = struct.unpack(">xBH", file.read(4))
        if marker in FRAME_HEADERS:
            height, width = struct.unpack(">xHH", file.read(5))
            return height, width
        file.seek(length - 2, os.SEEK_CUR)


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """An RGB (H, W, 3) or single-channel (H, W) uint8 array as PNG."""
    pixels = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", pixels)[1].tobytes()


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture as PNG in one step; a link of that name is replaced, not followed.

    Args:
        path: Where; its name ends in .png.
        picture: RGB (H, W, 3) or single-channel (H, W), uint8.

    Raises:
        OutputError: The folder is missing or cannot be written, or the name does not end in .png.
    """
    if path.suffix.lower() != ".png":
        raise OutputError(
            f"the name {path.name} does not end in .png", where=path, remedy="give a name that does"
        )
    try:
        write(path, [encode_png(picture)])
    except OSError as error:
        raise unwritable(path, error.strerror) from error


def _read_whole(file: Path) -> bytes:
    """The bytes of an image in which nothing is missing or damaged, as far as they tell."""
    try:
        data = read_bytes(file)
    except OSError as error:
        raise _unreadable(file, error) from error
    reason = _damage(data)
    if reason is not None:
        raise _error(file, reason)
    return data


def _damage(data: bytes) -> str | None:
    """What is wrong with an encoded image; None for a whole PNG or JPEG."""
    try:
        if data.startswith(png.SIGNATURE):
            # To the last, each with its checksum.
            for _ in png.read_chunks(data):
                pass
        elif data.startswith(JPEG_START) and not _has_jpeg_end(data):
            return f"is truncated: {len(data)} bytes, no end marker"
        _declared_size(BytesIO(data))
    except ValueError as error:
        return str(error)
    return None


def _has_jpeg_end(data: bytes) -> bool:
    """Walk the segments and scans to the end-of-image marker.

    A thumbnail in a header has its own end marker, so searching for its bytes is not enough.
    """
    position = 2
    while match := JPEG_MARKER.search(data, position):
        marker = match[1][0]
        if marker == END_OF_IMAGE:
            return True
        position = match.end()
        if position + 2 > len(data):
            return False
        position += struct.unpack_from(">H", data, position)[0]
    return False


def _unreadable(path: Path, error: OSError) -> ImageError:
    remedy = reading_remedy(error, DOWNLOAD)
    return _error(path, f"cannot be read ({error.strerror})", remedy=remedy)


def _error(path: Path, reason: str, *, remedy: str = DOWNLOAD) -> ImageError:
    return ImageError(
        f"{path.name} {reason}", expected="a whole PNG or JPEG image", where=path, remedy=remedy
    )
