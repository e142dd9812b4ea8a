"""Which surface a ray meets first, found through lists of solids by direction."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.world.road import Road, meet_ground
from xdistill.pipeline.street.world.shapes import MISS, meet
from xdistill.pipeline.street.world.solids import Floats, Integers, Solid, Solids

SECTORS = 720
"""Half a degree of azimuth each."""
MARGIN = 1e-6
SKY, GROUND = -2, -1
"""Numbers of what is no solid."""

Surface = tuple[float, int, float, float, float, int]
"""Distance, solid (or GROUND, SKY), local normal, and the region where it is ground."""


ENTRY = np.dtype([("near", "f8"), ("low", "f8"), ("high", "f8"), ("solid", "i8")])
"""A solid as seen from one origin. ``near``: distance to its bounding box, metres. ``low``,
``high``: tangents of elevation between which it can be seen. ``solid``: its number."""


class Sectors(NamedTuple):
    """For one origin: the solids that a ray of some azimuth can meet, nearest first."""

    first: Integers
    """(SECTORS + 1,) where each sector's list starts."""
    entries: NDArray[np.void]
    """(L,) of ENTRY: the lists, one after the other."""


def sectors_from(solids: Solids, origin: Floats) -> Sectors:
    """List the solids around ``origin`` (3,) by azimuth."""
    seen = np.empty(len(solids), ENTRY)
    spans = _bounds(solids, seen, origin[0], origin[1], origin[2])
    order = np.argsort(seen["near"], kind="stable")
    first = np.concatenate([[0], np.cumsum(_count(order, spans))])
    entries = np.empty(first[-1], ENTRY)
    _fill(entries, first.copy(), seen, order, spans)
    return Sectors(first, entries)


@compiled
def _bounds(solids: Solids, seen: NDArray[np.void], ox: float, oy: float, oz: float) -> Integers:
    """Write every solid's entry; return the first and last sector (N, 2) of each."""
    spans = np.empty((solids.shape[0], 2), np.int64)
    for i in range(solids.shape[0]):
        near = _box_distance(solids[i], ox, oy, oz)
        bottom, top, farthest, right, left = _box_corners(solids[i], ox, oy, oz)
        # Distance along the ground: at least what is left of the distance in space.
        gap = max(abs(bottom), abs(top))
        closest = math.sqrt(max(near * near - gap * gap, 1e-6))
        seen[i]["near"], seen[i]["solid"] = near, i
        seen[i]["low"] = bottom / (closest if bottom < 0.0 else farthest) - MARGIN
        seen[i]["high"] = top / (closest if top > 0.0 else farthest) + MARGIN
        if closest < 0.01 or left - right > math.pi:
            right, left = -math.pi, math.pi
        spans[i, 0] = int(math.floor((right + math.pi) / (2.0 * math.pi) * SECTORS - MARGIN))
        spans[i, 1] = int(math.floor((left + math.pi) / (2.0 * math.pi) * SECTORS + MARGIN))
        spans[i, 1] = min(spans[i, 1], spans[i, 0] + SECTORS - 1)
    return spans


@compiled
def _box_distance(solid: Solid, ox: float, oy: float, oz: float) -> float:
    """Distance from a point to the solid's bounding box."""
    total = 0.0
    px = ox - solid["centre"][0]
    py = oy - solid["centre"][1]
    pz = oz - solid["centre"][2]
    for k in range(3):
        a = solid["axes"]
        local = a[k, 0] * px + a[k, 1] * py + a[k, 2] * pz
        outside = max(0.0, abs(local) - solid["half"][k])
        total += outside * outside
    return math.sqrt(total)


@compiled
def _box_corners(
    solid: Solid, ox: float, oy: float, oz: float
) -> tuple[float, float, float, float, float]:
    """Least and greatest height, greatest ground distance, and azimuth range of the corners."""
    px = solid["centre"][0] - ox
    py = solid["centre"][1] - oy
    pz = solid["centre"][2] - oz
    middle = math.atan2(py, px)
    bottom, top, farthest, right, left = MISS, -MISS, 0.0, MISS, -MISS
    for corner in range(8):
        x, y, z = px, py, pz
        for k in range(3):
            reach = solid["half"][k] if corner >> k & 1 else -solid["half"][k]
            x += reach * solid["axes"][k, 0]
            y += reach * solid["axes"][k, 1]
            z += reach * solid["axes"][k, 2]
        bottom, top = min(bottom, z), max(top, z)
        farthest = max(farthest, math.sqrt(x * x + y * y))
        turn = math.atan2(y, x) - middle
        turn -= 2.0 * math.pi * math.floor(turn / (2.0 * math.pi) + 0.5)
        right, left = min(right, middle + turn), max(left, middle + turn)
    return bottom, top, farthest, right, left


@compiled
def _count(order: Integers, spans: Integers) -> Integers:
    counts = np.zeros(SECTORS, np.int64)
    for i in order:
        for sector in range(spans[i, 0], spans[i, 1] + 1):
            counts[sector % SECTORS] += 1
    return counts


@compiled
def _fill(
    entries: NDArray[np.void],
    cursor: Integers,
    seen: NDArray[np.void],
    order: Integers,
    spans: Integers,
) -> None:
    """Write the lists; walking the solids from near to far keeps each list in that order."""
    for i in order:
        for sector in range(spans[i, 0], spans[i, 1] + 1):
            entries[cursor[sector % SECTORS]] = seen[i]
            cursor[sector % SECTORS] += 1


@compiled
def trace(
    solids: Solids,
    sectors: Sectors,
    road: Road,
    ox: float,
    oy: float,
    oz: float,
    dx: float,
    dy: float,
    dz: float,
) -> Surface:
    """First surface that the unit ray from the sectors' origin meets."""
    best, area = meet_ground(road, ox, oy, oz, dx, dy, dz)
    found, nx, ny, nz = (GROUND if best < MISS else SKY), 0.0, 0.0, 1.0
    azimuth = (math.atan2(dy, dx) + math.pi) / (2.0 * math.pi)
    sector = int(azimuth * SECTORS) % SECTORS
    rise = dz / math.sqrt(dx * dx + dy * dy + 1e-18)
    for k in range(sectors.first[sector], sectors.first[sector + 1]):
        entry = sectors.entries[k]
        if entry["near"] > best:
            break
        if entry["low"] <= rise <= entry["high"]:
            t, a, b, c = meet(solids[entry["solid"]], ox, oy, oz, dx, dy, dz)
            if t < best:
                best, found, nx, ny, nz = t, entry["solid"], a, b, c
    return best, found, nx, ny, nz, area
