"""What stands beyond the sidewalks: frontages of houses, walls, fences and plants; a backdrop."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from xdistill.pipeline.street.world import buildings, plants
from xdistill.pipeline.street.world.road import KERB_M, Road, at, sides
from xdistill.pipeline.street.world.solids import Solids, having, placed

Rng = np.random.Generator
PARKING_M = 2.2
"""Width of the strip along the kerb where cars stand."""
CLEAR_OF_CROSSING_M = 3.0
BACKDROP_M = 24.0
"""Nearest lateral distance of what closes the view."""


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


class Site:
    """Collects what is put along a road."""

    def __init__(self, road: Road, rng: Rng) -> None:
        self.road = road
        self.rng = rng
        self.parts: list[Solids] = []

    def put(
        self,
        thing: Solids,
        *,
        along: float,
        lateral: float,
        turn: float = 0.0,
        height: float = KERB_M,
    ) -> None:
        """Stand a thing at an arc length and lateral position, turned against the road."""
        x, y, heading = at(self.road, along, lateral)
        own = having(thing, "seed", int(self.rng.integers(1 << 30)))
        self.parts.append(placed(own, x=x, y=y, z=height, yaw=heading + turn))

    def open(self, along: float, reach: float) -> bool:
        """Whether [along - reach, along + reach] keeps clear of the cross streets."""
        x, _, _ = at(self.road, along, 0.0)
        return all(
            abs(x - centre) > half + reach + CLEAR_OF_CROSSING_M
            for centre, half in self.road.crossings
        )

    def edge(self, side: int) -> float:
        """Distance of the sidewalk's outer edge from the centre line; side is -1 right, 1 left."""
        return self.road.half_width + sum(sides(self.road, side))


def steps(rng: Rng, start: float, stop: float, *, least: float, most: float) -> Iterator[float]:
    """Random positions from start to stop."""
    position = start + rng.uniform(0, most)
    while position < stop:
        yield position
        position += rng.uniform(least, most)


def frontage(site: Site, side: int, *, style: Style, start: float, stop: float) -> None:
    """Fill one side beyond the sidewalk with stretches of one kind after the other."""
    builders = (_flats, _villa, _walled, _fenced, _hedged, _park)
    weights = np.array(style.frontage) / sum(style.frontage)
    position = start
    while position < stop:
        length = site.rng.uniform(9.0, 20.0)
        kind: Callable[..., None] = builders[site.rng.choice(len(builders), p=weights)]
        if site.open(position + length / 2, length / 2):
            kind(site, side, position + length / 2, length, style)
        elif site.open(position + 1.5, 1.5):
            length = 3.0
            site.put(plants.tree(site.rng), along=position, lateral=side * (site.edge(side) + 2.5))
        else:
            length = 3.0
        position += length


def _flats(site: Site, side: int, middle: float, length: float, style: Style) -> None:
    depth, setback = site.rng.uniform(8, 12), site.rng.choice([0.0, 0.0, 0.4, 2.5])
    storeys = int(site.rng.integers(style.storeys[0], style.storeys[1] + 1))
    thing = buildings.block(site.rng, length=length - 0.02, depth=depth, storeys=storeys)
    lateral = side * (site.edge(side) + setback + depth / 2 + 1.0)
    site.put(thing, along=middle, lateral=lateral)


def _villa(site: Site, side: int, middle: float, length: float, style: Style) -> None:
    """A house behind a low boundary."""
    depth, setback = site.rng.uniform(7, 9), site.rng.uniform(3.0, 6.5)
    thing = buildings.house(site.rng, length=min(length - 3.0, 12.0), depth=depth)
    site.put(thing, along=middle, lateral=side * (site.edge(side) + setback + depth / 2))
    boundary = site.rng.integers(4)
    if boundary == 0:
        _fences(site, side, middle, length=length, height=1.1)
    elif boundary == 1:
        _hedges(site, side, middle, length=length, height=site.rng.uniform(0.8, 1.5))
    elif boundary == 2:
        _greenery(site, side, middle, length=length, near=0.8, trees=0)


