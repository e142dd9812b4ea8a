"""Cars, vans, trucks, buses, trams and two-wheelers in their own frame: x forward, z = 0 ground."""

import math

import numpy as np

from xdistill.pipeline.street.world import textures as tx
from xdistill.pipeline.street.world.people import rider
from xdistill.pipeline.street.world.solids import (
    Look,
    Polygon,
    Solids,
    Triple,
    box,
    cylinder,
    joined,
    pick,
    prism,
)

CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = 13, 14, 15, 16, 17, 18
PAINTS: tuple[Triple, ...] = (
    (0.93, 0.93, 0.93), (0.70, 0.72, 0.74), (0.40, 0.42, 0.45), (0.10, 0.10, 0.11),
    (0.62, 0.08, 0.08), (0.10, 0.18, 0.45), (0.20, 0.35, 0.60), (0.75, 0.70, 0.55),
    (0.12, 0.28, 0.18), (0.85, 0.55, 0.12),
)  # fmt: skip
LIVERIES: tuple[tuple[Triple, Triple], ...] = (
    ((0.93, 0.90, 0.80), (0.70, 0.10, 0.10)), ((0.85, 0.65, 0.15), (0.25, 0.10, 0.10)),
    ((0.20, 0.45, 0.30), (0.90, 0.90, 0.88)), ((0.75, 0.12, 0.12), (0.92, 0.92, 0.90)),
    ((0.25, 0.40, 0.70), (0.92, 0.92, 0.92)),
)  # fmt: skip
RUBBER = (0.08, 0.08, 0.085)


def car(rng: np.random.Generator) -> Solids:
    """A saloon, hatchback, estate or van, painted and sized at random."""
    length, width = rng.uniform(3.9, 4.7), rng.uniform(1.70, 1.85)
    roof, rear = rng.uniform(1.42, 1.58), rng.choice([0.85, 0.30, 0.12])
    if rng.random() < 0.15:
        length, width, roof, rear = rng.uniform(4.8, 5.4), 1.95, rng.uniform(1.9, 2.3), 0.05
    paint = pick(rng, PAINTS)
    nose, tail, level = length / 2, -length / 2, 0.60
    outline = [
        (tail + 0.10, 0.24), (nose - 0.10, 0.24), (nose, 0.45), (nose - 0.03, 0.68),
        (nose - 0.30, 0.80), (0.15 * length, 0.94), (tail + 0.12, 0.98), (tail, 0.72),
    ]  # fmt: skip
    look = Look(label=CAR, texture=tx.PAINT, colour=paint, params=(nose, 0.07, -0.22))
    body = _extruded(look, outline, middle=level, width=width)
    base, middle = 0.90, (0.90 + roof) / 2
    windows = [
        (tail + 0.12 + 0.6 * rear, base), (0.20 * length, base),
        (0.02 * length, roof - 0.02), (tail + 0.30 + rear, roof),
    ]  # fmt: skip
    glass = Look(label=CAR, texture=tx.CABIN, colour=paint, params=(roof - middle - 0.07, 1.05))
    lean = 0.30 if roof < 1.8 else 0.12
    cabin = _extruded(glass, windows, middle=middle, width=width - 0.22, lean=lean)
    return joined(body, cabin, *_wheels(CAR, x=0.31 * length, y=width / 2 - 0.10, radius=0.32))


def _extruded(
    look: Look, outline: Polygon, *, middle: float, width: float, lean: float = 0.0
) -> Solids:
    """A prism from an outline (x, z) above the ground, about the height ``middle``."""
    profile = [(x, z - middle) for x, z in outline]
    return prism(look, (0.0, 0.0, middle), profile=profile, width=width, lean=lean)


def _wheels(label: int, *, x: float, y: float, radius: float) -> list[Solids]:
    """Two axles at +-x with two wheels each."""
    places = [(a * x, b * y) for a in (-1, 1) for b in (-1, 1)]
    return [_wheel(label, x, y, radius=radius, width=0.24) for x, y in places]


def _wheel(label: int, x: float, y: float = 0.0, *, radius: float, width: float) -> Solids:
    look = Look(label=label, texture=tx.WHEEL, colour=RUBBER)
    return cylinder(look, (x, y, radius), radius=radius, length=width, roll=math.pi / 2)


def truck(rng: np.random.Generator) -> Solids:
    """A lorry: a cab before a box body."""
    length, height = rng.uniform(6.0, 8.5), rng.uniform(2.9, 3.5)
    paint = pick(rng, PAINTS)
    cargo = pick(rng, PAINTS) if rng.random() < 0.5 else PAINTS[0]
    nose, cab = length / 2, 1.9
    hull, half = length - cab - 0.1, cab / 2
    front = [(-half, -0.9), (half, -0.9), (half, 0.1), (half - 0.25, 1.1), (-half, 1.1)]
    windows = [(-0.5, -0.4), (0.93, -0.4), (0.80, 0.36), (-0.5, 0.36)]
    look = Look(label=TRUCK, texture=tx.PAINT, colour=paint, params=(half, -0.55, -0.75))
    glass = Look(label=TRUCK, texture=tx.CABIN, colour=paint, params=(0.34, 1.5))
    body = _banded(TRUCK, (cargo, pick(rng, LIVERIES)[1]), (9.0, 9.1, 9.0))
    centre, size = (nose - cab - 0.1 - hull / 2, 0, 0.5 + height / 2), (hull, 2.45, height - 0.75)
    parts = [
        prism(look, (nose - half, 0, 1.35), profile=front, width=2.3),
        prism(glass, (nose - half, 0, 2.0), profile=windows, width=2.34),
        box(body, centre, size=size),
        box(_dark(TRUCK), (-0.2, 0, 0.62), size=(length - 0.8, 1.2, 0.4)),
    ]
    return joined(*parts, *_wheels(TRUCK, x=0.36 * length, y=1.05, radius=0.48))


