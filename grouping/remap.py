"""Train ids to group ids, on label arrays of any shape."""

import cv2
import numpy as np
from jaxtyping import Integer, UInt8

from xdistill.grouping.scheme import Scheme


def remap(labels: Integer[np.ndarray, "*shape"], scheme: Scheme) -> UInt8[np.ndarray, "*shape"]:
    """Replace every train id by its group; ignore stays ignore.

    Args:
        labels: Train ids 0-18 or 255, of any shape, uint8.
        scheme: The grouping table.

    Returns:
        Group ids 0-(groups - 1) or 255, same shape, uint8. The input is not changed.

    Raises:
        TypeError: ``labels`` is not uint8.

    Source: Table 1 and section 4.1, Cai et al. 2021.
    """
    if labels.dtype != np.uint8:
        raise TypeError(f"the labels are {labels.dtype}, not uint8")
    if labels.size == 0:
        return labels.copy()
    # cv2.LUT is the fastest look-up available; two axes are safe in every version.
    flat = np.ascontiguousarray(labels).reshape(1, -1)
    return np.asarray(cv2.LUT(flat, scheme.lookup()), np.uint8).reshape(labels.shape)
