"""How the recording car moves: speed, swerves, pitch and bounce, as poses and as oxts fields."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from xdistill.pipeline.street.record.rig import IMU_HEIGHT_M, Transform
from xdistill.pipeline.street.world.solids import rotation

Series = Float64[np.ndarray, " times"]
Rows = Float64[np.ndarray, "times 3"]
RATE_HZ = 10.0
FINE_STEPS = 20
"""Integration steps per frame."""
SLOWEST_M_S, FASTEST_M_S = 5.0, 14.0
GRAVITY_M_S2 = 9.81


@dataclass(frozen=True, kw_only=True, slots=True)
class Motion:
    """The inertial unit's path, one row per frame."""

    time: Series
    """Seconds."""
    along: Series
    """Arc length on the road's centre line, metres."""
    position: Rows
    """World metres."""
    angles: Rows
    """Roll, pitch, yaw in radians, in KITTI's convention R = Rz(yaw) Ry(pitch) Rx(roll)."""
    velocity: Rows
    """World metres / second."""
    acceleration: Rows
    """World metres / second^2, without gravity."""
    rates: Rows
    """Derivatives of the angles, radians / second."""

    def pose(self, frame: int) -> Transform:
        """Inertial unit to world, metres."""
        roll, pitch, yaw = self.angles[frame]
        result = np.eye(4)
        result[:3, :3] = rotation(yaw=yaw, pitch=pitch, roll=roll)
        result[:3, 3] = self.position[frame]
        return result


def speeds(rng: np.random.Generator, time: Series) -> Series:
    """Forward speed over time, metres / second: slow changes within the limits."""
    mean = rng.uniform(SLOWEST_M_S + 2.0, FASTEST_M_S - 2.0)
    speed = np.full_like(time, mean)
    for period, amplitude in ((9.0, 1.6), (4.0, 0.6)):
        period *= rng.uniform(0.7, 1.4)
        speed += amplitude * np.sin(2 * np.pi * time / period + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.clip(speed, SLOWEST_M_S, FASTEST_M_S))


def fine_times(frames: int) -> Series:
    """Integration times in seconds, with a frame's margin at both ends for the derivatives."""
    return np.arange(-FINE_STEPS, frames * FINE_STEPS) / (FINE_STEPS * RATE_HZ)


def swerve(rng: np.random.Generator, along: Series, *, lane: float, speed: float) -> Series:
    """Lateral position over arc length: the lane's centre plus sines, metres.

    Periods and accelerations are a driver's, whatever the mean ``speed`` (m/s).
    """
    lateral = np.full_like(along, -0.5 * lane)
    for period, acceleration in ((4.2, 0.9), (8.0, 0.25)):
        period *= rng.uniform(0.8, 1.25)
        amplitude = rng.uniform(0.5, 1.2) * acceleration * (period / (2 * np.pi)) ** 2
        phase = rng.uniform(0, 2 * np.pi)
        lateral += amplitude * np.sin(2 * np.pi * along / (speed * period) + phase)
    return lateral


def ride(
    rng: np.random.Generator, *, time: Series, along: Series, path: Float64[np.ndarray, "times 2"]
) -> Motion:
    """Poses and their derivatives on a path over the ground.

    Args:
        rng: Decides pitch, roll and bounce.
        time: Fine times, seconds.
        along: Arc length on the centre line, metres.
        path: World x and y, metres.
    """
    flow = np.gradient(path, time, axis=0)
    yaw = np.unwrap(np.arctan2(flow[:, 1], flow[:, 0]))
    speed, turn = np.hypot(flow[:, 0], flow[:, 1]), np.gradient(yaw, time)
    braking = -np.gradient(speed, time)
    pitch = 0.004 * braking + _wobble(rng, time, rate=1.6, amplitude=0.0055)
    roll = 0.003 * turn * speed + _wobble(rng, time, rate=1.2, amplitude=0.004)
    height = IMU_HEIGHT_M + _wobble(rng, time, rate=1.5, amplitude=0.012)
    position = np.column_stack([path, height])
    angles = np.column_stack([roll, pitch, yaw])
    velocity = np.gradient(position, time, axis=0)
    frames = slice(FINE_STEPS, len(time), FINE_STEPS)
    return Motion(
        time=time[frames],
        along=along[frames],
        position=position[frames],
        angles=angles[frames],
        velocity=velocity[frames],
        acceleration=np.gradient(velocity, time, axis=0)[frames],
        rates=np.gradient(angles, time, axis=0)[frames],
    )


def _wobble(rng: np.random.Generator, time: Series, *, rate: float, amplitude: float) -> Series:
    """A sum of sines near a rate in Hz, of about the given amplitude."""
    total = np.zeros_like(time)
    for factor in (0.45, 1.0, 1.7):
        phase, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.0)
        total += strength * np.sin(2 * np.pi * factor * rate * time + phase)
    return amplitude * total / 1.5
