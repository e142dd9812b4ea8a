"""Frontages beyond the sidewalks (houses, walls, fences, plants), and a backdrop."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from xdistill.pipeline.street.world import buildings, plants
from xdistill.pipeline.street.world.road import KERB_M, Road, at, sides
from xdistill.pipeline.street.world.solids import Solids, having, placed

PARKING_M = 2.2
"""Width of the strip along the kerb where cars stand."""
CLEAR_OF_CROSSING_M = 3.0
BACKDROP_M = 24.0
"""Least lateral distance of the backdrop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """How a neighbourhood looks; shares are relative weights."""

    name: str
    """For the reader."""
    frontage: tuple[float, float, float, float, float, float]
    """Shares of: block of flats, house, wall, fence, hedge, open ground."""
    storeys: tuple[int, int]
    """Least and most storeys of a block."""
    parked: float
    """Share of the kerb taken by parked vehicles."""
    people: float
    """People per 10 m of sidewalk."""
    trees: float
    """Share of the places for a tree in the verge that have one."""
    heavy: float
    """Share of trucks and buses among the vehicles."""


STYLES = (
    Style(name="town", frontage=(6, 1, 0.7, 0.7, 0.3, 0.5), storeys=(3, 6), parked=0.5,
          people=0.9, trees=0.35, heavy=0.12),
    Style(name="suburb", frontage=(0.5, 4, 1.5, 2.5, 2.0, 1.0), storeys=(2, 3), parked=0.35,
          people=0.35, trees=0.5, heavy=0.08),
    Style(name="avenue", frontage=(2.5, 1, 2.0, 1.5, 1.0, 2.5), storeys=(3, 5), parked=0.35,
          people=0.6, trees=0.9, heavy=0.15),
    Style(name="works", frontage=(2.0, 0.3, 3.0, 3.0, 0.5, 1.5), storeys=(2, 4), parked=0.35,
          people=0.35, trees=0.25, heavy=0.35),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One side of a road, and the solids placed along it."""

    road: Road
    """The ground."""
    style: Style
    """The neighbourhood."""
    sign: int
    """-1 right, 1 left."""
    rng: np.random.Generator
    """Random source."""
    start: float
    """Least arc length, metres."""
    stop: float
    """Greatest arc length, metres."""
    parts: list[Solids]
    """Everything placed so far, on both sides."""

    def put(
        self, thing: Solids, along: float, *, away: float, turn: float = 0.0, height: float = KERB_M
    ) -> None:
        """Stand a thing at an arc length, ``away`` from the centre line, turned against it."""
        x, y, heading = at(self.road, along, self.sign * away)
        own = having(thing, "seed", int(self.rng.integers(1 << 30)))
        self.parts.append(placed(own, x=x, y=y, z=height, yaw=heading + turn))

    def open(self, along: float, reach: float) -> bool:
        """Whether [along - reach, along + reach] keeps clear of the cross streets."""
        x, _, _ = at(self.road, along, 0.0)
        return all(
            abs(x - centre) > half + reach + CLEAR_OF_CROSSING_M
            for centre, half in self.road.crossings
        )

    @property
    def edge(self) -> float:
        """Distance of the sidewalk's outer edge from the centre line, metres."""
        return self.road.half_width + sum(sides(self.road, self.sign))

    def steps(
        self, least: float, most: float, *, later: float = 0.0, beyond: float = 0.0
    ) -> Iterator[float]:
        """Random positions, from ``later`` metres after the start to ``beyond`` the stop."""
        position = self.start + later + self.rng.uniform(0, most)
        while position < self.stop + beyond:
            yield position
            position += self.rng.uniform(least, most)


def frontage(side: Side) -> None:
    """Fill what lies beyond the sidewalk with stretches of one kind after the other."""
    builders = (_flats, _villa, _walled, _fenced, _hedged, _park)
    weights = np.array(side.style.frontage) / sum(side.style.frontage)
    position = side.start
    while position < side.stop:
        length = side.rng.uniform(9.0, 20.0)
        build = builders[side.rng.choice(len(builders), p=weights)]
        if side.open(position + length / 2, length / 2):
            build(side, position + length / 2, length)
        else:
            length = 3.0
            if side.open(position + 1.5, 1.5):
                side.put(plants.tree(side.rng), position, away=side.edge + 2.5)
        position += length


def _flats(side: Side, middle: float, length: float) -> None:
    depth, setback = side.rng.uniform(8, 12), side.rng.choice([0.0, 0.0, 0.4, 2.5])
    storeys = int(side.rng.integers(side.style.storeys[0], side.style.storeys[1] + 1))
    thing = buildings.block(side.rng, length=length - 0.02, depth=depth, storeys=storeys)
    side.put(thing, middle, away=side.edge + setback + depth / 2 + 1.0)


def _villa(side: Side, middle: float, length: float) -> None:
    """A house behind a low boundary."""
    depth, setback = side.rng.uniform(7, 9), side.rng.uniform(3.0, 6.5)
    thing = buildings.house(side.rng, length=min(length - 3.0, 12.0), depth=depth)
    side.put(thing, middle, away=side.edge + setback + depth / 2)
    boundary = side.rng.integers(4)
    if boundary == 0:
        _fences(side, middle, length=length, height=1.1)
    elif boundary == 1:
        _hedges(side, middle, length=length, height=side.rng.uniform(0.8, 1.5))
    elif boundary == 2:
        _greenery(side, middle, length=length, near=0.8, trees=0)


def _walled(side: Side, middle: float, length: float) -> None:
    look, height = buildings.wall_look(side.rng), side.rng.uniform(1.6, 2.8)
    for along, part in pieces(middle, length):
        thing = buildings.wall(side.rng, length=part + 0.02, height=height, look=look)
        side.put(thing, along, away=side.edge + 0.4)
    _greenery(side, middle, length=length, near=3.5, trees=3)


def _fenced(side: Side, middle: float, length: float) -> None:
    _fences(side, middle, length=length, height=side.rng.uniform(1.4, 2.1))
    _greenery(side, middle, length=length, near=3.0, trees=2)
    if side.rng.random() < 0.5:
        thing = buildings.house(side.rng, length=min(length - 2.0, 11.0), depth=8.0)
        side.put(thing, middle, away=side.edge + 12.0)


def _hedged(side: Side, middle: float, length: float) -> None:
    _hedges(side, middle, length=length, height=side.rng.uniform(1.3, 2.2))
    _greenery(side, middle, length=length, near=3.5, trees=3)


def _park(side: Side, middle: float, length: float) -> None:
    _greenery(side, middle, length=length, near=2.5, trees=4)


def pieces(middle: float, length: float) -> Iterator[tuple[float, float]]:
    """Middle and length of the equal parts of a run that follow the road's bend."""
    count = max(1, round(length / 3.0))
    part = length / count
    for k in range(count):
        yield middle - length / 2 + (k + 0.5) * part, part


def _fences(side: Side, middle: float, *, length: float, height: float) -> None:
    look = buildings.fence_look(side.rng)
    for along, part in pieces(middle, length):
        thing = buildings.fence(length=part + 0.02, height=height, look=look)
        side.put(thing, along, away=side.edge + 0.3)


def _hedges(side: Side, middle: float, *, length: float, height: float) -> None:
    for along, part in pieces(middle, length):
        own = height * side.rng.uniform(0.95, 1.05)
        side.put(plants.hedge(side.rng, length=part + 0.1, height=own), along, away=side.edge + 0.7)


def _greenery(side: Side, middle: float, *, length: float, near: float, trees: int) -> None:
    """Trees and bushes over a stretch, from ``near`` metres beyond the sidewalk."""
    for _ in range(trees):
        along = middle + side.rng.uniform(-0.5, 0.5) * length
        away = side.edge + near + side.rng.exponential(5.0)
        side.put(plants.tree(side.rng), along, away=away)
    for _ in range(int(side.rng.integers(0, 4))):
        along = middle + side.rng.uniform(-0.5, 0.5) * length
        away = side.edge + near * side.rng.uniform(0.8, 1.5)
        side.put(plants.bush(side.rng), along, away=away)


def backdrop(side: Side) -> None:
    """A second row of houses and trees, so that few rays reach the horizon."""
    for along in side.steps(9.0, 16.0, beyond=30.0):
        away = BACKDROP_M + side.rng.exponential(7.0)
        if not side.open(along, -CLEAR_OF_CROSSING_M):
            continue
        if side.rng.random() < 0.45:
            length, storeys = side.rng.uniform(9, 16), int(side.rng.integers(2, 6))
            thing = buildings.block(side.rng, length=length, depth=10.0, storeys=storeys)
            side.put(thing, along, away=away + 4.0)
        else:
            side.put(plants.tree(side.rng), along, away=away)
