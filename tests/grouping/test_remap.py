"""Remap equals the table read pixel by pixel, for every scheme, shape and real label map."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from xdistill.grouping.remap import remap
from xdistill.grouping.scheme import Scheme, load_scheme

OWN = Scheme(
    name="own",
    groups=("a", "b", "c"),
    table=tuple(i % 3 for i in range(19)),
    colours=((1, 2, 3),) * 3,
)
SCHEMES = [load_scheme("4"), load_scheme("2"), load_scheme("19"), OWN]


def by_hand(labels: NDArray[np.uint8], scheme: Scheme) -> list[int]:
    """The table, one pixel at a time."""
    return [scheme.table[label] if label < 19 else 255 for label in labels.ravel().tolist()]


@given(
    labels=arrays.arrays(np.uint8, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0)),
    scheme=st.sampled_from(SCHEMES),
)
def test_any_shape(labels: NDArray[np.uint8], scheme: Scheme) -> None:
    before = labels.copy()
    groups = remap(labels, scheme)
    assert groups.shape == labels.shape and groups.dtype == np.uint8
    assert groups.ravel().tolist() == by_hand(labels, scheme)
    assert np.array_equal(labels, before)


def test_strided_view(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 19, (8, 10), np.uint8)[::2, ::3]
    assert remap(labels, OWN).ravel().tolist() == by_hand(labels, OWN)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_real_labels(shared: Path, scheme: Scheme) -> None:
    folder = shared / "kitti_labels_espnetv2/2011_09_26/2011_09_26_drive_0013_sync/image_02"
    for path in sorted(folder.glob("*.png"))[:2]:
        labels = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), np.uint8)
        assert len(np.unique(labels)) > 5
        assert remap(labels, scheme).ravel().tolist() == by_hand(labels, scheme)


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="int64"):
        remap(np.zeros((2, 2), np.int64), OWN)  # type: ignore[arg-type]


def test_grouping_does_not_import_torch() -> None:
    code = (
        "import sys, xdistill.grouping.remap, xdistill.grouping.scheme;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
