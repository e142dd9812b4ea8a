"""Between carriageway and frontages: posts, trees, parked vehicles, standing people."""

import numpy as np

from xdistill.pipeline.street.world import furniture, people, plants, vehicles
from xdistill.pipeline.street.world.layout import Side, Style
from xdistill.pipeline.street.world.road import sides
from xdistill.pipeline.street.world.solids import Solids


def posts(side: Side) -> None:
    """Lamps, signs, poles, bollards and bins near the kerb."""
    rng, kerb = side.rng, side.road.half_width
    look, wooden = furniture.steel(rng), rng.random() < 0.2
    for along in side.steps(22.0, 30.0):
        if side.open(along, 0.0):
            lamp = furniture.lamp
            thing = furniture.utility_pole(rng) if wooden else lamp(look, rng, side=side.sign)
            side.put(thing, along, away=kerb + 0.55)
    for along in side.steps(7.0, 19.0):
        if side.open(along, 0.0):
            side.put(furniture.sign(look, rng), along, away=kerb + 0.6)
    for along in side.steps(14.0, 60.0):
        if side.open(along, 2.0):
            for k in range(int(rng.integers(2, 5))):
                side.put(furniture.bollard(look), along + 1.6 * k, away=kerb + 0.35)
    for along in side.steps(20.0, 60.0):
        side.put(furniture.litter_bin(rng), along, away=side.edge - 0.4)


def verge_trees(side: Side) -> None:
    """A row of trees in a verge; without a verge, an occasional tree in the sidewalk."""
    verge, _ = sides(side.road, side.sign)
    share = side.style.trees if verge > 0.5 else 0.2 * side.style.trees
    for along in side.steps(7.0, 11.0):
        if side.rng.random() < share and side.open(along, 1.0):
            away = side.road.half_width + max(verge / 2, 0.7)
            side.put(plants.tree(side.rng), along, away=away)


def traffic_lights(right: Side, left: Side) -> None:
    """Lights before each cross street, on both sides."""
    road, rng = right.road, right.rng
    look = furniture.steel(rng)
    for centre, half in road.crossings:
        if rng.random() < 0.25:
            continue
        before, after = road.along(centre - half - 1.0), road.along(centre + half + 1.0)
        reach = road.half_width - 0.3 if rng.random() < 0.6 else 0.0
        places = (right, before, reach), (right, after, 0.0), (left, before, 0.0)
        for side, along, over in (*places, (left, after, reach)):
            light = furniture.traffic_light(look, rng, side=side.sign, reach=over)
            side.put(light, along, away=road.half_width + 0.5)


def parked(side: Side) -> None:
    """Vehicles along the kerb, bicycles against the frontage."""
    rng, turn = side.rng, 0.0 if side.sign < 0 else np.pi
    for along in side.steps(6.0, 7.5):
        if rng.random() > side.style.parked or not side.open(along, 7.0):
            continue
        thing, angle = vehicle(rng, side.style, cycles=0.12), turn + rng.normal(0, 0.02)
        side.put(thing, along, away=side.road.half_width - 1.05, turn=angle, height=0.0)
    for along in side.steps(8.0, 30.0):
        for k in range(int(rng.integers(1, 4))):
            thing, angle = vehicles.bicycle(rng), rng.uniform(-0.4, 0.4)
            side.put(thing, along + 0.9 * k, away=side.edge - 0.45, turn=angle)


def vehicle(rng: np.random.Generator, style: Style, *, cycles: float) -> Solids:
    """A parked or moving vehicle; ``cycles`` is the share of motorcycles."""
    if rng.random() < cycles:
        return vehicles.motorcycle(rng)
    if rng.random() < style.heavy:
        return vehicles.truck(rng)
    return vehicles.car(rng)


def standing(side: Side) -> None:
    """People who stand on the sidewalk."""
    verge, walk = sides(side.road, side.sign)
    rng, inner, density = side.rng, side.road.half_width + verge, side.style.people
    for along in side.steps(4.0 / density, 14.0 / density, later=20.0):
        for _ in range(int(rng.integers(1, 4))):
            away = inner + rng.uniform(0.3, walk - 0.3)
            thing, place = people.person(rng), along + rng.normal(0, 0.6)
            side.put(thing, place, away=away, turn=rng.uniform(-np.pi, np.pi))
