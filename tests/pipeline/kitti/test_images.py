"""Images: decoded right, and every truncation noticed."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from material import Material
from PIL import Image

from xdistill.manifests import png
from xdistill.pipeline.kitti.errors import ImageError
from xdistill.pipeline.kitti.images import (
    as_image,
    image_size,
    read_at_size,
    read_image,
    resize,
    whole_size,
)


@pytest.fixture
def picture(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 255, (20, 31, 3), np.uint8)


def by_opencv(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None
    return image[..., ::-1]


def encoded(picture: np.ndarray, suffix: str, *options: int) -> bytes:
    return bytes(cv2.imencode(suffix, picture, options)[1])


def test_a_png_is_read_as_rgb(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture, ".png"))
    assert np.array_equal(read_image(path), picture[..., ::-1])
    assert image_size(path) == (20, 31)


@pytest.mark.parametrize(
    "options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 1)]
)
def test_jpegs_of_every_kind(tmp_path: Path, picture: np.ndarray, options: tuple[int]) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(picture, ".jpg", *options))
    assert np.array_equal(read_image(path), by_opencv(path))
    assert image_size(path) == (20, 31)


def test_grey_images_come_as_rgb(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture[..., 0], ".png"))
    assert np.array_equal(read_image(path), np.repeat(picture[..., :1], 3, axis=2))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_every_truncation_is_noticed(tmp_path: Path, picture: np.ndarray, suffix: str) -> None:
    data = encoded(picture, suffix)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"")
    with pytest.raises(ImageError, match="is empty"):
        read_image(path)
    end = len(data) - 13
    for length in [*range(1, 64), *range(64, end, 37), *range(end, len(data))]:
        path.write_bytes(data[:length])
        with pytest.raises(ImageError, match="truncated|neither PNG"):
            read_image(path)


def test_a_jpeg_thumbnails_end_is_not_the_images(tmp_path: Path, picture: np.ndarray) -> None:
    thumbnail = encoded(picture[:8, :8], ".jpg")
    data = encoded(picture, ".jpg")
    header = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:2] + header + data[2:-2])
    with pytest.raises(ImageError, match="truncated"):
        read_image(path)
    path.write_bytes(data[:2] + header + data[2:])
    assert read_image(path).shape == (20, 31, 3)
    assert image_size(path) == (20, 31)


@given(st.data())
def test_a_flipped_bit_in_a_png_is_noticed(data: st.DataObject) -> None:
    from xdistill.pipeline.kitti.images import _damage

    whole = bytearray(encoded(np.arange(60, dtype=np.uint8).reshape(4, 5, 3), ".png"))
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= 1 << data.draw(st.integers(0, 7))
    assert _damage(bytes(whole)) is not None


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("404: not found")
    with pytest.raises(ImageError, match="is neither PNG nor JPEG"):
        read_image(path)
    with pytest.raises(ImageError, match="is neither PNG nor JPEG"):
        image_size(path)


@pytest.mark.parametrize("function", [read_image, image_size])
def test_an_absent_file_is_refused(tmp_path: Path, function: object) -> None:
    assert callable(function)
    with pytest.raises(ImageError, match="cannot be read"):
        function(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_header_cut_short_has_no_size(tmp_path: Path, picture: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encoded(picture, suffix)[:22])
    with pytest.raises(ImageError, match="header"):
        image_size(path)


def test_a_huffman_table_before_the_frame_header(tmp_path: Path, picture: np.ndarray) -> None:
    data = encoded(picture, ".jpg")
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:2] + b"\xff\xc4\x00\x09" + bytes(7) + data[2:])
    assert image_size(path) == (20, 31)


def test_a_file_an_array_and_a_pillow_image_give_the_same_pixels(
    tmp_path: Path, picture: np.ndarray
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture[..., ::-1], ".png"))
    for image in (path, str(path), picture, Image.open(path)):
        assert np.array_equal(as_image(image), picture)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.zeros((20, 31), np.uint8), r"uint8 and shape \(20, 31\)"),
        (np.zeros((3, 20, 31), np.uint8), r"uint8 and shape \(3, 20, 31\)"),
        (np.zeros((20, 31, 3), np.float32), r"float32 and shape \(20, 31, 3\)"),
        (np.zeros((0, 31, 3), np.uint8), r"uint8 and shape \(0, 31, 3\)"),
        (None, "object and shape"),
        ("none.png", "none.png cannot be read"),
    ],
)
def test_what_is_no_rgb_image_is_refused(value: object, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        as_image(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("drive", ["0013", "0002"])
def test_real_images(material: Material, drive: str) -> None:
    folder = material.kitti / f"2011_09_26/2011_09_26_drive_{drive}_sync/image_02/data"
    path = min(folder.iterdir())
    assert np.array_equal(read_image(path), by_opencv(path))
    assert image_size(path) == (375, 1242)


def lanczos(position: float) -> float:
    """Lanczos' filter of three lobes: sinc(x) sinc(x / 3)."""
    return float(np.sinc(position) * np.sinc(position / 3)) if abs(position) < 3 else 0.0


