"""Where a ray meets a solid: exact intersections in the solid's own frame."""

import math

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.noise import value3
from xdistill.pipeline.street.vectors import Vector, ahead, between, dot, times, turned
from xdistill.pipeline.street.world.solids import BOX, ELLIPSOID, POLYTOPE, Solid
from xdistill.pipeline.street.world.textures import FOLIAGE

MISS = 1e30
"""Distance of a ray that meets nothing, metres."""
NEAREST_M = 0.05
HOLES_M = (0.75, 0.26)
"""Sizes of the large and small gaps in a crown of leaves."""
HOLE_SHARE = 0.40
"""Gaps are where the noise stays below this."""

Hit = tuple[float, Vector]
"""Distance, and the local outward normal."""
NOTHING: Hit = (MISS, (0.0, 0.0, 0.0))


@compiled
def corner(solid: Solid, centre: Vector, number: int) -> Vector:
    """One of the 8 corners of a solid's bounding box, were it moved to ``centre``."""
    for k in range(3):
        half = solid["half"][k]
        centre = ahead(centre, solid["axes"][k], half if number >> k & 1 else -half)
    return centre


@compiled
def meet(solid: Solid, start: Vector, ray: Vector) -> Hit:
    """First point where a ray meets a solid.

    Args:
        solid: The solid.
        start: Ray's origin; world frame, metres.
        ray: Ray's unit direction.

    Returns:
        Distance in metres (MISS if it misses) and the normal in the solid's local frame.
    """
    axes = solid["axes"]
    origin, towards = turned(axes, between(solid["centre"], start)), turned(axes, ray)
    if solid["kind"] == BOX:
        return _box(solid, origin, towards)
    if solid["kind"] == POLYTOPE:
        return _polytope(solid, origin, towards)
    if solid["kind"] == ELLIPSOID:
        return _ellipsoid(solid, origin, towards)
    return _cylinder(solid, origin, towards)


@compiled
def _box(solid: Solid, origin: Vector, ray: Vector) -> Hit:
    """Clip the ray by three slabs (Kay and Kajiya, 1986)."""
    enter, leave, axis = -MISS, MISS, -1
    for k in range(3):
        o, d, h = origin[k], ray[k], solid["half"][k]
        if abs(d) > 1e-12:
            middle, reach = -o / d, h / abs(d)
            if middle - reach > enter:
                enter, axis = middle - reach, k
            leave = min(leave, middle + reach)
        elif abs(o) > h:
            return NOTHING
        if enter > leave:
            return NOTHING
    if enter < NEAREST_M:
        return NOTHING
    if axis == 0:
        return enter, (math.copysign(1.0, -ray[0]), 0.0, 0.0)
    if axis == 1:
        return enter, (0.0, math.copysign(1.0, -ray[1]), 0.0)
    return enter, (0.0, 0.0, math.copysign(1.0, -ray[2]))


@compiled
def _polytope(solid: Solid, origin: Vector, ray: Vector) -> Hit:
    """Clip the ray by one half space after the other."""
    planes = solid["planes"]
    enter, leave, face = -MISS, MISS, -1
    for k in range(solid["faces"]):
        nx, ny, nz = planes[k, 0], planes[k, 1], planes[k, 2]
        slope = nx * ray[0] + ny * ray[1] + nz * ray[2]
        gap = planes[k, 3] - nx * origin[0] - ny * origin[1] - nz * origin[2]
        if slope < 0.0:
            t = gap / slope
            if t > enter:
                enter, face = t, k
        elif slope > 0.0:
            leave = min(leave, gap / slope)
        elif gap < 0.0:
            return NOTHING
        if enter > leave:
            return NOTHING
    if face < 0 or enter < NEAREST_M:
        return NOTHING
    return enter, (planes[face, 0], planes[face, 1], planes[face, 2])


@compiled
def _ellipsoid(solid: Solid, origin: Vector, ray: Vector) -> Hit:
    """The two roots of the quadratic; a crown of leaves lets a ray through its gaps."""
    half = solid["half"]
    p = origin[0] / half[0], origin[1] / half[1], origin[2] / half[2]
    q = ray[0] / half[0], ray[1] / half[1], ray[2] / half[2]
    a, b, c = dot(q, q), dot(p, q), dot(p, p) - 1.0
    root = b * b - a * c
    if root <= 0.0:
        return NOTHING
    root = math.sqrt(root)
    for sign in (-1.0, 1.0):
        t = (-b + sign * root) / a
        if t > NEAREST_M:
            x, y, z = ahead(origin, ray, t)
            if solid["texture"] != FOLIAGE or not _gap(
                x, y, z, solid["seed"] + int(1000.0 * half[0])
            ):
                normal = (x / (half[0] * half[0]), y / (half[1] * half[1]), z / (half[2] * half[2]))
                return t, times(normal, -sign / math.sqrt(dot(normal, normal)))
            if c <= 0.0:
                return NOTHING
    return NOTHING


@compiled
def _gap(x: float, y: float, z: float, seed: int) -> bool:
    large, small = 1.0 / HOLES_M[0], 1.0 / HOLES_M[1]
    noise = 0.6 * value3(x * large, y * large, z * large, seed)
    if noise > HOLE_SHARE:
        return False
    return noise + 0.4 * value3(x * small, y * small, z * small, seed + 1) < HOLE_SHARE


@compiled
def _cylinder(solid: Solid, origin: Vector, ray: Vector) -> Hit:
    """Clip the ray by the infinite cylinder and by the two caps."""
    radius, length = solid["half"][0], solid["half"][2]
    (lx, ly, lz), (ux, uy, uz) = origin, ray
    a = ux * ux + uy * uy
    b = lx * ux + ly * uy
    c = lx * lx + ly * ly - radius * radius
    enter, leave, cap = -MISS, MISS, 0.0
    if a > 1e-12:
        root = b * b - a * c
        if root <= 0.0:
            return NOTHING
        root = math.sqrt(root)
        enter, leave = (-b - root) / a, (-b + root) / a
    elif c > 0.0:
        return NOTHING
    if abs(uz) > 1e-12:
        side = -1.0 if uz > 0.0 else 1.0
        near, far = (side * length - lz) / uz, (-side * length - lz) / uz
        if near > enter:
            enter, cap = near, side
        leave = min(leave, far)
    elif abs(lz) > length:
        return NOTHING
    if enter > leave or enter < NEAREST_M:
        return NOTHING
    if cap != 0.0:
        return enter, (0.0, 0.0, cap)
    return enter, ((lx + enter * ux) / radius, (ly + enter * uy) / radius, 0.0)
