"""Paired differences: a t-interval over seeds and a bootstrap over test drives."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

T_975 = {
    1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262,
    10: 2.228, 11: 2.201, 12: 2.179, 13: 2.160, 14: 2.145, 15: 2.131, 16: 2.120, 17: 2.110,
    18: 2.101, 19: 2.093, 20: 2.086,
}  # fmt: skip
"""Quantile 0.975 of Student's t by degrees of freedom."""
RESAMPLES = 10_000
BOOTSTRAP_SEED = 20_211
NOTHING = "no effect shown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Change of one metric between two variants."""

    per_seed: tuple[float, ...]
    """Mean over the test frames of each seed's difference."""
    mean: float
    """Mean over the seeds."""
    interval: tuple[float, float]
    """95 % t-interval of the mean over the seeds."""
    drives_interval: tuple[float, float]
    """95 % percentile interval of the mean under a bootstrap of the test drives."""

    @property
    def verdict(self) -> str:
        """``no effect shown`` if the interval over the seeds includes 0."""
        low, high = self.interval
        return NOTHING if low <= 0 <= high else ("lower" if self.mean < 0 else "higher")


def paired(first: Floats, second: Floats, *, drives: Sequence[str]) -> Difference:
    """``second`` minus ``first``.

    Args:
        first: A metric (seeds, frames); NaN for frames without a value.
        second: The same seeds and frames.
        drives: Drive (frames,) of each frame.
    """
    change = second - first
    per_seed = np.nanmean(change, axis=1)
    return Difference(
        per_seed=tuple(per_seed.tolist()),
        mean=float(per_seed.mean()),
        interval=t_interval(per_seed),
        drives_interval=drive_bootstrap(change, drives=drives),
    )


def t_interval(values: Floats) -> tuple[float, float]:
    """95 % interval of the mean of independent values (N,), N from 2 to 21."""
    half = T_975[len(values) - 1] * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def drive_bootstrap(change: Floats, *, drives: Sequence[str]) -> tuple[float, float]:
    """95 % percentile interval of the mean of (seeds, frames) over drives drawn with replacement.

    Frames of a drive are correlated, so whole drives are drawn.
    """
    names = sorted(set(drives))
    columns = [np.array([d == name for d in drives]) for name in names]
    sums = np.array([np.nansum(change[:, column]) for column in columns])
    counts = np.array([np.count_nonzero(~np.isnan(change[:, column])) for column in columns])
    draws = np.random.default_rng(BOOTSTRAP_SEED).integers(len(names), size=(RESAMPLES, len(names)))
    means = sums[draws].sum(axis=1) / np.maximum(counts[draws].sum(axis=1), 1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
