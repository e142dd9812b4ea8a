"""Line and scatter charts as SVG inside a page, whose style sheet colours text and grid."""

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 360, 225
"""Pixels: about as wide as a phone, so that text keeps its size there."""
PIXELS_PER_INCH = 72
"""In matplotlib's SVG files."""
INK, GRID = "#010203", "#010204"
"""Stand for the page's colours, which differ in light and dark mode and matplotlib cannot name."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "xdistill",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "legend.frameon": False,
    "legend.markerscale": 1.5,
    "lines.linewidth": 1.8,
    "xtick.color": INK,
    "xtick.major.size": 0,
    "ytick.color": INK,
    "ytick.major.size": 0,
}


def line_chart(
    series: Mapping[str, Points], *, colours: Mapping[str, str], x_name: str, y_name: str
) -> Markup:
    """One line for each series.

    Args:
        series: Points by the name of the series.
        colours: Colour of each series, readable on white and on black.
        x_name: Name of the x axis with its unit.
        y_name: Name of the y axis with its unit.
    """
    with _style():
        figure, axes = _empty(x_name, y_name)
        for name, points in series.items():
            axes.plot(*_columns(points), color=colours[name], label=name)
        return _svg(figure, f"{y_name} over {x_name}")


def scatter_chart(
    series: Mapping[str, Points], *, colours: Mapping[str, str], x_name: str, y_name: str
) -> Markup:
    """One dot for each point, over the diagonal on which both coordinates agree; as line_chart."""
    with _style():
        figure, axes = _empty(x_name, y_name)
        for name, points in series.items():
            x, y = _columns(points)
            axes.scatter(x, y, color=colours[name], label=name, s=12, alpha=0.75)
        axes.autoscale(False)
        axes.axline((0, 0), slope=1, color=INK, linewidth=1, linestyle="--", zorder=0)
        return _svg(figure, f"{y_name} over {x_name}")


@contextmanager
def _style() -> Iterator[None]:
    """Draw in the style of these pages, whatever the reader's own matplotlibrc says."""
    with rc_context():
        rcdefaults()
        rcParams.update(STYLE)
        yield


def _empty(x_name: str, y_name: str) -> tuple[Figure, Axes]:
    size = (WIDTH / PIXELS_PER_INCH, HEIGHT / PIXELS_PER_INCH)
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.add_subplot(xlabel=x_name, ylabel=y_name)


def _columns(points: Points) -> NDArray[np.float64]:
    return np.array(points).reshape(-1, 2).T


def _svg(figure: Figure, label: str) -> Markup:
    """The figure as an SVG element in the page's colours, with ids that no other chart has."""
    figure.legend(loc="outside upper right", ncols=4)
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue()
    prefix = f"c{hashlib.sha256(text.encode()).hexdigest()[:8]}-"
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", text)
    text = text.replace(INK, "var(--ink)").replace(GRID, "var(--line)")
    _, _, content = text.partition("<svg")[2].partition(">")
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-label="{escape(label)}">{content}'
    )
