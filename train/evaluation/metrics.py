"""The seven depth metrics of Eigen et al., NIPS 2014."""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

METRICS = ("abs_rel", "sq_rel", "rmse", "rmse_log", "d1", "d2", "d3")
"""In the order of every table: four errors, then three accuracies."""
DELTA = 1.25
"""d1, d2, d3 count the pixels within this factor, its square and its cube."""


def depth_metrics(truth: NDArray[np.floating], predicted: NDArray[np.floating]) -> Vector:
    """Compare predicted with true depths, in the precision of the arrays.

    Args:
        truth: True depths (N,), metres, positive; float32 gives the published numbers to the bit.
        predicted: Predicted depths (N,) of the same points, metres, positive.

    Returns:
        The metrics (7,) in the order of ``METRICS``. Sq_rel and rmse are in metres, rmse_log is
        of natural logarithms.

    Source: section 4, Eigen et al., NIPS 2014.
    """
    error = truth - predicted
    factor = np.maximum(truth / predicted, predicted / truth)
    return np.array(
        [
            np.mean(np.abs(error) / truth),
            np.mean(error**2 / truth),
            np.sqrt(np.mean(error**2)),
            np.sqrt(np.mean((np.log(truth) - np.log(predicted)) ** 2)),
            *(np.mean(factor < DELTA**power) for power in (1, 2, 3)),
        ]
    )
