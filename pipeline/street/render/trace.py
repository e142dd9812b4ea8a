"""Which surface a ray meets first, found through lists of solids by direction."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.vectors import Vector, between, dot, turned
from xdistill.pipeline.street.world.road import Road, meet_ground
from xdistill.pipeline.street.world.shapes import MISS, corner, meet
from xdistill.pipeline.street.world.solids import Floats, Integers, Solid, Solids

SECTORS = 720
"""Half a degree of azimuth each."""
MARGIN = 1e-6
Records = NDArray[np.void]
SKY, GROUND = -2, -1
"""Stand for a solid's number where a ray meets none."""

Surface = tuple[float, int, Vector, int]
"""Distance, solid (or GROUND, SKY), local normal, and the region where it is ground."""


ENTRY = np.dtype([("near", "f8"), ("low", "f8"), ("high", "f8"), ("solid", "i8")])
"""A solid as seen from one origin. ``near``: distance to its bounding box, metres. ``low``,
``high``: tangents of elevation between which it can be seen. ``solid``: its number."""


class View(NamedTuple):
    """An origin for rays: the solids that a ray of some azimuth can meet, nearest first."""

    origin: Vector
    """World point, metres."""
    first: Integers
    """(SECTORS + 1,) where each sector's list starts."""
    entries: Records
    """(L,) of ENTRY: the lists, one after the other."""


def view_from(solids: Solids, origin: Floats) -> View:
    """Prepare to shoot rays at solids from ``origin`` (3,), metres."""
    x, y, z = map(float, origin)
    seen = np.empty(len(solids), ENTRY)
    spans = _bounds(solids, seen, (x, y, z))
    order = np.argsort(seen["near"], kind="stable")
    first, entries = _lists(seen, order, spans)
    return View((x, y, z), first, entries)


@compiled
def _bounds(solids: Solids, seen: Records, origin: Vector) -> Integers:
    """Write every solid's entry; return the first and last sector (N, 2) of each."""
    spans = np.empty((solids.shape[0], 2), np.int64)
    for i in range(solids.shape[0]):
        near = _box_distance(solids[i], origin)
        bottom, top, farthest, right, left = _box_corners(solids[i], origin)
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
def _box_distance(solid: Solid, origin: Vector) -> float:
    """Distance from a point to the solid's bounding box."""
    local, half = turned(solid["axes"], between(solid["centre"], origin)), solid["half"]
    x, y, z = abs(local[0]) - half[0], abs(local[1]) - half[1], abs(local[2]) - half[2]
    outside = max(0.0, x), max(0.0, y), max(0.0, z)
    return math.sqrt(dot(outside, outside))


@compiled
def _box_corners(solid: Solid, origin: Vector) -> tuple[float, float, float, float, float]:
    """Least and greatest height, greatest ground distance, and azimuth range of the corners."""
    centre = between(origin, solid["centre"])
    middle = math.atan2(centre[1], centre[0])
    bottom, top, farthest, right, left = MISS, -MISS, 0.0, MISS, -MISS
    for number in range(8):
        x, y, z = corner(solid, centre, number)
        bottom, top = min(bottom, z), max(top, z)
        farthest = max(farthest, math.sqrt(x * x + y * y))
        turn = math.atan2(y, x) - middle
        turn -= 2.0 * math.pi * math.floor(turn / (2.0 * math.pi) + 0.5)
        right, left = min(right, middle + turn), max(left, middle + turn)
    return bottom, top, farthest, right, left


@compiled
def _lists(seen: Records, order: Integers, spans: Integers) -> tuple[Integers, Records]:
    """Where each sector's list starts, and the lists; each from near to far, as ``order`` is."""
    first = np.zeros(SECTORS + 1, np.int64)
    for i in order:
        for sector in range(spans[i, 0], spans[i, 1] + 1):
            first[sector % SECTORS + 1] += 1
    first = np.cumsum(first)
    entries, cursor = np.empty(first[-1], seen.dtype), first.copy()
    for i in order:
        for sector in range(spans[i, 0], spans[i, 1] + 1):
            entries[cursor[sector % SECTORS]] = seen[i]
            cursor[sector % SECTORS] += 1
    return first, entries


@compiled
def trace(solids: Solids, road: Road, view: View, ray: Vector) -> Surface:
    """First surface that a unit ray from the view's origin meets."""
    best, area = meet_ground(road, view.origin, ray)
    found, normal = (GROUND if best < MISS else SKY), (0.0, 0.0, 1.0)
    azimuth = (math.atan2(ray[1], ray[0]) + math.pi) / (2.0 * math.pi)
    sector = int(azimuth * SECTORS) % SECTORS
    rise = ray[2] / math.sqrt(ray[0] * ray[0] + ray[1] * ray[1] + 1e-18)
    for k in range(view.first[sector], view.first[sector + 1]):
        entry = view.entries[k]
        if entry["near"] > best:
            break
        if entry["low"] <= rise <= entry["high"]:
            t, facing = meet(solids[entry["solid"]], view.origin, ray)
            if t < best:
                best, found, normal = t, entry["solid"], facing
    return best, found, normal, area
