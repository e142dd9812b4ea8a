"""Line and scatter charts as SVG text, small enough to live inside a page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 22, 34
"""Margins in pixels."""
COLOURS = {"baseline": "#64748b", "distilled": "#d9480f"}
"""By the name of the series."""
TICKS = 4

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Axes:
    """Ranges, names and ticks of a chart's axes."""

    x: tuple[float, float]
    """Smallest and largest x."""
    y: tuple[float, float]
    """Smallest and largest y."""
    x_name: str
    """With its unit."""
    y_name: str
    """With its unit."""

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Pixel of a point."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )


def line_chart(series: Mapping[str, Points], *, x_name: str, y_name: str) -> str:
    """One line for each series."""
    axes = fitted(series, x_name=x_name, y_name=y_name)
    marks = []
    for name, points in series.items():
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (axes.place(*point) for point in points))
        marks.append(
            f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="1.8"/>'
        )
    return _chart(axes, marks, tuple(series))


def scatter_chart(series: Mapping[str, Points], *, x_name: str, y_name: str) -> str:
    """One dot for each point, over the diagonal where both coordinates agree."""
    axes = fitted(series, x_name=x_name, y_name=y_name)
    low, high = max(axes.x[0], axes.y[0]), min(axes.x[1], axes.y[1])
    marks = []
    if low < high:
        (x1, y1), (x2, y2) = axes.place(low, low), axes.place(high, high)
        ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        marks.append(f'<line {ends} stroke="#94a3b8" stroke-dasharray="4 4"/>')
    for name, points in series.items():
        style = f'r="2.4" fill="{COLOURS[name]}" fill-opacity="0.6"'
        for x, y in (axes.place(*point) for point in points):
            marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" {style}/>')
    return _chart(axes, marks, tuple(series))


def fitted(series: Mapping[str, Points], *, x_name: str, y_name: str) -> Axes:
    """Axes around all points, with a little room."""
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    return Axes(x=_range(xs, room=0.0), y=_range(ys, room=0.06), x_name=x_name, y_name=y_name)


def _range(values: Sequence[float], *, room: float) -> tuple[float, float]:
    """Smallest and largest with room on both sides; never empty."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    extra = room * (high - low)
    return (low - extra, high + extra) if high > low else (low - 0.5, high + 0.5)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers inside a range, about as many as ``TICKS``."""
    magnitude = 10.0 ** math.floor(math.log10((high - low) / TICKS))
    step = next(s * magnitude for s in (1, 2, 5, 10) if (high - low) / (s * magnitude) <= TICKS + 1)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _chart(axes: Axes, marks: Sequence[str], names: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(axes.y_name)} over {escape(axes.x_name)}">'
        + _frame(axes)
        + "".join(marks)
        + _key(names)
        + "</svg>"
    )


def _frame(axes: Axes) -> str:
    """Grid, numbers and names."""
    parts = []
    for y in ticks(*axes.y):
        _, up = axes.place(axes.x[0], y)
        parts.append(
            f'<line x1="{LEFT}" y1="{up:.1f}" x2="{WIDTH - RIGHT}" y2="{up:.1f}" class="grid"/>'
            f'<text x="{LEFT - 6}" y="{up + 4:.1f}" text-anchor="end">{y:g}</text>'
        )
    for x in ticks(*axes.x):
        across, _ = axes.place(x, axes.y[0])
        parts.append(
            f'<text x="{across:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{x:g}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{escape(axes.x_name)}</text>'
        f'<text x="{LEFT}" y="{TOP - 8}">{escape(axes.y_name)}</text>'
    )
    return "".join(parts)


def _key(names: Sequence[str]) -> str:
    parts = []
    for number, name in enumerate(names):
        x, y = WIDTH - RIGHT - 82 * (len(names) - number), TOP - 8
        parts.append(
            f'<rect x="{x}" y="{y - 9}" width="10" height="10" rx="2" fill="{COLOURS[name]}"/>'
            f'<text x="{x + 16}" y="{y}">{escape(name)}</text>'
        )
    return "".join(parts)
