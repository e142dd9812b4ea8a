"""The Cityscapes class table: train ids, names, label ids and colours."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import UInt8

from xdistill.manifests import loader

IGNORE_INDEX = 255
"""Label of a pixel without a class; no loss, no histogram and no metric counts it."""
CONFIDENCE_LEVELS = 16
"""Levels of a teacher's top probability p: level = min(15, floor(16 p))."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassTable:
    """The classes that a teacher predicts, indexed by train id."""

    names: tuple[str, ...]
    """Class names in train-id order."""
    label_ids: tuple[int, ...]
    """Cityscapes label id of each train id."""
    colours: tuple[tuple[int, int, int], ...]
    """RGB of each train id."""

    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """RGB look-up table of shape (256, 3); everything but a class is black."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.colours)] = self.colours
        return table

    def from_label_ids(self) -> UInt8[np.ndarray, "256"]:
        """Look-up table (256,) from Cityscapes label ids to train ids; all others are ignore."""
        table = np.full(256, IGNORE_INDEX, np.uint8)
        table[list(self.label_ids)] = np.arange(len(self.label_ids))
        return table


@cache
def cityscapes() -> ClassTable:
    """The 19 Cityscapes classes (Cordts et al., CVPR 2016)."""
    rows = loader.load("classes", "cityscapes19")["class"]
    return ClassTable(
        names=tuple(row["name"] for row in rows),
        label_ids=tuple(row["label_id"] for row in rows),
        colours=tuple(tuple(row["colour"]) for row in rows),
    )
