"""Label quality against ground truth: confusion, IoU of classes and groups."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from xdistill.grouping.classes import IGNORE_INDEX, cityscapes
from xdistill.grouping.scheme import Scheme
from xdistill.manifests.progress import Advance, unshown
from xdistill.pipeline.labelling.truth import ScoreError, Truth
from xdistill.pipeline.store import LabelStore
from xdistill.teachers.png import (
    SAMPLED,
    read_label_map,
    readable,
    require_label_ids,
    spread,
)
from xdistill.teachers.protocol import Ids

Confusion = Int[np.ndarray, "classes classes_and_ignore"]

SHOWN = 3
"""Confusions of a class that the text report names, at most."""
WORTH_SHOWING = 0.001
"""Share of a class's pixels below which the text report omits a confusion."""


def score(
    store: LabelStore,
    truth: Truth,
    *,
    ids: Ids,
    scheme: Scheme,
    advance: Advance = unshown,
) -> dict[str, Any]:
    """Compare every labelled frame that has a ground-truth map.

    Pixels without ground truth do not count; pixels that the teacher ignores are misses.

    Args:
        store: The teacher's labels.
        truth: The ground truth.
        ids: What its files hold.
        scheme: Grouping to score beside the classes.
        advance: Receives the number of maps just finished.

    Returns:
        ``frames`` (compared), ``not_labelled`` and ``unmapped`` (maps left out; see ``as_text``),
        ``pixels``, ``scheme``, and the ``measures`` of ``classes`` and ``groups``.

    Raises:
        FrameLabelError: A ground-truth map is damaged or of another size.
        TeacherError: Label ids were announced, and the maps hold train ids.
        ScoreError: No frame has both labels and ground truth.
    """
    if ids == "label":
        some = readable(spread([one.path for one in truth.maps], SAMPLED))
        require_label_ids((found for _, found in some), where=truth.folder)
    names = cityscapes().names
    total, frames = _count(store, truth, ids=ids, advance=advance)
    if not frames:
        raise _nothing_shared(store, truth)
    return {
        "frames": frames,
        "not_labelled": len(truth.maps) - frames,
        "unmapped": truth.unmapped,
        "pixels": int(total.sum()),
        "classes": measures(total, names),
        "groups": measures(merge(total, scheme.table), scheme.groups),
        "scheme": scheme.name,
    }


def _count(store: LabelStore, truth: Truth, *, ids: Ids, advance: Advance) -> tuple[Confusion, int]:
    """The confusion over all frames that have labels and ground truth, and their number."""
    classes = len(cityscapes().names)
    total, frames = np.zeros((classes, classes + 1), np.int64), 0
    arrays = {name: store.array(name, "classes") for name in store.sequences()}
    labelled = {name: set(array.committed()) for name, array in arrays.items()}
    for one in truth.maps:
        if one.index in labelled.get(one.sequence, ()):
            array, key = arrays[one.sequence], f"{one.sequence}/{one.index:010d}"
            expected = read_label_map(one.path, key=key, ids=ids, size=array.size)
            total += confusion(expected, array.read(one.index), classes=classes)
            frames += 1
        advance(1)
    return total, frames


def _nothing_shared(store: LabelStore, truth: Truth) -> ScoreError:
    example = f", such as {truth.maps[0].sequence}/{truth.maps[0].index:010d}" if truth.maps else ""
    unmapped = f" and {truth.unmapped} maps of unknown frames" if truth.unmapped else ""
    return ScoreError(
        f"no labelled frame has ground truth: {len(truth.maps)} maps of other frames{example}"
        + unmapped,
        expected=f"ground truth of frames that are labelled in {store.path}",
        where=truth.folder,
        remedy="label these frames first, or correct --store or --labels",
    )


def confusion(
    truth: UInt8[np.ndarray, "*pixels"], labels: UInt8[np.ndarray, "*pixels"], *, classes: int
) -> Int[np.ndarray, "classes classes_and_ignore"]:
    """Count pixels by true class (rows) and label (columns, ignore last).

    Args:
        truth: Class ids below ``classes``, or 255 where there is no ground truth.
        labels: Class ids or 255, of the same shape.
        classes: Number of classes.
    """
    known = truth != IGNORE_INDEX
    rows = truth[known].astype(np.int64)
    columns = np.minimum(labels[known], classes).astype(np.int64)
    counts = np.bincount(rows * (classes + 1) + columns, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1)


def merge(counts: Confusion, table: Sequence[int]) -> Int[np.ndarray, "groups groups_and_ignore"]:
    """Merge the confusion of classes into that of their groups; ignore stays the last column."""
    groups = max(table) + 1
    rows = np.array(table)
    columns = np.array([*table, groups])
    merged = np.zeros((groups, groups + 1), np.int64)
    np.add.at(merged, (rows[:, None], columns[None, :]), counts)
    return merged


def measures(counts: Confusion, names: Sequence[str]) -> dict[str, Any]:
    """IoU of each class that occurs, their mean, and pixel accuracy (Cordts et al., CVPR 2016).

    Returns:
        ``miou``, ``accuracy`` and ``iou`` by name, all fractions, None for a class that occurs in
        neither truth nor labels; ``confusion``, pixels by true class (rows) and label (columns), in
        the order of ``iou``, ignore last.
    """
    hits = counts.diagonal()
    union = counts.sum(axis=1) + counts[:, :-1].sum(axis=0) - hits
    iou = {name: float(hits[i] / union[i]) if union[i] else None for i, name in enumerate(names)}
    occurring = [value for value in iou.values() if value is not None]
    total = int(counts.sum())
    return {
        "miou": float(np.mean(occurring)) if occurring else None,
        "accuracy": float(hits.sum() / total) if total else None,
        "iou": iou,
        "confusion": counts.tolist(),
    }


def as_text(result: dict[str, Any]) -> str:
    """The result as text for a terminal, in percent."""
    lines = [f"{result['frames']} frames, {result['pixels']} pixels with ground truth"]
    reasons = {
        "not_labelled": "maps of frames that are not labelled in the store",
        "unmapped": "maps of frames that the mapping does not name",
    }
    lines += [f"left out: {result[key]} {text}" for key, text in reasons.items() if result[key]]
    for title in ("classes", "groups"):
        part = result[title]
        name = title if title == "classes" else f"groups of scheme {result['scheme']}"
        taken = "what its pixels were predicted as"
        lines += ["", f"{f'IoU of {name}':<31}   {taken}"]
        for (name, value), row in zip(part["iou"].items(), part["confusion"], strict=True):
            wrong = _confusions(row, name=name, names=[*part["iou"], "ignore"])
            lines.append(f"  {name:<22}{_percent(value)}   {wrong}".rstrip())
        lines += [f"  {'mean IoU':<22}{_percent(part['miou'])}"]
        lines += [f"  {'pixel accuracy':<22}{_percent(part['accuracy'])}"]
    return "\n".join(lines)


def _confusions(row: Sequence[int], *, name: str, names: Sequence[str]) -> str:
    """The largest wrongly predicted shares of a class's pixels: ``2.1 % as sidewalk``."""
    pixels = max(sum(row), 1)
    wrong = [(count / pixels, other) for count, other in zip(row, names, strict=True)]
    largest = sorted((pair for pair in wrong if pair[1] != name), key=lambda pair: -pair[0])
    shown = [pair for pair in largest[:SHOWN] if pair[0] >= WORTH_SHOWING]
    return ", ".join(f"{100 * share:.1f} % as {other}" for share, other in shown)


def _percent(value: float | None) -> str:
    return "      -" if value is None else f"{100 * value:7.2f}"
