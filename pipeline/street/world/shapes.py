"""Where a ray meets a solid: exact intersections in the solid's own frame."""

import math

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.noise import value3
from xdistill.pipeline.street.world.solids import BOX, ELLIPSOID, POLYTOPE, Solid
from xdistill.pipeline.street.world.textures import FOLIAGE

MISS = 1e30
"""Distance of a ray that meets nothing, metres."""
NEAREST_M = 0.05
HOLES_M = (0.75, 0.26)
"""Sizes of the large and small gaps in a crown of leaves."""
HOLE_SHARE = 0.40
"""Gaps are where the noise stays below this."""

Hit = tuple[float, float, float, float]
"""Distance, and the local outward normal."""


@compiled
def meet(solid: Solid, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float) -> Hit:
    """First point where the ray o + t d meets a solid.

    Args:
        solid: The solid.
        ox: Ray's origin, with oy and oz; world frame, metres.
        dx: Ray's unit direction, with dy and dz.

    Returns:
        t in metres (MISS if it misses) and the normal in the solid's local frame.
    """
    a, c = solid["axes"], solid["centre"]
    px, py, pz = ox - c[0], oy - c[1], oz - c[2]
    lx = a[0, 0] * px + a[0, 1] * py + a[0, 2] * pz
    ly = a[1, 0] * px + a[1, 1] * py + a[1, 2] * pz
    lz = a[2, 0] * px + a[2, 1] * py + a[2, 2] * pz
    ux = a[0, 0] * dx + a[0, 1] * dy + a[0, 2] * dz
    uy = a[1, 0] * dx + a[1, 1] * dy + a[1, 2] * dz
    uz = a[2, 0] * dx + a[2, 1] * dy + a[2, 2] * dz
    if solid["kind"] == BOX:
        return _box(solid, lx, ly, lz, ux, uy, uz)
    if solid["kind"] == POLYTOPE:
        return _polytope(solid, lx, ly, lz, ux, uy, uz)
    if solid["kind"] == ELLIPSOID:
        return _ellipsoid(solid, lx, ly, lz, ux, uy, uz)
    return _cylinder(solid, lx, ly, lz, ux, uy, uz)


@compiled
def _box(solid: Solid, lx: float, ly: float, lz: float, ux: float, uy: float, uz: float) -> Hit:
    """Clip the ray by three slabs (Kay and Kajiya, 1986)."""
    enter, leave, axis = -MISS, MISS, -1
    for k in range(3):
        o, d = (lx, ux) if k == 0 else ((ly, uy) if k == 1 else (lz, uz))
        h = solid["half"][k]
        if abs(d) > 1e-12:
            middle, reach = -o / d, h / abs(d)
            if middle - reach > enter:
                enter, axis = middle - reach, k
            leave = min(leave, middle + reach)
        elif abs(o) > h:
            return MISS, 0.0, 0.0, 0.0
        if enter > leave:
            return MISS, 0.0, 0.0, 0.0
    if enter < NEAREST_M:
        return MISS, 0.0, 0.0, 0.0
    if axis == 0:
        return enter, math.copysign(1.0, -ux), 0.0, 0.0
    if axis == 1:
        return enter, 0.0, math.copysign(1.0, -uy), 0.0
    return enter, 0.0, 0.0, math.copysign(1.0, -uz)


@compiled
def _polytope(
    solid: Solid, lx: float, ly: float, lz: float, ux: float, uy: float, uz: float
) -> Hit:
    """Clip the ray by one half space after the other."""
    planes = solid["planes"]
    enter, leave, face = -MISS, MISS, -1
    for k in range(solid["faces"]):
        nx, ny, nz = planes[k, 0], planes[k, 1], planes[k, 2]
        slope = nx * ux + ny * uy + nz * uz
        gap = planes[k, 3] - nx * lx - ny * ly - nz * lz
        if slope < 0.0:
            t = gap / slope
            if t > enter:
                enter, face = t, k
        elif slope > 0.0:
            leave = min(leave, gap / slope)
        elif gap < 0.0:
            return MISS, 0.0, 0.0, 0.0
        if enter > leave:
            return MISS, 0.0, 0.0, 0.0
    if face < 0 or enter < NEAREST_M:
        return MISS, 0.0, 0.0, 0.0
    return enter, planes[face, 0], planes[face, 1], planes[face, 2]


@compiled
def _ellipsoid(
    solid: Solid, lx: float, ly: float, lz: float, ux: float, uy: float, uz: float
) -> Hit:
    """The two roots of the quadratic; a crown of leaves lets a ray through its gaps."""
    hx, hy, hz = solid["half"][0], solid["half"][1], solid["half"][2]
    px, py, pz = lx / hx, ly / hy, lz / hz
    qx, qy, qz = ux / hx, uy / hy, uz / hz
    a = qx * qx + qy * qy + qz * qz
    b = px * qx + py * qy + pz * qz
    c = px * px + py * py + pz * pz - 1.0
    root = b * b - a * c
    if root <= 0.0:
        return MISS, 0.0, 0.0, 0.0
    root = math.sqrt(root)
    for sign in (-1.0, 1.0):
        t = (-b + sign * root) / a
        if t > NEAREST_M:
            x, y, z = lx + t * ux, ly + t * uy, lz + t * uz
            if solid["texture"] != FOLIAGE or not _gap(x, y, z, solid["seed"] + int(1000.0 * hx)):
                nx, ny, nz = x / (hx * hx), y / (hy * hy), z / (hz * hz)
                norm = -sign / math.sqrt(nx * nx + ny * ny + nz * nz)
                return t, nx * norm, ny * norm, nz * norm
            if c <= 0.0:
                return MISS, 0.0, 0.0, 0.0
    return MISS, 0.0, 0.0, 0.0


@compiled
def _gap(x: float, y: float, z: float, seed: int) -> bool:
    large, small = 1.0 / HOLES_M[0], 1.0 / HOLES_M[1]
    noise = 0.6 * value3(x * large, y * large, z * large, seed)
    if noise > HOLE_SHARE:
        return False
    return noise + 0.4 * value3(x * small, y * small, z * small, seed + 1) < HOLE_SHARE


@compiled
def _cylinder(
    solid: Solid, lx: float, ly: float, lz: float, ux: float, uy: float, uz: float
) -> Hit:
    """Clip the ray by the infinite cylinder and by the two caps."""
    radius, length = solid["half"][0], solid["half"][2]
    a = ux * ux + uy * uy
    b = lx * ux + ly * uy
    c = lx * lx + ly * ly - radius * radius
    enter, leave, cap = -MISS, MISS, 0.0
    if a > 1e-12:
        root = b * b - a * c
        if root <= 0.0:
            return MISS, 0.0, 0.0, 0.0
        root = math.sqrt(root)
        enter, leave = (-b - root) / a, (-b + root) / a
    elif c > 0.0:
        return MISS, 0.0, 0.0, 0.0
    if abs(uz) > 1e-12:
        side = -1.0 if uz > 0.0 else 1.0
        near, far = (side * length - lz) / uz, (-side * length - lz) / uz
        if near > enter:
            enter, cap = near, side
        leave = min(leave, far)
    elif abs(lz) > length:
        return MISS, 0.0, 0.0, 0.0
    if enter > leave or enter < NEAREST_M:
        return MISS, 0.0, 0.0, 0.0
    if cap != 0.0:
        return enter, 0.0, 0.0, cap
    return enter, (lx + enter * ux) / radius, (ly + enter * uy) / radius, 0.0