def bus(rng: np.random.Generator) -> Solids:
    """A city bus."""
    length = rng.uniform(9.5, 12.0)
    side = _banded(BUS, pick(rng, LIVERIES), (-0.15, 0.85, 1.5))
    shell = box(side, (0, 0, 1.70), size=(length, 2.5, 2.7))
    return joined(shell, *_wheels(BUS, x=0.32 * length, y=1.18, radius=0.48), *_ends(BUS, length))


def _ends(label: int, length: float) -> list[Solids]:
    """Lamps on both ends."""
    front = Look(label=label, texture=tx.GLOW, colour=(0.95, 0.95, 0.88))
    back = Look(label=label, colour=(0.65, 0.05, 0.05))
    return [
        box(look, (sign * length / 2, side, 0.75), size=(0.06, 0.35, 0.18))
        for sign, look in ((1, front), (-1, back))
        for side in (-0.95, 0.95)
    ]


def tram(rng: np.random.Generator) -> Solids:
    """A tram of two cars."""
    look = _banded(TRAIN, pick(rng, LIVERIES), (-0.2, 0.9, 1.25))
    half, nose = 6.5, 0.9
    front = [(-half, -1.5), (half - 0.2, -1.5), (half, -0.4), (half - nose, 1.5), (-half, 1.5)]
    back = [(-x, z) for x, z in reversed(front)]
    parts = []
    for shift, outline in ((6.8, front), (-6.8, back)):
        parts.append(prism(look, (shift, 0, 1.85), profile=outline, width=2.4))
        parts.append(box(_dark(TRAIN), (shift, 0, 0.3), size=(8.0, 1.8, 0.5)))
    parts.append(box(_dark(TRAIN), (0, 0, 1.75), size=(1.0, 2.0, 2.5)))
    return joined(*parts, *_ends(TRAIN, 26.4))


def _banded(label: int, livery: tuple[Triple, Triple], params: Triple) -> Look:
    """A side with a band of windows and a stripe."""
    colour, accent = livery
    return Look(label=label, texture=tx.BANDED, colour=colour, accent=accent, params=params)


def _dark(label: int) -> Look:
    return Look(label=label, colour=(0.16, 0.16, 0.17))


def bicycle(rng: np.random.Generator) -> Solids:
    """A bicycle without a rider."""
    frame = Look(label=BICYCLE, texture=tx.METAL, colour=pick(rng, PAINTS))
    return joined(
        _wheel(BICYCLE, 0.52, radius=0.34, width=0.06),
        _wheel(BICYCLE, -0.52, radius=0.34, width=0.06),
        cylinder(frame, (0.05, 0, 0.72), radius=0.04, length=0.85, pitch=math.pi / 2),
        cylinder(frame, (0.10, 0, 0.50), radius=0.04, length=0.70, pitch=0.8),
        cylinder(frame, (-0.22, 0, 0.62), radius=0.04, length=0.75, pitch=-0.3),
        cylinder(frame, (0.46, 0, 0.70), radius=0.04, length=0.75, pitch=-0.3),
        cylinder(frame, (0.38, 0, 1.05), radius=0.03, length=0.55, roll=math.pi / 2),
        box(_dark(BICYCLE), (-0.30, 0, 0.98), size=(0.28, 0.16, 0.08)),
    )


def motorcycle(rng: np.random.Generator) -> Solids:
    """A motorcycle or scooter without a rider."""
    paint, dark = pick(rng, PAINTS), _dark(MOTORCYCLE)
    look = Look(label=MOTORCYCLE, texture=tx.PAINT, colour=paint, params=(9.0, 0, -9.0))
    tank = [(-0.45, -0.25), (0.40, -0.25), (0.48, 0.10), (0.20, 0.28), (-0.40, 0.12)]
    return joined(
        _wheel(MOTORCYCLE, 0.70, radius=0.31, width=0.14),
        _wheel(MOTORCYCLE, -0.65, radius=0.31, width=0.16),
        prism(look, (0.05, 0, 0.66), profile=tank, width=0.42),
        box(dark, (-0.42, 0, 0.82), size=(0.75, 0.32, 0.14)),
        box(dark, (0.0, 0, 0.38), size=(0.55, 0.34, 0.34)),
        cylinder(dark, (0.58, 0, 0.68), radius=0.06, length=0.80, pitch=-0.35),
        cylinder(dark, (0.45, 0, 1.05), radius=0.035, length=0.70, roll=math.pi / 2),
    )


def ridden(rng: np.random.Generator, machine: Solids) -> Solids:
    """A two-wheeler with its rider."""
    return joined(machine, rider(rng))
