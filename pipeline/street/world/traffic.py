"""Moving objects: cars ahead and oncoming, buses, trams, cyclists, people on foot."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from xdistill.pipeline.street.world import people, vehicles
from xdistill.pipeline.street.world.kerbside import vehicle
from xdistill.pipeline.street.world.layout import Style
from xdistill.pipeline.street.world.road import KERB_M, Road, at, sides
from xdistill.pipeline.street.world.solids import Floats, Solids, having, placed

CLEAR_M = 6.0
"""Nobody crosses this close in front of or behind the recording car."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mover:
    """A thing and its path."""

    solids: Solids
    """In the thing's own frame."""
    poses: Floats
    """(frames, 4) world x, y, z in metres and yaw in radians."""

    def at(self, frame: int) -> Solids:
        """The thing's solids in the world at a frame."""
        x, y, z, yaw = self.poses[frame]
        return placed(self.solids, x=x, y=y, z=z, yaw=yaw)


def mover(
    thing: Solids,
    road: Road,
    rng: Generator,
    *,
    along: Floats,
    lateral: Floats,
    turn: float,
    height: float = 0.0,
) -> Mover:
    """A thing that follows the road by arc length and lateral position, both of shape (frames,)."""
    own = having(having(thing, "seed", int(rng.integers(1 << 30))), "moving", 1)
    places = [at(road, s, side) for s, side in zip(along, lateral, strict=True)]
    return Mover(solids=own, poses=np.array([(x, y, height, yaw + turn) for x, y, yaw in places]))


def traffic(
    road: Road, rng: Generator, *, style: Style, time: Floats, along: Floats
) -> list[Mover]:
    """Everything that moves during a drive.

    Args:
        road: The ground.
        rng: Random source.
        style: The neighbourhood.
        time: (frames,) seconds.
        along: (frames,) the recording car's arc length, metres.
    """
    return [
        *_ahead(road, rng, style=style, time=time, along=along),
        *_oncoming(road, rng, style=style, time=time, along=along),
        *_tram(road, rng, time=time, along=along),
        *_cyclists(road, rng, time=time, along=along),
        *_walkers(road, rng, style=style, time=time, along=along),
        *_crossing(road, rng, time=time, along=along),
    ]


def _ahead(
    road: Road, rng: Generator, *, style: Style, time: Floats, along: Floats
) -> Iterator[Mover]:
    """At times one vehicle in front, at a distance that changes slowly."""
    if rng.random() > 0.4:
        return
    bus = rng.random() < 1.3 * style.heavy
    thing = vehicles.bus(rng) if bus else vehicle(rng, style, cycles=0.0)
    gap = rng.uniform(16.0, 32.0) + 3.0 * np.sin(time / 3.0 + rng.uniform(0, 6))
    lateral = np.full_like(time, -0.5 * road.lane + rng.normal(0, 0.15))
    yield mover(thing, road, rng, along=along + gap, lateral=lateral, turn=0.0)


def _oncoming(
    road: Road, rng: Generator, *, style: Style, time: Floats, along: Floats
) -> Iterator[Mover]:
    """A stream in the other lane, met one after the other."""
    position = along[0] + rng.uniform(12.0, 50.0)
    speed = rng.uniform(6.0, 12.0)
    end = along[-1] + 70.0 + speed * time[-1]
    while position < end:
        draw = rng.random()
        if draw < 0.6 * style.heavy:
            thing, length = vehicles.bus(rng), 12.0
        elif draw < 0.6 * style.heavy + 0.12:
            thing, length = vehicles.ridden(rng, vehicles.motorcycle(rng)), 4.0
        else:
            thing, length = vehicle(rng, style, cycles=0.0), 8.0
        lateral = np.full_like(time, 0.5 * road.lane + rng.normal(0, 0.15))
        path = position - speed * time
        yield mover(thing, road, rng, along=path, lateral=lateral, turn=np.pi)
        position += length + rng.exponential(30.0) + 6.0


def _tram(road: Road, rng: Generator, *, time: Floats, along: Floats) -> Iterator[Mover]:
    """On a road with rails, a tram that comes towards us or stands."""
    if np.isnan(road.rails):
        return
    speed = rng.choice([0.0, 5.0, 9.0])
    start = along[0] + rng.uniform(28.0, 55.0) + speed * time[-1] * 0.6
    lateral = np.full_like(time, road.rails)
    thing = vehicles.tram(rng)
    yield mover(thing, road, rng, along=start - speed * time, lateral=lateral, turn=np.pi)


def _cyclists(road: Road, rng: Generator, *, time: Floats, along: Floats) -> Iterator[Mover]:
    """Riders at the edge of the lanes, ours and the other."""
    for _ in range(int(rng.integers(1, 5))):
        ours = rng.random() < 0.5
        machine = vehicles.bicycle(rng) if rng.random() < 0.8 else vehicles.motorcycle(rng)
        speed = rng.uniform(3.0, 5.5)
        start = along[0] + rng.uniform(10.0, 20.0 + (along[-1] - along[0]))
        path = start + (speed if ours else -speed) * time
        side = -1.0 if ours else 1.0
        lateral = side * (road.lane - 0.35) + 0.1 * np.sin(time + rng.uniform(0, 6))
        thing = vehicles.ridden(rng, machine)
        turn = 0.0 if ours else np.pi
        yield mover(thing, road, rng, along=path, lateral=lateral, turn=turn)


def _walkers(
    road: Road, rng: Generator, *, style: Style, time: Floats, along: Floats
) -> Iterator[Mover]:
    """People on both sidewalks."""
    reach = along[-1] - along[0] + 45.0
    for side in (-1, 1):
        verge, walk = sides(road, side)
        for _ in range(int(rng.poisson(0.5 * style.people * reach / 10.0))):
            speed = rng.uniform(0.9, 1.7) * rng.choice([-1.0, 1.0])
            path = along[0] + rng.uniform(4.0, reach) + speed * time
            away = road.half_width + verge + rng.uniform(0.3, walk - 0.3)
            turn, lateral = 0.0 if speed > 0 else np.pi, np.full_like(time, side * away)
            thing = people.person(rng)
            yield mover(thing, road, rng, along=path, lateral=lateral, turn=turn, height=KERB_M)


def _crossing(road: Road, rng: Generator, *, time: Floats, along: Floats) -> Iterator[Mover]:
    """People on the zebra crossings, none of them under the recording car."""
    for centre, half in road.crossings:
        for _ in range(int(rng.integers(0, 4))):
            place = road.along(centre - half - 2.6) + rng.normal(0, 0.8)
            speed = rng.uniform(0.8, 1.5) * rng.choice([-1.0, 1.0])
            lateral = rng.uniform(0.5, 1.0) * road.half_width * -np.sign(speed) + speed * time
            beside = np.abs(lateral) > road.half_width
            met = (np.abs(along - place) < CLEAR_M) & (np.abs(lateral) < road.lane + 0.5)
            if beside.all() or met.any():
                continue
            person, path = people.person(rng), np.full_like(time, place)
            turn = np.sign(speed) * np.pi / 2
            thing = mover(person, road, rng, along=path, lateral=lateral, turn=turn)
            thing.poses[beside, 2] = KERB_M
            yield thing
