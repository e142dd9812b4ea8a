"""The shadow map: for each sun ray, how high the topmost surface on it lies."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.render.light import Light
from xdistill.pipeline.street.vectors import Vector, times
from xdistill.pipeline.street.world.road import Road
from xdistill.pipeline.street.world.shapes import MISS, corner, meet
from xdistill.pipeline.street.world.solids import Solid, Solids

CELL_M = 0.2
SIDE_M = 32.0
"""How far beside the centre line shadows are kept."""
BIAS_M = 0.25
"""A surface does not shade itself."""
OPEN = -1.0
"""Height where nothing stands, below every surface."""


class Shadows(NamedTuple):
    """Height of the topmost surface along each sun ray, by where the ray meets z = 0."""

    top: NDArray[np.float32]
    """(rows, columns) metres; rows along x, columns along y."""
    x: float
    """World x of row 0, metres."""
    y: float
    """World y of column 0, metres."""
    cell: float
    """Metres."""


def empty_map(road: Road, *, start: float, stop: float) -> Shadows:
    """A map of the road's surroundings between two x, with nothing on it."""
    xs = road.start + road.step * np.arange(len(road.table))
    centre = road.table[(xs >= start) & (xs <= stop), 0]
    low, high = centre.min() - SIDE_M, centre.max() + SIDE_M
    shape = int((stop - start) / CELL_M), int((high - low) / CELL_M)
    return Shadows(np.full(shape, OPEN, np.float32), start, float(low), CELL_M)


def with_solids(shadows: Shadows, light: Light, solids: Solids) -> Shadows:
    """The map with the shadows of more solids; the given map stays as it is."""
    top = shadows.top.copy()
    _cast(top, shadows.x, shadows.y, shadows.cell, light, solids)
    return shadows._replace(top=top)


@compiled
def _cast(
    top: NDArray[np.float32], x0: float, y0: float, cell: float, light: Light, solids: Solids
) -> None:
    """Shoot sun rays at every solid, one for each cell that its bounding box can shade."""
    sx, sy, sz = light["sun"][0], light["sun"][1], light["sun"][2]
    for i in range(solids.shape[0]):
        left, right, low, high, ceiling = _shaded_area(solids[i], sx / sz, sy / sz)
        rows = max(0, int((left - x0) / cell)), min(top.shape[0], int((right - x0) / cell) + 2)
        columns = max(0, int((low - y0) / cell)), min(top.shape[1], int((high - y0) / cell) + 2)
        for row in range(rows[0], rows[1]):
            for column in range(columns[0], columns[1]):
                if top[row, column] >= ceiling:
                    continue
                # From above the solid, down the sun ray that meets z = 0 in this cell.
                x = x0 + (row + 0.5) * cell + sx / sz * (ceiling + 1.0)
                y = y0 + (column + 0.5) * cell + sy / sz * (ceiling + 1.0)
                t = meet(solids[i], (x, y, ceiling + 1.0), (-sx, -sy, -sz))[0]
                if t < MISS:
                    top[row, column] = max(top[row, column], ceiling + 1.0 - t * sz)


@compiled
def _shaded_area(
    solid: Solid, slope_x: float, slope_y: float
) -> tuple[float, float, float, float, float]:
    """Where on z = 0 the bounding box's shadow falls, and the box's greatest height."""
    left, right, low, high, ceiling = math.inf, -math.inf, math.inf, -math.inf, -math.inf
    centre = times(solid["centre"], 1.0)
    for number in range(8):
        x, y, z = corner(solid, centre, number)
        left, right = min(left, x - slope_x * z), max(right, x - slope_x * z)
        low, high = min(low, y - slope_y * z), max(high, y - slope_y * z)
        ceiling = max(ceiling, z)
    return left, right, low, high, ceiling


@compiled
def sunlit(shadows: Shadows, light: Light, point: Vector) -> float:
    """Share of the sun that reaches a point: 0 in shadow, 1 in the open."""
    x, y, z = point
    u = (x - light["sun"][0] / light["sun"][2] * z - shadows.x) / shadows.cell - 0.5
    v = (y - light["sun"][1] / light["sun"][2] * z - shadows.y) / shadows.cell - 0.5
    if not (0.0 <= u < shadows.top.shape[0] - 1.0 and 0.0 <= v < shadows.top.shape[1] - 1.0):
        return 1.0
    i, j = int(u), int(v)
    a, b = u - i, v - j
    level = z + BIAS_M
    near = (1.0 - b) * (shadows.top[i, j] < level) + b * (shadows.top[i, j + 1] < level)
    far = (1.0 - b) * (shadows.top[i + 1, j] < level) + b * (shadows.top[i + 1, j + 1] < level)
    return float((1.0 - a) * near + a * far)
