import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from xdistill.train.data.augment import (
    NOTHING,
    Augmentation,
    Jitter,
    apply_jitter,
    draw_augmentation,
    draw_jitter,
    jittered,
    mirror_intrinsics,
    mirror_motion,
)

PIXELS = np.array([[[200, 100, 50], [10, 20, 30], [0, 255, 128]]], np.uint8)
ORDER = ("brightness", "contrast", "saturation", "hue")


def jitter(order: tuple[str, ...] = ORDER, **factors: float) -> Jitter:
    neutral = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    return Jitter(order=order, **(neutral | factors))


def luma(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    return pixels @ np.array([0.299, 0.587, 0.114])


def rounded(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def test_neutral_jitter_changes_nothing() -> None:
    assert np.abs(apply_jitter(PIXELS, jitter()).astype(int) - PIXELS).max() <= 1


def test_brightness_by_hand() -> None:
    found = apply_jitter(PIXELS, jitter(brightness=1.2))
    np.testing.assert_array_equal(found, rounded(PIXELS * 1.2))


def test_contrast_by_hand() -> None:
    found = apply_jitter(PIXELS, jitter(contrast=0.8))
    np.testing.assert_array_equal(found, rounded(0.8 * PIXELS + 0.2 * luma(PIXELS).mean()))


def test_saturation_by_hand() -> None:
    found = apply_jitter(PIXELS, jitter(saturation=1.2))
    expected = rounded(1.2 * PIXELS - 0.2 * luma(PIXELS)[..., None])
    np.testing.assert_array_equal(found, expected)


@given(st.tuples(*[st.integers(0, 255)] * 3), st.floats(-0.1, 0.1))
def test_hue_turns_as_colorsys_does(colour: tuple[int, int, int], share: float) -> None:
    found = apply_jitter(np.array([[colour]], np.uint8), jitter(hue=share))
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in colour))
    expected = np.array(colorsys.hsv_to_rgb((hue + share) % 1, saturation, value)) * 255
    np.testing.assert_allclose(found[0, 0], expected, atol=0.6)


def test_order_counts() -> None:
    factors = {"brightness": 1.2, "contrast": 0.8}
    swapped = ("contrast", "brightness", "saturation", "hue")
    first = apply_jitter(PIXELS, jitter(ORDER, **factors))
    second = apply_jitter(PIXELS, jitter(swapped, **factors))
    assert (first != second).any()


def test_grey_stays_grey_under_hue_and_saturation() -> None:
    grey = np.full((2, 2, 3), 77, np.uint8)
    np.testing.assert_array_equal(apply_jitter(grey, jitter(saturation=0.8, hue=0.1)), grey)


def test_draws_are_within_their_ranges_and_all_orders_occur() -> None:
    rng = np.random.default_rng(1)
    draws = [draw_jitter(rng) for _ in range(600)]
    for name in ("brightness", "contrast", "saturation"):
        values = [getattr(draw, name) for draw in draws]
        assert 0.8 <= min(values) < 0.81 and 1.19 < max(values) <= 1.2
    hues = [draw.hue for draw in draws]
    assert -0.1 <= min(hues) < -0.09 and 0.09 < max(hues) <= 0.1
    assert len({draw.order for draw in draws}) == 24


def test_flip_and_jitter_are_drawn_independently() -> None:
    rng = np.random.default_rng(2)
    draws = [
        draw_augmentation(rng, flip_probability=0.5, jitter_probability=0.5) for _ in range(400)
    ]
    pairs = [(draw.mirrored, draw.jitter is not None) for draw in draws]
    for pair in ((True, True), (True, False), (False, True), (False, False)):
        assert 70 < pairs.count(pair) < 130


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_certain_probabilities(probability: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        draw = draw_augmentation(
            rng, flip_probability=probability, jitter_probability=1 - probability
        )
        assert draw.mirrored == bool(probability)
        assert (draw.jitter is None) == bool(probability)


def test_one_jitter_for_the_whole_triplet() -> None:
    images = [PIXELS, PIXELS.copy(), PIXELS.copy()]
    found = jittered(images, Augmentation(mirrored=False, jitter=jitter(brightness=0.9)))
    assert (found[0] != PIXELS).any()
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(jittered(images, NOTHING)[2], PIXELS)


def test_mirrored_camera_sees_the_mirrored_point_in_the_mirrored_column() -> None:
    matrix = np.array([[50.0, 0, 7], [0, 60, 6], [0, 0, 1]])
    point = np.array([0.4, 0.2, 2.0])
    column = (matrix @ point)[0] / point[2]
    mirrored = mirror_intrinsics(matrix, width=16) @ (point * [-1, 1, 1])
    assert mirrored[0] / point[2] == pytest.approx(15 - column)


def test_mirrored_motion_moves_the_mirrored_point() -> None:
    angle = 0.3
    motion = np.eye(4)
    motion[:3, :3] = [
        [np.cos(angle), 0, np.sin(angle)],
        [0, 1, 0],
        [-np.sin(angle), 0, np.cos(angle)],
    ]
    motion[:3, 3] = [1.0, 2.0, 3.0]
    point = np.array([0.4, 0.2, 2.0, 1.0])
    mirror = np.array([-1, 1, 1, 1])
    np.testing.assert_allclose(mirror_motion(motion) @ (mirror * point), mirror * (motion @ point))
