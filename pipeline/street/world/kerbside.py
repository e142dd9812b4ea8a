"""What stands between the carriageway and the frontages: posts, trees, parked vehicles, people."""

import numpy as np

from xdistill.pipeline.street.world import furniture, people, plants, vehicles
from xdistill.pipeline.street.world.layout import Rng, Site, Style, steps
from xdistill.pipeline.street.world.road import sides
from xdistill.pipeline.street.world.solids import Solids


def posts(site: Site, side: int, *, style: Style, start: float, stop: float) -> None:
    """Lamps, signs, poles, bollards and bins near the kerb."""
    rng, kerb = site.rng, site.road.half_width
    look, wooden = furniture.steel(rng), rng.random() < 0.2
    for along in steps(rng, start, stop, least=22.0, most=30.0):
        if site.open(along, 0.0):
            thing = furniture.utility_pole(rng) if wooden else furniture.lamp(look, rng, side=side)
            site.put(thing, along=along, lateral=side * (kerb + 0.55))
    for along in steps(rng, start, stop, least=7.0, most=19.0):
        if site.open(along, 0.0):
            site.put(furniture.sign(look, rng), along=along, lateral=side * (kerb + 0.6))
    for along in steps(rng, start, stop, least=14.0, most=60.0):
        if site.open(along, 2.0):
            for k in range(int(rng.integers(2, 5))):
                post = furniture.bollard(look)
                site.put(post, along=along + 1.6 * k, lateral=side * (kerb + 0.35))
    for along in steps(rng, start, stop, least=20.0, most=60.0):
        site.put(furniture.litter_bin(rng), along=along, lateral=side * (site.edge(side) - 0.4))


def verge_trees(site: Site, side: int, *, style: Style, start: float, stop: float) -> None:
    """A row of trees where there is a verge, else now and then one in the sidewalk."""
    verge, _ = sides(site.road, side)
    share = style.trees if verge > 0.5 else 0.2 * style.trees
    for along in steps(site.rng, start, stop, least=7.0, most=11.0):
        if site.rng.random() < share and site.open(along, 1.0):
            lateral = side * (site.road.half_width + max(verge / 2, 0.7))
            site.put(plants.tree(site.rng), along=along, lateral=lateral)


def traffic_lights(site: Site) -> None:
    """Lights before each cross street, on both sides."""
    xs = site.road.start + site.road.step * np.arange(len(site.road.table))
    look = furniture.steel(site.rng)
    for centre, half in site.road.crossings:
        if site.rng.random() < 0.25:
            continue
        before = float(np.interp(centre - half - 1.0, xs, site.road.table[:, 2]))
        after = float(np.interp(centre + half + 1.0, xs, site.road.table[:, 2]))
        reach = site.road.half_width - 0.3 if site.rng.random() < 0.6 else 0.0
        kerb = site.road.half_width + 0.5
        for along, lateral, side, over in (
            (before, -kerb, -1, reach),
            (after, -kerb, -1, 0.0),
            (before, kerb, 1, 0.0),
            (after, kerb, 1, reach),
        ):
            light = furniture.traffic_light(look, site.rng, side=side, reach=over)
            site.put(light, along=along, lateral=lateral)


def parked(site: Site, side: int, *, style: Style, start: float, stop: float) -> None:
    """Vehicles along the kerb, bicycles against the frontage."""
    rng = site.rng
    lateral = side * (site.road.half_width - 1.05)
    turn = 0.0 if side < 0 else np.pi
    for along in steps(rng, start, stop, least=6.0, most=7.5):
        if rng.random() > style.parked or not site.open(along, 7.0):
            continue
        thing = vehicle(rng, style, cycles=0.12)
        site.put(thing, along=along, lateral=lateral, turn=turn + rng.normal(0, 0.02), height=0.0)
    for along in steps(rng, start, stop, least=8.0, most=30.0):
        for k in range(int(rng.integers(1, 4))):
            away = site.edge(side) - 0.45
            site.put(
                vehicles.bicycle(rng),
                along=along + 0.9 * k,
                lateral=side * away,
                turn=rng.uniform(-0.4, 0.4),
            )


def vehicle(rng: Rng, style: Style, *, cycles: float) -> Solids:
    """A parked or moving vehicle; ``cycles`` is the share of motorcycles."""
    if rng.random() < cycles:
        return vehicles.motorcycle(rng)
    if rng.random() < style.heavy:
        return vehicles.truck(rng)
    return vehicles.car(rng)


def standing(site: Site, side: int, *, style: Style, start: float, stop: float) -> None:
    """People who stand on the sidewalk."""
    verge, walk = sides(site.road, side)
    inner = site.road.half_width + verge
    for along in steps(site.rng, start, stop, least=4.0 / style.people, most=14.0 / style.people):
        for _ in range(int(site.rng.integers(1, 4))):
            lateral = inner + site.rng.uniform(0.3, walk - 0.3)
            site.put(
                people.person(site.rng),
                along=along + site.rng.normal(0, 0.6),
                lateral=side * lateral,
                turn=site.rng.uniform(-np.pi, np.pi),
            )
