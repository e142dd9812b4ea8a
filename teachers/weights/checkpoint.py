"""A teacher's checkpoint: its tensors, and the classes that it was trained for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from xdistill.manifests.weights import read_weights, tensors_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The part of a checkpoint file that a teacher needs."""

    state: dict[str, Tensor]
    """Tensors by key, without the data-parallel prefix."""
    classes: tuple[str, ...] | None
    """Class names written by the training run, if any."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read tensors and class names; a pickle that would run code is refused unread.

    Raises:
        WeightsError: The file is missing or damaged, or holds more than data or no tensors.
    """
    content = read_weights(path)
    classes = _class_names(content.get("meta"))
    return Checkpoint(state=tensors_of(content, where=path), classes=classes)


def _class_names(meta: Any) -> tuple[str, ...] | None:
    """Class names as mmsegmentation 1.x (dataset_meta) and 0.x (CLASSES) store them."""
    if not isinstance(meta, Mapping):
        return None
    known = meta.get("dataset_meta")
    names = known.get("classes") if isinstance(known, Mapping) else meta.get("CLASSES")
    return tuple(map(str, names)) if isinstance(names, list | tuple) and names else None
