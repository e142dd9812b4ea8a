"""Noise and patterns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdistill.pipeline.street.noise import (
    band,
    fractal2,
    hash_unit,
    smooth,
    stripes,
    value2,
    value3,
)

INTEGERS = st.integers(-(2**30), 2**30)
NUMBERS = st.floats(-1e4, 1e4)


@given(INTEGERS, INTEGERS, INTEGERS, INTEGERS)
def test_a_hash_is_a_share(x: int, y: int, z: int, seed: int) -> None:
    assert 0 <= hash_unit(x, y, z, seed) < 1
    assert hash_unit(x, y, z, seed) == hash_unit(x, y, z, seed)


def test_hashes_are_even_and_unrelated() -> None:
    values = np.array([[hash_unit(x, y, 0, 7) for x in range(100)] for y in range(100)])
    assert abs(values.mean() - 0.5) < 0.01
    assert abs(values.var() - 1 / 12) < 0.003
    for shifted in (values[1:, :].ravel(), values[:-1, :].ravel()):
        assert abs(np.corrcoef(shifted, values[1:, ::-1].ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(values[:, 1:].ravel(), values[:, :-1].ravel())[0, 1]) < 0.05


@given(NUMBERS, NUMBERS, INTEGERS)
def test_value_noise_is_continuous_and_meets_its_lattice(u: float, v: float, seed: int) -> None:
    assert 0 <= value2(u, v, seed) <= 1
    assert abs(value2(u, v, seed) - value2(u + 1e-5, v - 1e-5, seed)) < 1e-4
    assert abs(value3(u, v, u, seed) - value3(u, v + 1e-5, u + 1e-5, seed)) < 1e-4
    i, j = int(u), int(v)
    assert value2(float(i), float(j), seed) == pytest.approx(hash_unit(i, j, 0, seed))


def test_octaves_below_the_footprint_vanish() -> None:
    assert fractal2(0.3, 0.7, 1, 1.0, 4, 2.0) == 0.0
    values = np.array([fractal2(u, 0.37 * u, 3, 1.0, 4, 0.0) for u in np.arange(0, 400, 0.31)])
    assert abs(values.mean()) < 0.05
    assert 0.1 < values.std() < 0.5
    assert np.abs(values).max() < 1


def test_stripes_by_hand() -> None:
    assert stripes(0.2, 0.3, 0.0) == 1.0
    assert stripes(0.31, 0.3, 0.0) == 0.0
    assert stripes(-0.9, 0.3, 0.0) == 1.0
    assert stripes(0.3, 0.3, 0.2) == pytest.approx(0.5)
    assert stripes(5.5, 0.3, 1.0) == pytest.approx(0.3)


@given(NUMBERS, st.floats(0.05, 0.95), st.floats(0.01, 3.0))
def test_stripes_are_the_mean_of_sharp_ones(u: float, duty: float, blur: float) -> None:
    fine = u + (np.arange(400) + 0.5) / 400 * blur - blur / 2
    sharp = np.mean([stripes(position, duty, 0.0) for position in fine])
    assert stripes(u, duty, blur) == pytest.approx(sharp, abs=0.01)


def test_band_and_smooth_by_hand() -> None:
    assert band(0.5, 0.0, 1.0, 0.0) == 1.0
    assert band(1.5, 0.0, 1.0, 0.0) == 0.0
    assert band(1.0, 0.0, 1.0, 0.5) == pytest.approx(0.5)
    assert band(0.5, 0.4, 0.6, 1.0) == pytest.approx(0.2)
    assert [smooth(1, 3, x) for x in (0, 1, 2, 3, 9)] == [0, 0, 0.5, 1, 1]
