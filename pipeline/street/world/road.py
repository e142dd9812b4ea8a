"""The ground: a curved road with kerbs, verges, sidewalks and cross streets."""

import math
from typing import NamedTuple

import numpy as np

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.vectors import Vector, ahead
from xdistill.pipeline.street.world.shapes import MISS
from xdistill.pipeline.street.world.solids import Floats

KERB_M = 0.13
"""Height of everything beside the road above it."""
FARTHEST_GROUND_M = 600.0
CROSS_WALK_M = 2.2
"""Sidewalk along a cross street."""
BISECTIONS = 30
"""Halvings that find the kerb between two points on a ray: 10 m to 10 nanometres."""

CARRIAGEWAY, KERB, WALK, TERRAIN = 0, 1, 2, 3


class Road(NamedTuple):
    """The ground's shape; a tuple, which the compiler accepts."""

    start: float
    """x of the table's first row, metres."""
    step: float
    """Distance between rows along x, metres."""
    table: Floats
    """(N, 4) per row: centre line's y, cosine of its heading, arc length, sine of its heading."""
    half_width: float
    """Centre line to kerb, metres."""
    lane: float
    """Width of a driving lane, metres."""
    verge_right: float
    """Width of the strip between kerb and sidewalk, metres."""
    verge_left: float
    walk_right: float
    """Width of the sidewalk, metres."""
    walk_left: float
    crossings: Floats
    """(K, 2) cross streets: x on the centre line and half width, metres."""
    rails: float
    """Lateral position of the tram track, metres; NaN without one."""
    asphalt: float
    """Brightness, linear."""
    paving: float
    """Brightness, linear."""
    green: float
    """How fresh the grass is, 0-1."""
    wear: float
    """Share of the road paint that is worn off, 0-1."""
    seed: int
    """Of the textures' details."""

    def along(self, x: float) -> float:
        """Arc length of the centre line at x, metres."""
        xs = self.start + self.step * np.arange(len(self.table))
        return float(np.interp(x, xs, self.table[:, 2]))


@compiled
def across(road: Road, x: float, y: float) -> tuple[float, float]:
    """Lateral position (left positive) and arc length of a point, metres.

    First order in the distance from the centre line; exact on it.
    """
    table = road.table
    position = (x - road.start) / road.step
    row = int(min(max(math.floor(position), 0.0), table.shape[0] - 2.0))
    share = position - row
    centre = table[row, 0] + share * (table[row + 1, 0] - table[row, 0])
    cosine = table[row, 1] + share * (table[row + 1, 1] - table[row, 1])
    along = table[row, 2] + share * (table[row + 1, 2] - table[row, 2])
    return (y - centre) * cosine, along + (y - centre) * table[row, 3]


@compiled
def region(road: Road, x: float, lateral: float) -> int:
    """Kind of ground at a place: CARRIAGEWAY, WALK or TERRAIN."""
    distance = abs(lateral)
    if distance < road.half_width:
        return CARRIAGEWAY
    for k in range(road.crossings.shape[0]):
        gap = abs(x - road.crossings[k, 0]) - road.crossings[k, 1]
        if gap < 0.0:
            return CARRIAGEWAY
        if gap < CROSS_WALK_M:
            return WALK
    verge, walk = sides(road, lateral)
    beyond = distance - road.half_width - verge
    return WALK if 0.0 <= beyond < walk else TERRAIN


@compiled
def sides(road: Road, lateral: float) -> tuple[float, float]:
    """Widths of verge and sidewalk on the side of a lateral position, metres."""
    if lateral > 0.0:
        return road.verge_left, road.walk_left
    return road.verge_right, road.walk_right


@compiled
def meet_ground(road: Road, start: Vector, ray: Vector) -> tuple[float, int]:
    """Distance along the unit ray to the ground (MISS above the horizon) and its region."""
    if ray[2] > -1e-6:
        return MISS, TERRAIN
    high, low = (KERB_M - start[2]) / ray[2], -start[2] / ray[2]
    if high > FARTHEST_GROUND_M:
        return MISS, TERRAIN
    at_high = _region_at(road, ahead(start, ray, high))
    if at_high != CARRIAGEWAY:
        return high, at_high
    if _region_at(road, ahead(start, ray, low)) == CARRIAGEWAY:
        return low, CARRIAGEWAY
    for _ in range(BISECTIONS):
        middle = 0.5 * (high + low)
        if _region_at(road, ahead(start, ray, middle)) == CARRIAGEWAY:
            high = middle
        else:
            low = middle
    return 0.5 * (high + low), KERB


@compiled
def _region_at(road: Road, point: Vector) -> int:
    lateral, _ = across(road, point[0], point[1])
    return region(road, point[0], lateral)


def centre_line(*, start: float, stop: float, step: float, bends: Floats) -> Floats:
    """Table of the centre line whose heading is a sum of sines.

    Args:
        start: First x, metres.
        stop: Last x, metres.
        step: Distance between rows, metres.
        bends: (K, 3) amplitude in radians, wavelength in metres and phase of each sine.

    Returns:
        Rows y, cosine, arc length and sine, shape (N, 4); y and arc length are 0 at x = 0.
    """
    x = np.arange(start, stop + step, step)
    heading = np.zeros_like(x)
    for amplitude, wavelength, phase in bends:
        heading += amplitude * np.sin(2 * np.pi * x / wavelength + phase)
    y, along = integral(np.tan(heading), x), integral(1 / np.cos(heading), x)
    return np.column_stack([y, np.cos(heading), along, np.sin(heading)])


def integral(values: Floats, x: Floats) -> Floats:
    """Integral of sampled values from x = 0 (trapezoid rule), at every x."""
    steps = np.diff(x) * (values[1:] + values[:-1]) / 2
    total = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(total - np.interp(0.0, x, total))


@compiled
def at(road: Road, along: float, lateral: float) -> tuple[float, float, float]:
    """World x, y and the road's heading at an arc length and lateral position.

    Smooth between the table's rows, so that vehicles do not jerk at each of them.
    """
    table, last = road.table, road.table.shape[0] - 2
    k = min(max(int(np.searchsorted(table[:, 2], along)) - 1, 0), last)
    width = table[k + 1, 2] - table[k, 2]
    share = (along - table[k, 2]) / width
    x = road.start + road.step * k
    x = _hermite(share, width, x, x + road.step, table[k, 1], table[k + 1, 1])
    k = min(max(int((x - road.start) / road.step), 0), last)
    share = (x - road.start) / road.step - k
    slopes = table[k, 3] / table[k, 1], table[k + 1, 3] / table[k + 1, 1]
    y = _hermite(share, road.step, table[k, 0], table[k + 1, 0], slopes[0], slopes[1])
    heading = math.asin(table[k, 3] + share * (table[k + 1, 3] - table[k, 3]))
    return x - lateral * math.sin(heading), y + lateral * math.cos(heading), heading


@compiled
def _hermite(
    share: float, width: float, first: float, second: float, slope: float, next_slope: float
) -> float:
    """Cubic between two nodes ``width`` apart with their values and slopes."""
    start, stop = (1.0 + 2.0 * share) * (1.0 - share) ** 2, (3.0 - 2.0 * share) * share**2
    pull = share * (1.0 - share) * width * ((1.0 - share) * slope - share * next_slope)
    return start * first + stop * second + pull