def _walled(site: Site, side: int, middle: float, length: float, style: Style) -> None:
    look, height = buildings.wall_look(site.rng), site.rng.uniform(1.6, 2.8)
    for along, part in pieces(middle, length):
        thing = buildings.wall(site.rng, length=part + 0.02, height=height, look=look)
        site.put(thing, along=along, lateral=side * (site.edge(side) + 0.4))
    _greenery(site, side, middle, length=length, near=3.5, trees=3)


def _fenced(site: Site, side: int, middle: float, length: float, style: Style) -> None:
    _fences(site, side, middle, length=length, height=site.rng.uniform(1.4, 2.1))
    _greenery(site, side, middle, length=length, near=3.0, trees=2)
    if site.rng.random() < 0.5:
        thing = buildings.house(site.rng, length=min(length - 2.0, 11.0), depth=8.0)
        site.put(thing, along=middle, lateral=side * (site.edge(side) + 12.0))


def _hedged(site: Site, side: int, middle: float, length: float, style: Style) -> None:
    _hedges(site, side, middle, length=length, height=site.rng.uniform(1.3, 2.2))
    _greenery(site, side, middle, length=length, near=3.5, trees=3)


def _park(site: Site, side: int, middle: float, length: float, style: Style) -> None:
    _greenery(site, side, middle, length=length, near=2.5, trees=4)


def pieces(middle: float, length: float) -> Iterator[tuple[float, float]]:
    """Middle and length of the equal parts of a run that follow the road's bend."""
    count = max(1, round(length / 3.0))
    part = length / count
    for k in range(count):
        yield middle - length / 2 + (k + 0.5) * part, part


def _fences(site: Site, side: int, middle: float, *, length: float, height: float) -> None:
    look = buildings.fence_look(site.rng)
    for along, part in pieces(middle, length):
        thing = buildings.fence(length=part + 0.02, height=height, look=look)
        site.put(thing, along=along, lateral=side * (site.edge(side) + 0.3))


def _hedges(site: Site, side: int, middle: float, *, length: float, height: float) -> None:
    for along, part in pieces(middle, length):
        thing = plants.hedge(
            site.rng, length=part + 0.1, height=height * site.rng.uniform(0.95, 1.05)
        )
        site.put(thing, along=along, lateral=side * (site.edge(side) + 0.7))


def _greenery(
    site: Site, side: int, middle: float, *, length: float, near: float, trees: int
) -> None:
    """Trees and bushes over a stretch, from ``near`` metres beyond the sidewalk."""
    for _ in range(trees):
        along = middle + site.rng.uniform(-0.5, 0.5) * length
        lateral = side * (site.edge(side) + near + site.rng.exponential(5.0))
        site.put(plants.tree(site.rng), along=along, lateral=lateral)
    for _ in range(int(site.rng.integers(0, 4))):
        along = middle + site.rng.uniform(-0.5, 0.5) * length
        lateral = side * (site.edge(side) + near * site.rng.uniform(0.8, 1.5))
        site.put(plants.bush(site.rng), along=along, lateral=lateral)


def backdrop(site: Site, side: int, *, start: float, stop: float) -> None:
    """A second row of houses and trees, so that few rays reach the horizon."""
    for along in steps(site.rng, start, stop, least=9.0, most=16.0):
        lateral = side * (BACKDROP_M + site.rng.exponential(7.0))
        if not site.open(along, -CLEAR_OF_CROSSING_M):
            continue
        if site.rng.random() < 0.45:
            thing = buildings.block(
                site.rng,
                length=site.rng.uniform(9, 16),
                depth=10.0,
                storeys=int(site.rng.integers(2, 6)),
            )
            site.put(thing, along=along, lateral=lateral + side * 4.0)
        else:
            site.put(plants.tree(site.rng), along=along, lateral=lateral)
