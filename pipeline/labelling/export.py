"""Labels as PNG files, for other code bases and to look at."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from xdistill.grouping.classes import cityscapes
from xdistill.grouping.scheme import Scheme
from xdistill.manifests.disk import unwritable
from xdistill.manifests.progress import Advance, unshown
from xdistill.pipeline.kitti.images import write_png
from xdistill.pipeline.store import LabelStore, LabelStoreError


def export(
    store: LabelStore,
    out: Path,
    *,
    array: str,
    colour: bool,
    advance: Advance = unshown,
) -> int:
    """Write one PNG per frame: ``<out>/<date>/<drive>/image_02/<10 digits>.png``.

    Grey values are the stored train ids or group ids, so that an export of ``classes`` is itself a
    ``png:`` teacher. With ``colour``, pixels are RGB from the palette.

    Args:
        store: Where the labels are.
        out: Folder to write to; files of the same name are replaced.
        array: ``classes``, ``groups_4``, ...
        colour: RGB pictures instead of ids.
        advance: Receives the number of frames just written.

    Returns:
        Frames written.

    Raises:
        LabelStoreError: No sequence has the array, or a label map is damaged.
        OutputError: A folder or file cannot be written.
    """
    sequences = [name for name in store.sequences() if store.has(name, array)]
    if not sequences:
        raise LabelStoreError(
            f"the store has no array {array!r}",
            expected="one of " + ", ".join(array_names(store)),
            where=store.path,
            remedy=f"make groups with xd-pipeline regroup --store {shlex.quote(str(store.path))}",
        )
    written = 0
    for sequence in sequences:
        labels = store.array(sequence, array)
        palette = _palette(labels.attributes) if colour else None
        _make_folder(out / sequence)
        for index in labels.committed():
            pixels = labels.read(index)
            picture = pixels if palette is None else palette[pixels]
            write_png(out / sequence / f"{index:010d}.png", picture)
            advance(1)
            written += 1
    return written


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error.strerror, option="--out") from error


def array_names(store: LabelStore) -> list[str]:
    """Names of the store's label arrays."""
    return sorted({name for sequence in store.sequences() for name in store.arrays(sequence)})


def frames_of(store: LabelStore, array: str) -> int:
    """Committed frames of an array over all sequences."""
    return sum(
        len(store.array(name, array).committed())
        for name in store.sequences()
        if store.has(name, array)
    )


def _palette(attributes: Mapping[str, Any]) -> UInt8[np.ndarray, "256 3"]:
    """Class colours; groups take the colour of their first class."""
    table = Scheme.recorded(attributes) if "table" in attributes else cityscapes()
    return table.palette()
