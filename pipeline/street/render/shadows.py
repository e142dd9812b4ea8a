"""The shadow map: for each sun ray, how high the topmost surface on it lies."""

import math

import numpy as np
from numpy.typing import NDArray

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.render.light import Light, Shadows
from xdistill.pipeline.street.world.road import Road
from xdistill.pipeline.street.world.shapes import MISS, meet
from xdistill.pipeline.street.world.solids import Solid, Solids

CELL_M = 0.2
SIDE_M = 32.0
"""How far beside the centre line shadows are kept."""
OPEN = -1.0
"""Height where nothing stands, below every surface."""


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
                t = meet(solids[i], x, y, ceiling + 1.0, -sx, -sy, -sz)[0]
                if t < MISS:
                    top[row, column] = max(top[row, column], ceiling + 1.0 - t * sz)


@compiled
def _shaded_area(
    solid: Solid, slope_x: float, slope_y: float
) -> tuple[float, float, float, float, float]:
    """Where on z = 0 the bounding box's shadow falls, and the box's greatest height."""
    left, right, low, high, ceiling = math.inf, -math.inf, math.inf, -math.inf, -math.inf
    for corner in range(8):
        x, y, z = solid["centre"][0], solid["centre"][1], solid["centre"][2]
        for k in range(3):
            reach = solid["half"][k] if corner >> k & 1 else -solid["half"][k]
            x += reach * solid["axes"][k, 0]
            y += reach * solid["axes"][k, 1]
            z += reach * solid["axes"][k, 2]
        left, right = min(left, x - slope_x * z), max(right, x - slope_x * z)
        low, high = min(low, y - slope_y * z), max(high, y - slope_y * z)
        ceiling = max(ceiling, z)
    return left, right, low, high, ceiling
