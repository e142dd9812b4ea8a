"""Trees, bushes and hedges in their own frame: z = 0 ground."""

import math

import numpy as np

from xdistill.pipeline.street.world import textures as tx
from xdistill.pipeline.street.world.solids import (
    Look,
    Solids,
    Triple,
    box,
    cylinder,
    ellipsoid,
    joined,
    pick,
)

VEGETATION = 8
LEAVES: tuple[tuple[Triple, Triple], ...] = (
    ((0.20, 0.31, 0.12), (0.50, 0.60, 0.26)), ((0.17, 0.33, 0.17), (0.42, 0.58, 0.30)),
    ((0.26, 0.32, 0.13), (0.58, 0.60, 0.28)), ((0.34, 0.28, 0.13), (0.68, 0.54, 0.24)),
    ((0.15, 0.25, 0.16), (0.34, 0.46, 0.30)),
)  # fmt: skip
"""Dark and light leaves of each kind."""


def _leaves(rng: np.random.Generator, texture: int) -> Look:
    dark, light = pick(rng, LEAVES)
    return Look(label=VEGETATION, texture=texture, colour=dark, accent=light)


def tree(rng: np.random.Generator) -> Solids:
    """A broad-leaved tree or a conifer."""
    bark = Look(label=VEGETATION, texture=tx.BARK, colour=(0.30, 0.25, 0.20))
    leaves = _leaves(rng, tx.FOLIAGE)
    if rng.random() < 0.2:
        return _conifer(rng, bark, leaves)
    trunk, spread = rng.uniform(2.0, 3.2), rng.uniform(1.5, 2.6)
    parts = [
        cylinder(bark, (0, 0, trunk / 2 + 0.3), radius=0.06 + 0.06 * spread, length=trunk + 0.6)
    ]
    count = int(rng.integers(4, 7))
    turn = rng.uniform(0, 2 * math.pi)
    for k in range(count):
        angle, away = turn + k * 2.4, (0.55 * spread if k else 0.0)
        size = spread * rng.uniform(0.65, 0.95)
        height = trunk + spread * rng.uniform(0.5, 1.2) + (0.5 * spread if k == 0 else 0.0)
        centre = (away * math.cos(angle), away * math.sin(angle), height)
        parts.append(ellipsoid(leaves, centre, half=(size, size, 0.8 * size)))
    return joined(*parts)


def _conifer(rng: np.random.Generator, bark: Look, leaves: Look) -> Solids:
    height, spread = rng.uniform(6.0, 10.0), rng.uniform(1.2, 1.9)
    parts = [cylinder(bark, (0, 0, 0.6), radius=0.16, length=1.2)]
    for k in range(4):
        share = 1.0 - 0.22 * k
        middle = 1.2 + (height - 1.6) * (k + 0.6) / 4
        half = (spread * share, spread * share, 0.24 * height)
        parts.append(ellipsoid(leaves, (0, 0, middle), half=half))
    return joined(*parts)


def bush(rng: np.random.Generator) -> Solids:
    """A round bush or two."""
    leaves = _leaves(rng, tx.HEDGE)
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        size = rng.uniform(0.5, 1.1)
        centre = (rng.uniform(-0.9, 0.9), rng.uniform(-0.5, 0.5), 0.5 * size)
        parts.append(ellipsoid(leaves, centre, half=(size, size, 0.9 * size)))
    return joined(*parts)


def hedge(rng: np.random.Generator, *, length: float, height: float) -> Solids:
    """A clipped hedge along x."""
    look = _leaves(rng, tx.HEDGE)
    return box(look, (0, 0, height / 2), size=(length, rng.uniform(0.7, 1.1), height))
