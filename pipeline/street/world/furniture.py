"""Lamps, signs, traffic lights, poles and bins in their own frame: x along the road, z = 0 foot."""

import math

import numpy as np

from xdistill.pipeline.street.world import textures as tx
from xdistill.pipeline.street.world.solids import (
    Look,
    Solids,
    Triple,
    box,
    cylinder,
    joined,
    pick,
    polytope,
)

POLE, LIGHT, SIGN, IGNORED = 5, 6, 7, 255
STEELS: tuple[Triple, ...] = ((0.52, 0.54, 0.55), (0.30, 0.33, 0.33), (0.22, 0.28, 0.26))
DISC_CORNERS = 10
SIGN_LOOKS: tuple[tuple[float, Triple, Triple, float, float, float], ...] = (
    # style, rim, ground, brightness of the figure, width, height in metres
    (0.0, (0.80, 0.08, 0.10), (0.95, 0.95, 0.95), 0.01, 0.80, 0.80),
    (0.0, (0.80, 0.08, 0.10), (0.80, 0.08, 0.10), 0.85, 0.80, 0.80),
    (0.0, (0.08, 0.25, 0.65), (0.08, 0.25, 0.65), 0.85, 0.80, 0.80),
    (1.0, (0.95, 0.95, 0.95), (0.08, 0.25, 0.65), 0.85, 0.75, 0.75),
    (1.0, (0.80, 0.08, 0.10), (0.95, 0.85, 0.20), 0.01, 0.80, 0.80),
    (2.0, (0.95, 0.95, 0.95), (0.95, 0.80, 0.10), 0.01, 1.60, 0.90),
    (2.0, (0.95, 0.95, 0.95), (0.10, 0.35, 0.70), 0.85, 2.20, 1.30),
    (2.0, (0.95, 0.95, 0.95), (0.08, 0.40, 0.25), 0.85, 2.00, 1.20),
)


def steel(rng: np.random.Generator) -> Look:
    """One of a few metal colours."""
    return Look(label=POLE, texture=tx.METAL, colour=pick(rng, STEELS))


def lamp(look: Look, rng: np.random.Generator, *, side: int) -> Solids:
    """A street lamp whose arm reaches over the road; ``side`` is 1 left of it, -1 right."""
    height, reach = rng.uniform(6.5, 8.5), rng.uniform(1.4, 2.2)
    head = box(look, (0.0, -side * reach, height - 0.08), size=(0.35, 0.75, 0.16))
    arm = _arm(look, side * reach, height - 0.05, radius=0.06)
    return joined(_post(look, height, 0.11), arm, head)


def utility_pole(rng: np.random.Generator) -> Solids:
    """A wooden pole with a cross bar."""
    look = Look(label=POLE, texture=tx.BARK, colour=(0.42, 0.34, 0.27))
    height = rng.uniform(7.5, 9.5)
    bar = box(look, (0.0, 0.0, height - 0.7), size=(0.12, 1.8, 0.14))
    return joined(_post(look, height, 0.15), bar)


def bollard(look: Look) -> Solids:
    """A low post."""
    return _post(look, 0.95, 0.09)


def sign(look: Look, rng: np.random.Generator) -> Solids:
    """One or two traffic signs on a post, facing traffic that drives along x."""
    style, rim, ground, figure, width, height = pick(rng, SIGN_LOOKS)
    face = Look(label=SIGN, texture=tx.SIGN, colour=rim, accent=ground, params=(style, figure))
    foot = rng.uniform(2.1, 2.5)
    centre = (-0.10, 0.0, foot + height / 2)
    if style == 0.0:
        plate = _disc(face, centre, radius=width / 2)
    else:
        plate = box(face, centre, size=(0.06, width, height))
    return joined(_post(look, foot + height, 0.055 if width < 1.2 else 0.09), plate)


def _disc(look: Look, centre: Triple, *, radius: float) -> Solids:
    """A round plate across x; a polygon, because a cylinder's own axis is z."""
    angles = np.arange(DISC_CORNERS) * 2 * math.pi / DISC_CORNERS
    radii, reach = np.full(DISC_CORNERS, radius), radius / math.cos(math.pi / DISC_CORNERS)
    rim = np.column_stack([0 * angles, np.cos(angles), np.sin(angles), radii])
    planes = np.concatenate([rim, [[1.0, 0.0, 0.0, 0.03], [-1.0, 0.0, 0.0, 0.03]]])
    return polytope(look, centre, planes=planes, half=(0.03, reach, reach))


def traffic_light(look: Look, rng: np.random.Generator, *, side: int, reach: float) -> Solids:
    """Lamps on a post at eye level; with ``reach`` > 0 also over the road on an arm, metres."""
    lit = float(rng.integers(3))
    low = _lamps(lit, y=0.0, z=2.75)
    if reach == 0.0:
        return joined(_post(look, 3.4, 0.09), low)
    arm = _arm(look, side * reach, 5.8, radius=0.08)
    return joined(_post(look, 5.9, 0.12), low, arm, _lamps(lit, y=-side * reach, z=5.45))


def _lamps(lit: float, *, y: float, z: float) -> Solids:
    face = Look(label=LIGHT, texture=tx.LAMPS, colour=(0.1, 0.1, 0.1), params=(lit,))
    return box(face, (-0.18, y, z), size=(0.30, 0.40, 1.10))


def litter_bin(rng: np.random.Generator) -> Solids:
    """A wheeled bin: of no class, so ignored."""
    colours: tuple[Triple, ...] = ((0.2, 0.22, 0.22), (0.15, 0.35, 0.2), (0.75, 0.6, 0.1))
    look = Look(label=IGNORED, colour=pick(rng, colours))
    return box(look, (0.0, 0.0, 0.52), size=(0.6, 0.6, 1.04))


def _post(look: Look, height: float, radius: float) -> Solids:
    return cylinder(look, (0.0, 0.0, height / 2), radius=radius, length=height)


def _arm(look: Look, reach: float, height: float, *, radius: float) -> Solids:
    """A bar from the post to the right, to the left where ``reach`` is negative."""
    centre = (0.0, -reach / 2, height)
    return cylinder(look, centre, radius=radius, length=abs(reach), roll=math.pi / 2)
