from xml.etree import ElementTree

import pytest

from xdistill.pipeline.demo.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    fitted,
    line_chart,
    scatter_chart,
    ticks,
)

LINES = {"baseline": [(0.0, 1.0), (10.0, 3.0)], "distilled": [(0.0, 2.0), (10.0, 1.5)]}


def test_axes_hold_every_point_and_use_the_whole_chart() -> None:
    axes = fitted(LINES, x_name="x", y_name="y")
    assert axes.place(axes.x[0], axes.y[0]) == (LEFT, HEIGHT - BOTTOM)
    assert axes.place(axes.x[1], axes.y[1]) == (WIDTH - RIGHT, TOP)
    assert axes.x == (0, 10) and axes.y[0] < 1 and axes.y[1] > 3


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-3, 5, [-2, 0, 2, 4]), (1, 800, [200, 400, 600, 800])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected


def test_charts_are_well_formed_and_name_their_axes() -> None:
    for chart in (line_chart, scatter_chart):
        root = ElementTree.fromstring(chart(LINES, x_name="a < b", y_name="loss"))
        words = [element.text for element in root.iter("text")]
        assert {"a < b", "loss", "baseline", "distilled"} <= set(words)


def test_a_line_has_its_points_and_a_scatter_its_dots() -> None:
    assert line_chart(LINES, x_name="", y_name="").count("<polyline") == 2
    assert scatter_chart(LINES, x_name="", y_name="").count("<circle") == 4


def test_one_point_and_equal_values_are_drawn() -> None:
    single = {"baseline": [(1.0, 1.0)]}
    assert "<circle" in scatter_chart(single, x_name="", y_name="")
