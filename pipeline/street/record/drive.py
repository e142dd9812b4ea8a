"""One drive: a street, its weather and traffic, and the recording car's path through it."""

from dataclasses import dataclass

import numpy as np

from xdistill.pipeline.street.record import motion, rig
from xdistill.pipeline.street.render.camera import Camera, Sensor
from xdistill.pipeline.street.render.light import Light, ground_light, weather
from xdistill.pipeline.street.render.shade import Scene
from xdistill.pipeline.street.render.shadows import Shadows, empty_map, with_solids
from xdistill.pipeline.street.world import kerbside, layout
from xdistill.pipeline.street.world.road import Road, at, centre_line, integral
from xdistill.pipeline.street.world.solids import Floats, Solids, joined
from xdistill.pipeline.street.world.traffic import Mover, traffic

BEHIND_M, AHEAD_M = 30.0, 150.0
"""How far the street extends beyond the recording car's path."""
MARGIN_M = 60.0
ROAD_STEP_M = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Drive:
    """Everything that the seed decides about one drive."""

    road: Road
    """The ground."""
    light: Light
    """The weather."""
    motion: motion.Motion
    """The recording car's path."""
    still: Solids
    """Static objects."""
    movers: tuple[Mover, ...]
    """Moving objects."""
    shadows: Shadows
    """Shadows of the static objects."""
    gains: Floats
    """(frames, 3) exposure and white balance."""
    noise: float
    """Standard deviation of the image noise, of 255."""
    seed: int
    """Of the noise of images and scans."""

    def scene(self, frame: int) -> Scene:
        """The world at a frame."""
        moving = [thing.at(frame) for thing in self.movers]
        shadows = with_solids(self.shadows, self.light, joined(*moving)) if moving else self.shadows
        return Scene(joined(self.still, *moving), self.road, self.light, shadows)

    def camera(self, frame: int, size: tuple[int, int]) -> Camera:
        """The left colour camera at a frame, for an image of ``size`` (height, width)."""
        pose = self.motion.pose(frame) @ np.linalg.inv(rig.imu_to_camera())
        return Camera(rig.intrinsics(size), pose)

    def sensor(self, frame: int) -> Sensor:
        """Exposure and noise of a frame."""
        return Sensor(self.gains[frame], self.noise, self.seed + 7919 * frame)


def make_drive(seed: int, number: int, *, frames: int) -> Drive:
    """Draw a drive.

    Every part has its own random stream, so that a change to one leaves the others unchanged.

    Args:
        seed: The data set's seed.
        number: The drive's number within the data set.
        frames: How many frames at 10 Hz.
    """
    streams = np.random.SeedSequence([seed, number]).spawn(6)
    ground, driving, air, things, others, sensing = map(np.random.default_rng, streams)
    time = motion.fine_times(frames)
    speed = motion.speeds(driving, time)
    along = integral(speed, time)
    style = layout.STYLES[ground.integers(len(layout.STYLES))]
    road = make_road(ground, style, length=float(along[-1]))
    lateral = motion.swerve(driving, along, lane=road.lane, speed=speed.mean())
    path = np.array([at(road, s, side)[:2] for s, side in zip(along, lateral, strict=True)])
    ride = motion.ride(driving, time=time, along=along, path=path)
    light = weather(air)
    still = furnish(road, things, style=style, stop=float(along[-1]) + AHEAD_M)
    start, stop = road.start + MARGIN_M, road.start + ROAD_STEP_M * len(road.table) - MARGIN_M
    return Drive(
        road=road,
        light=light,
        motion=ride,
        still=still,
        movers=tuple(traffic(road, others, style=style, time=ride.time, along=ride.along)),
        shadows=with_solids(empty_map(road, start=start, stop=stop), light, still),
        gains=exposure(sensing, frames) / ground_light(light),
        noise=float(sensing.uniform(0.8, 3.0)),
        seed=int(sensing.integers(1 << 30)),
    )


def make_road(rng: np.random.Generator, style: layout.Style, *, length: float) -> Road:
    """Draw a road that is long enough for a drive of ``length`` metres."""
    start, stop = -BEHIND_M - MARGIN_M, length + AHEAD_M + MARGIN_M
    winding = 0.0 if rng.random() < 0.15 else 1.0
    bends = np.array(
        [
            (winding * rng.uniform(0.10, 0.30), rng.uniform(160, 300), rng.uniform(0, 6.3)),
            (winding * rng.uniform(0.02, 0.06), rng.uniform(80, 120), rng.uniform(0, 6.3)),
        ]
    )
    lane = rng.uniform(3.0, 3.6)
    tram = rng.random() < (0.5 if style.name in ("town", "avenue") else 0.15)
    wide = 3.4 if tram else 0.0
    crossings, x = [], rng.uniform(10, 90)
    while x < stop:
        crossings.append((x, rng.uniform(3.2, 4.5)))
        x += rng.uniform(55, 120)
    verge = np.where(rng.random(2) < 0.45, rng.uniform(1.2, 2.6, 2), 0.0)
    table = centre_line(start=start, stop=stop, step=ROAD_STEP_M, bends=bends)
    return Road(
        start=start,
        step=ROAD_STEP_M,
        table=table,
        half_width=lane + layout.PARKING_M + wide,
        lane=lane,
        verge_right=float(verge[0]),
        verge_left=float(verge[1]),
        walk_right=rng.uniform(1.7, 3.2),
        walk_left=rng.uniform(1.7, 3.2),
        crossings=np.array(crossings).reshape(-1, 2),
        rails=lane + 1.9 if tram else float("nan"),
        asphalt=rng.uniform(0.07, 0.16),
        paving=rng.uniform(0.20, 0.36),
        green=rng.uniform(0.2, 0.75),
        wear=rng.uniform(0.1, 0.7),
        seed=int(rng.integers(1 << 30)),
    )


def furnish(road: Road, rng: np.random.Generator, *, style: layout.Style, stop: float) -> Solids:
    """All static objects along the road."""
    parts: list[Solids] = []
    right, left = (
        layout.Side(
            road=road, style=style, sign=sign, rng=rng, start=-BEHIND_M, stop=stop, parts=parts
        )
        for sign in (-1, 1)
    )
    for side in (right, left):
        layout.frontage(side)
        layout.backdrop(side)
        kerbside.posts(side)
        kerbside.verge_trees(side)
        kerbside.parked(side)
        kerbside.standing(side)
    kerbside.traffic_lights(right, left)
    return joined(*parts)


def exposure(rng: np.random.Generator, frames: int) -> Floats:
    """Gain per frame and channel: slowly drifting exposure, one white balance per drive."""
    level, result = 0.0, np.empty((frames, 3))
    balance = 1.0 + rng.normal(0, 0.025, 3)
    mean = rng.uniform(0.85, 1.2)
    for frame in range(frames):
        level = 0.9 * level + rng.normal(0, 0.02)
        result[frame] = mean * np.exp(level) * balance
    return result
