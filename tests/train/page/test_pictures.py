"""Depth as colours, and pictures inside the page."""

import base64

import cv2
import numpy as np

from xdistill.train.page.pictures import data_address, depth_bar, depth_colours, enlarge


def test_near_is_brighter_than_far_and_no_depth_is_black() -> None:
    colours = depth_colours(np.array([[4.0, 20.0, 79.0, 0.0]], np.float32))
    brightness = colours.astype(int).sum(axis=2)[0]
    assert brightness[0] > brightness[1] > brightness[2] >= 0 and brightness[3] == 0


def test_the_colour_bar_shows_the_colour_of_each_depth() -> None:
    bar = depth_bar()
    assert bar.marks[0] == (0, "4 m") and bar.marks[-1] == (100, "80 m")
    # Where it is 4, 20 and 80 m: log 5 of log 20.
    assert dict((text, place) for place, text in bar.marks)["20 m"] == 53.7
    nearest = tuple(depth_colours(np.array([[4.0]], np.float32))[0, 0].tolist())
    assert bar.gradient.startswith(f"linear-gradient(to right, rgb{nearest}, ")


def test_a_data_address_holds_the_picture(rng: np.random.Generator) -> None:
    picture = rng.integers(0, 256, (3, 5, 3), np.uint8)
    kind, _, content = data_address(picture).partition(",")
    assert kind == "data:image/png;base64"
    encoded = np.frombuffer(base64.b64decode(content), np.uint8)
    decoded = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(decoded, picture)
    assert enlarge(picture).shape == (6, 10, 3)
