"""Solids, of which everything above the ground is built, as arrays for the ray-caster."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from xdistill.pipeline.street.world.textures import PLAIN

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Triple = tuple[float, float, float]
Polygon = Sequence[tuple[float, float]]
Choice = TypeVar("Choice")

BOX, POLYTOPE, ELLIPSOID, CYLINDER = 0, 1, 2, 3
MAX_PLANES = 12
DISPLAY_GAMMA = 2.2
"""Colours are given as displayed (0-1) and lit as linear light."""


SOLID = np.dtype(
    [
        ("centre", "f8", 3),
        ("axes", "f8", (3, 3)),
        ("half", "f8", 3),
        ("kind", "i8"),
        ("texture", "i8"),
        ("label", "i8"),
        ("seed", "i8"),
        ("moving", "i8"),
        ("colour", "f8", 3),
        ("accent", "f8", 3),
        ("params", "f8", 4),
        ("faces", "i8"),
        ("planes", "f8", (MAX_PLANES, 4)),
    ]
)
"""One solid. ``centre``: origin of the local frame, metres. ``axes``: rows are the local axes, so
local = axes @ (point - centre). ``half``: half extents of the local bounding box. ``kind``: see
above. ``texture``: see ``textures``. ``label``: Cityscapes train id. ``seed``: decides the
texture's details, alike for the solids of one object. ``moving``: 1 if the object moves through the
world. ``colour``, ``accent``: linear RGB. ``params``: numbers of the texture. ``faces``: how many
``planes`` (outward normal and offset, local frame) a polytope has."""

Solids = NDArray[np.void]
"""Array of SOLID, shape (N,). One array of records rather than many arrays: a compiled call passes
it in a few registers, and the numbers of one solid lie together in memory."""
Solid = Any
"""One record of SOLID."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What a solid is and how its surface appears."""

    label: int
    """Cityscapes train id."""
    colour: Triple
    """RGB as displayed, 0-1."""
    texture: int = PLAIN
    """Texture number, see ``textures``."""
    accent: Triple = (0.0, 0.0, 0.0)
    """Second RGB as displayed, 0-1."""
    params: tuple[float, ...] = ()
    """Numbers of the texture, at most four."""


def pick(rng: np.random.Generator, choices: Sequence[Choice]) -> Choice:
    """One of several things, each as likely as the others."""
    return choices[int(rng.integers(len(choices)))]


def rotation(*, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Floats:
    """Rz(yaw) Ry(pitch) Rx(roll), radians: local to outer frame."""
    (cz, cy, cx), (sz, sy, sx) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_z = np.array([[cz, -sz, 0.0], [sz, cz, 0.0], [0.0, 0.0, 1.0]])
    about_y = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cx, -sx], [0.0, sx, cx]])
    return np.asarray(about_z @ about_y @ about_x)


def polytope(
    look: Look, centre: Triple, *, planes: Floats, half: Triple, yaw: float = 0.0
) -> Solids:
    """A convex body: every point p with normal . p <= offset for each row of ``planes`` (F, 4)."""
    result = _solid(POLYTOPE, look, centre, rotation(yaw=yaw), half)
    norms = np.linalg.norm(planes[:, :3], axis=1, keepdims=True)
    result["planes"][0, : len(planes)] = planes / norms
    result["faces"] = len(planes)
    return result


def box(look: Look, centre: Triple, *, size: Triple, yaw: float = 0.0) -> Solids:
    """A box of ``size`` metres along its local axes."""
    half = (size[0] / 2, size[1] / 2, size[2] / 2)
    return _solid(BOX, look, centre, rotation(yaw=yaw), half)


def prism(
    look: Look,
    centre: Triple,
    *,
    profile: Polygon,
    width: float,
    lean: float = 0.0,
    yaw: float = 0.0,
) -> Solids:
    """A convex outline in the local x-z plane, counter-clockwise, extruded along y.

    Args:
        profile: Corners (x, z), metres from ``centre``.
        width: Extent along y at z = 0, metres.
        lean: How far the two flat sides lean inwards, metres of y per metre of z.
    """
    corners = np.array(profile)
    edges = np.roll(corners, -1, axis=0) - corners
    normals = np.column_stack([edges[:, 1], np.zeros(len(edges)), -edges[:, 0]])
    offsets = normals[:, 0] * corners[:, 0] + normals[:, 2] * corners[:, 1]
    sides = np.array([[0.0, 1.0, lean, width / 2], [0.0, -1.0, lean, width / 2]])
    reach_x, reach_z = np.abs(corners).max(axis=0)
    reach_y = width / 2 + abs(lean) * reach_z
    planes = np.concatenate([np.column_stack([normals, offsets]), sides])
    return polytope(look, centre, planes=planes, half=(reach_x, reach_y, reach_z), yaw=yaw)


def ellipsoid(look: Look, centre: Triple, *, half: Triple, pitch: float = 0.0) -> Solids:
    """An ellipsoid with the given half axes, pitched about y (positive leans the top forward)."""
    return _solid(ELLIPSOID, look, centre, rotation(pitch=pitch), half)


def cylinder(
    look: Look,
    centre: Triple,
    *,
    radius: float,
    length: float,
    pitch: float = 0.0,
    roll: float = 0.0,
) -> Solids:
    """A capped cylinder about the local z axis; pitch 90 degrees lays it along x, roll along y."""
    turned = rotation(pitch=pitch, roll=roll)
    return _solid(CYLINDER, look, centre, turned, (radius, radius, length / 2))


def _solid(kind: int, look: Look, centre: Triple, turned: Floats, half: Triple) -> Solids:
    result = np.zeros(1, SOLID)
    result["kind"] = kind
    result["centre"], result["axes"], result["half"] = centre, turned.T, half
    result["texture"], result["label"] = look.texture, look.label
    result["colour"] = linear_light(look.colour)
    result["accent"] = linear_light(look.accent)
    result["params"][0, : len(look.params)] = look.params
    return result


def linear_light(colour: Triple) -> Floats:
    """Displayed RGB (0-1) to linear light."""
    return np.asarray(np.clip(colour, 0.0, 1.0) ** DISPLAY_GAMMA)


def joined(*parts: Solids) -> Solids:
    """Several groups of solids as one."""
    # As bytes: numpy would otherwise compare the records field by field, once for each part.
    return np.concatenate([part.view(np.uint8) for part in parts]).view(SOLID)


def placed(solids: Solids, *, x: float, y: float, z: float = 0.0, yaw: float = 0.0) -> Solids:
    """The solids of an object's own frame in the outer frame."""
    turned, result = rotation(yaw=yaw), solids.copy()
    result["centre"] = solids["centre"] @ turned.T + np.array([x, y, z])
    result["axes"] = solids["axes"] @ turned.T
    return result


def having(solids: Solids, field: str, value: float) -> Solids:
    """The same solids with one field set for all of them."""
    result = solids.copy()
    result[field] = value
    return result
