"""How well learned motions agree with the recorded ones, compared with trivial motions.

The direction of the translation proves nothing: a car drives forward, so that a constant direction
is right to two degrees. What a pose network has learned shows in what varies between frames.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xdistill.manifests.errors import XDistillError

Floats = NDArray[np.float64]

LEAST_SPREAD = 0.1
"""Motions whose spread is below this share of the true spread are called constant."""
LEAST_CORRELATION = 0.3
"""Below this correlation with the recorded yaw, a yaw is noise or has the wrong sign. Yaw alone: it
is large where roads bend, while pitch and speed vary little and may drown in noise."""
LEAST_STD = float(np.finfo(np.float32).eps)
"""Below this standard deviation, in the axis' unit, values are constant up to rounding."""
FEWEST = 3
"""Fewest frames that a correlation is computed from."""
AXES = {"yaw": "degrees", "pitch": "degrees", "speed": "m a frame"}


class PoseReportError(XDistillError, ValueError):
    """Motions that cannot be compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One component of the motion from each frame to the next."""

    unit: str
    """Unit of all values."""
    learned: Floats
    """(N,) as predicted; speed scaled to the true median. NaN where either motion is not finite."""
    recorded: Floats
    """(N,) from oxts; NaN in the same frames."""
    trivial: float
    """Value of the trivial motion in every frame: no turn, or the median speed."""

    @property
    def unusable(self) -> int:
        """Number of frames without a finite value; with any, the figures are None."""
        return int(np.isnan(self.learned).sum())

    @property
    def correlation(self) -> float | None:
        """Pearson's; None where one side does not vary or a frame is unusable."""
        if self.unusable or min(self.learned.std(), self.recorded.std()) < LEAST_STD:
            return None
        return float(np.corrcoef(self.learned, self.recorded)[0, 1])

    @property
    def spread_ratio(self) -> float | None:
        """Standard deviation of the learned values over that of the recorded ones.

        None where the recorded ones do not vary or a frame is unusable.
        """
        if self.unusable or self.recorded.std() < LEAST_STD:
            return None
        return float(self.learned.std() / self.recorded.std())

    def as_json(self) -> dict[str, Any]:
        """Figures and the pairs (recorded, learned); None for what is not finite."""
        pairs = np.column_stack([self.recorded, self.learned]).round(5).astype(object)
        pairs[np.isnan(self.learned)] = None
        return {
            "unit": self.unit,
            "correlation": self.correlation,
            "error": self._mean_error(self.learned),
            "trivial_error": self._mean_error(self.trivial),
            "spread_ratio": self.spread_ratio,
            "pairs": pairs.tolist(),
        }

    def _mean_error(self, values: Floats | float) -> float | None:
        return None if self.unusable else float(np.abs(values - self.recorded).mean())


def components(motions: Floats) -> Floats:
    """Yaw and pitch in degrees and length of the translation of rigid motions.

    Args:
        motions: T(target -> later source) (N, 4, 4), camera axes: right, down, forward.

    Returns:
        (N, 3). Yaw turns about the axis that points down, pitch about the one to the right.
    """
    yaw = np.degrees(np.arctan2(motions[:, 0, 2], motions[:, 2, 2]))
    pitch = np.degrees(np.arcsin(np.clip(-motions[:, 1, 2], -1, 1)))
    return np.column_stack([yaw, pitch, np.linalg.norm(motions[:, :3, 3], axis=1)])


def compare(learned: Floats, recorded: Floats) -> dict[str, Axis]:
    """Yaw, pitch and speed of motions (N, 4, 4), learned beside recorded.

    Raises:
        PoseReportError: Fewer motions than a correlation needs.
    """
    if len(recorded) < FEWEST:
        raise PoseReportError(
            f"{len(recorded)} frames are too few to compare motions",
            expected=f"at least {FEWEST}",
            remedy="use a larger split",
        )
    usable = np.isfinite(learned).all(axis=(1, 2)) & np.isfinite(recorded).all(axis=(1, 2))
    found, truth = np.full((2, len(recorded), len(AXES)), np.nan)
    found[usable], truth[usable] = components(learned[usable]), components(recorded[usable])
    median = 0.0
    if usable.any():
        median = float(np.median(truth[usable, 2]))
        found[:, 2] *= median / max(float(np.median(found[usable, 2])), 1e-12)
    trivial = (0.0, 0.0, median)
    return {
        name: Axis(unit=unit, learned=found[:, n], recorded=truth[:, n], trivial=trivial[n])
        for n, (name, unit) in enumerate(AXES.items())
    }


def failures(axes: dict[str, Axis]) -> list[str]:
    """What a reader must not overlook, in words: the first failure of each axis.

    Values that are not finite, motions that do not vary from frame to frame, and a yaw that does
    not follow the recorded one.
    """
    reasons = ((name, _failure(name, axis)) for name, axis in axes.items())
    return [f"FAILURE: the learned {name} {reason}" for name, reason in reasons if reason]


def _failure(name: str, axis: Axis) -> str | None:
    if axis.unusable:
        return f"is not finite in {axis.unusable} of {len(axis.learned)} frames."
    spread, correlation = axis.spread_ratio, axis.correlation
    if spread is not None and spread < LEAST_SPREAD:
        return (
            f"is constant: its spread over the frames is {spread:.1%} of the true one. "
            f"The pose network has not learned {name}."
        )
    if name == "yaw" and correlation is not None and correlation < LEAST_CORRELATION:
        kind = "runs against" if correlation < 0 else "does not follow"
        return f"{kind} the recorded one: their correlation is {correlation:.2f}."
    return None
