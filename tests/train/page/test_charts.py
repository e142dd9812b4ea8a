"""Charts are whole, name their axes, and leave their colours to the page."""

import re
from xml.etree import ElementTree

import pytest
from matplotlib import rc_context, rcParams

from xdistill.train.page.charts import GRID, INK, line_chart, scatter_chart

LINES = {"baseline": [(0.0, 1.0), (10.0, 3.0)], "distilled": [(0.0, 2.0), (10.0, 1.5)]}
COLOURS = {"baseline": "#7c8ba1", "distilled": "#e8590c"}
SVG = "{http://www.w3.org/2000/svg}"
CHARTS = pytest.mark.parametrize("chart", [line_chart, scatter_chart])


@CHARTS
def test_charts_are_well_formed_and_name_axes_and_series(chart: type[str]) -> None:
    root = ElementTree.fromstring(chart(LINES, colours=COLOURS, x_name="a < b", y_name="loss"))
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert {"a < b", "loss", "baseline", "distilled"} <= set(words)
    assert root.attrib["aria-label"] == "loss over a < b"


@CHARTS
def test_a_readers_own_style_changes_nothing(chart: type[str]) -> None:
    ours = chart(LINES, colours=COLOURS, x_name="x", y_name="y")
    own = {"font.size": 30, "xtick.major.size": 20, "legend.fontsize": 30, "axes.xmargin": 0.4}
    with rc_context(own):
        assert chart(LINES, colours=COLOURS, x_name="x", y_name="y") == ours
        assert rcParams["font.size"] == 30


@CHARTS
def test_text_and_grid_take_the_colours_of_the_page(chart: type[str]) -> None:
    svg = chart(LINES, colours=COLOURS, x_name="x", y_name="y")
    assert INK not in svg and GRID not in svg
    styles = re.findall(r"<text style=\"([^\"]*)\"", svg)
    assert styles and all("fill: var(--ink)" in style for style in styles)
    # No background of its own: no shape is filled but the marks.
    fills = set(re.findall(r"fill: (#\w+)", svg))
    assert fills <= set(COLOURS.values())


@CHARTS
def test_charts_of_one_page_share_no_id(chart: type[str]) -> None:
    svgs = [chart(LINES, colours=COLOURS, x_name="x", y_name=y) for y in ("loss", "cost")]
    first, second = (set(re.findall(r'\bid="([^"]+)"', svg)) for svg in svgs)
    assert first and second and not first & second
    for svg, ids in zip(svgs, (first, second), strict=True):
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', svg)) <= ids


@CHARTS
def test_the_same_chart_is_the_same_text(chart: type[str]) -> None:
    svgs = {chart(LINES, colours=COLOURS, x_name="x", y_name="y") for _ in range(2)}
    assert len(svgs) == 1


def test_a_line_has_its_points_and_a_scatter_its_dots() -> None:
    line = line_chart(LINES, colours=COLOURS, x_name="", y_name="")
    assert len(re.findall(r"stroke: #(?:7c8ba1|e8590c)", line)) == 2 + 2  # lines and legend
    dots = scatter_chart(LINES, colours=COLOURS, x_name="", y_name="")
    assert len(re.findall(r"<use [^>]*fill: #(?:7c8ba1|e8590c)", dots)) == 4 + 2


@pytest.mark.parametrize("points", [[], [(1.0, 1.0)], [(1.0, 1.0), (2.0, 1.0)]])
@CHARTS
def test_none_one_and_equal_points_are_drawn(
    chart: type[str], points: list[tuple[float, float]]
) -> None:
    assert "</svg>" in chart({"baseline": points}, colours=COLOURS, x_name="", y_name="")
