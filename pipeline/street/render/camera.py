"""Images, exact depth and exact labels of one camera."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xdistill.pipeline.street.compiled import compiled
from xdistill.pipeline.street.noise import hash_unit
from xdistill.pipeline.street.render.shade import Scene, shaded
from xdistill.pipeline.street.render.trace import SKY, View, trace, view_from
from xdistill.pipeline.street.vectors import Vector, turned
from xdistill.pipeline.street.world.road import CARRIAGEWAY, TERRAIN
from xdistill.pipeline.street.world.solids import DISPLAY_GAMMA, Floats

ROAD_ID, SIDEWALK_ID, TERRAIN_ID, SKY_ID = 0, 1, 9, 10
"""Train ids of the ground and the sky."""
SAMPLES = 2
"""Colour samples per pixel and axis."""


class Camera(NamedTuple):
    """A pinhole camera in the world."""

    intrinsics: Floats
    """(3, 3) pixels; the centre of the first pixel is (0, 0)."""
    pose: Floats
    """(4, 4) camera (x right, y down, z forward) to world, metres."""


class Sensor(NamedTuple):
    """What the camera adds to the light of one frame."""

    gain: Floats
    """(3,) exposure times white balance."""
    noise: float
    """Standard deviation of the noise of a bright pixel, of 255."""
    seed: int
    """Decides the noise."""


class Picture(NamedTuple):
    """One rendered frame."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    depth: NDArray[np.float32]
    """(H, W) camera z at the pixel's centre, metres; 0 in the sky."""
    labels: NDArray[np.uint8]
    """(H, W) train id at the pixel's centre."""
    moving: NDArray[np.bool_]
    """(H, W) whether the surface moves through the world."""


def render(scene: Scene, camera: Camera, *, size: tuple[int, int], sensor: Sensor) -> Picture:
    """Render a frame of ``size`` (height, width).

    Colour is the mean of 2 x 2 samples; depth and label are those of the pixel's centre alone.
    """
    view = view_from(scene.solids, camera.pose[:3, 3])
    inverse = camera.pose[:3, :3] @ np.linalg.inv(camera.intrinsics)
    spread = 1.0 / (SAMPLES * camera.intrinsics[0, 0])
    return Picture(
        _image(scene, view, inverse, size[0], size[1], spread, sensor),
        *_geometry(scene, view, inverse, size[0], size[1]),
    )


@compiled
def _ray(inverse: Floats, u: float, v: float) -> tuple[Vector, float]:
    """Unit world direction of image point (u, v), and its length when its camera z is 1."""
    x, y, z = turned(inverse, (u, v, 1.0))
    length = math.sqrt(x * x + y * y + z * z)
    return (x / length, y / length, z / length), length


@compiled
def _geometry(
    scene: Scene, view: View, inverse: Floats, height: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.bool_]]:
    depth = np.zeros((height, width), np.float32)
    labels = np.empty((height, width), np.uint8)
    moving = np.zeros((height, width), np.bool_)
    for row in range(height):
        for column in range(width):
            ray, length = _ray(inverse, float(column), float(row))
            surface = trace(scene.solids, scene.road, view, ray)
            labels[row, column] = _label(scene, surface[1], surface[3])
            if surface[1] != SKY:
                depth[row, column] = surface[0] / length
            if surface[1] >= 0:
                moving[row, column] = scene.solids[surface[1]]["moving"] != 0
    return depth, labels, moving


@compiled
def _label(scene: Scene, solid: int, area: int) -> int:
    """Train id of a surface."""
    if solid >= 0:
        return int(scene.solids[solid]["label"])
    if solid == SKY:
        return SKY_ID
    if area == CARRIAGEWAY:
        return ROAD_ID
    return TERRAIN_ID if area == TERRAIN else SIDEWALK_ID


@compiled
def _image(
    scene: Scene,
    view: View,
    inverse: Floats,
    height: int,
    width: int,
    spread: float,
    sensor: Sensor,
) -> NDArray[np.uint8]:
    image = np.empty((height, width, 3), np.uint8)
    total = np.empty(3)
    for row in range(height):
        for column in range(width):
            total[:] = 0.0
            for sample in range(SAMPLES * SAMPLES):
                u = column + (sample % SAMPLES + 0.5) / SAMPLES - 0.5
                v = row + (sample // SAMPLES + 0.5) / SAMPLES - 0.5
                ray, _ = _ray(inverse, u, v)
                surface = trace(scene.solids, scene.road, view, ray)
                colour = shaded(scene, view, surface, ray, spread)
                for channel in range(3):
                    # Clipped before the mean: a glare does not bleed over a whole pixel.
                    total[channel] += min(colour[channel] * sensor.gain[channel], 1.2)
            for channel in range(3):
                value = total[channel] / (SAMPLES * SAMPLES)
                noise = _noise(column, row, channel, sensor.seed) * sensor.noise
                level = 255.0 * math.pow(max(value, 0.0), 1.0 / DISPLAY_GAMMA)
                level += noise * (0.5 + 0.5 * math.sqrt(min(value, 1.0)))
                image[row, column, channel] = int(min(255.0, max(0.0, level)) + 0.5)
    return image


@compiled
def _noise(x: int, y: int, channel: int, seed: int) -> float:
    """About normal with variance 1: the sum of three uniform numbers (Irwin-Hall), scaled."""
    total = 0.0
    for k in range(3):
        total += hash_unit(x, y, 3 * channel + k, seed)
    return (total - 1.5) * 2.0