def test_shrinking_by_two_weighs_twelve_pixels_as_lanczos_does() -> None:
    row = np.arange(24) * 10 % 251
    image = np.broadcast_to(row[None, :, None], (4, 24, 3)).astype(np.uint8)
    centre = 2 * 6 + 1  # of output pixel 6, in input pixels
    weights = np.array([lanczos((column + 0.5 - centre) / 2) for column in range(24)])
    expected = (weights * row).sum() / weights.sum()
    found = resize(image, (4, 12))[2, 6]
    assert np.abs(found - expected).max() <= 0.5 + 1e-3


def test_same_size_is_the_same_and_flat_colours_stay() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (6, 10, 3), np.uint8)
    assert np.array_equal(resize(image, (6, 10)), image)
    flat = np.full((6, 10, 3), (7, 130, 255), np.uint8)
    assert (resize(flat, (17, 4)) == flat[:1, :1]).all()


def test_file_is_read_as_rgb_at_its_size(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.full((8, 12, 3), (30, 20, 10), np.uint8))
    image = read_at_size(path, (4, 6))
    assert image.shape == (4, 6, 3) and image[0, 0].tolist() == [10, 20, 30]


def test_a_truncated_file_is_refused_at_any_size(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.full((8, 12, 3), 7, np.uint8))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImageError, match="image.png"):
        read_at_size(path, (4, 6))


def declaring(data: bytes, width: int, height: int) -> bytes:
    """The same file with another size in its header, checksum included."""
    if data.startswith(b"\xff\xd8"):
        at = data.index(b"\xff\xc0") + 5
        return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]
    chunks = list(png.read_chunks(data))
    header = struct.pack(">II", width, height) + bytes(chunks[0][1][8:])
    rest = b"".join(png.encode_chunk(name, content) for name, content in chunks[1:])
    return png.SIGNATURE + png.encode_chunk(b"IHDR", header) + rest


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("size", [(0, 20), (31, 0), (60_000, 50_000)])
@pytest.mark.parametrize("function", [read_image, image_size, whole_size])
def test_a_size_that_the_file_cannot_hold_is_refused(
    tmp_path: Path, picture: np.ndarray, suffix: str, size: tuple[int, int], function: object
) -> None:
    assert callable(function)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(declaring(encoded(picture, suffix), *size))
    with pytest.raises(ImageError, match=f"declares {size[0]}x{size[1]} pixels, in a file of"):
        function(path)


@pytest.mark.parametrize(
    ("suffix", "options"), [(".png", (cv2.IMWRITE_PNG_COMPRESSION, 9)), (".jpg", ())]
)
def test_pictures_of_one_colour_are_small_and_whole(
    tmp_path: Path, suffix: str, options: tuple[int, ...]
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encoded(np.zeros((1024, 2048), np.uint8), suffix, *options))
    assert image_size(path) == whole_size(path) == read_image(path).shape[:2] == (1024, 2048)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_size_of_a_whole_file_needs_the_whole_file(
    tmp_path: Path, picture: np.ndarray, suffix: str
) -> None:
    data = encoded(picture, suffix)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    assert whole_size(path) == (20, 31)
    path.write_bytes(data[:-20])
    with pytest.raises(ImageError, match="truncated"):
        whole_size(path)
