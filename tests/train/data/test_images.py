from pathlib import Path

import cv2
import numpy as np
import pytest

from xdistill.pipeline.kitti.errors import ImageError
from xdistill.train.data.images import read_at_size, resize


def test_shrinking_by_two_averages_four_pixels() -> None:
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    blocks = image.reshape(2, 2, 3, 2, 3).astype(float).mean((1, 3))
    assert np.abs(resize(image, (2, 3)) - blocks).max() <= 0.5


def test_same_size_is_the_same_and_enlarging_is_bilinear() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, 1] = 100
    np.testing.assert_array_equal(resize(image, (2, 2)), image)
    assert resize(image, (2, 4))[0, :, 0].tolist() == [0, 25, 75, 100]


def test_file_is_read_as_rgb_at_its_size(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.full((8, 12, 3), (30, 20, 10), np.uint8))
    image = read_at_size(path, (4, 6))
    assert image.shape == (4, 6, 3) and image[0, 0].tolist() == [10, 20, 30]


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.full((8, 12, 3), 7, np.uint8))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImageError, match="image.png"):
        read_at_size(path, (4, 6))
