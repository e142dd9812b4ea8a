"""Label quality where ground truth exists: confusion, IoU of classes and groups."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from xdistill.grouping.classes import IGNORE_INDEX, cityscapes
from xdistill.grouping.scheme import Scheme
from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.store import LabelStore
from xdistill.teachers.png import Ids, PngTeacher

Confusion = Int[np.ndarray, "classes classes_and_ignore"]
Advance = Callable[[int], object]


class ScoreError(XDistillError, ValueError):
    """Labels and ground truth that cannot be compared."""


def score(
    store: LabelStore,
    folder: Path,
    *,
    ids: Ids,
    scheme: Scheme,
    advance: Advance = lambda count: None,
) -> dict[str, Any]:
    """Compare every labelled frame that has a ground-truth map.

    Pixels without ground truth count nowhere; pixels that the teacher ignores are misses.

    Args:
        store: The teacher's labels.
        folder: Ground truth as ``<date>/<drive>/image_02/<10 digits>.png``.
        ids: What the numbers in these files are.
        scheme: Groups to score beside the classes.
        advance: Called with the number of frames compared, for progress.

    Returns:
        ``frames``, ``pixels``, ``classes`` and ``groups`` (each with ``miou``, ``accuracy``,
        ``iou`` by name) and ``confusion`` (rows: ground truth; columns: labels, ignore last).

    Raises:
        TeacherError: No such folder.
        FrameLabelError: A ground-truth map that is broken or of another size.
        ScoreError: No frame has both.
    """
    names = cityscapes().names
    total = np.zeros((len(names), len(names) + 1), np.int64)
    frames = 0
    for expected, labels in _pairs(store, folder, ids=ids):
        total += confusion(expected, labels, classes=len(names))
        frames += 1
        advance(1)
    if not frames:
        raise ScoreError(
            "no labelled frame has ground truth",
            expected=f"files as {folder}/<date>/<drive>/image_02/<10 digits>.png",
            where=store.path,
            remedy="label these frames first, or correct --labels",
        )
    return {
        "frames": frames,
        "pixels": int(total.sum()),
        "classes": measures(total, names),
        "groups": measures(merge(total, scheme.table), scheme.groups),
        "scheme": scheme.name,
        "confusion": total.tolist(),
    }


def _pairs(
    store: LabelStore, folder: Path, *, ids: Ids
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Ground truth and labels of every frame that has both."""
    truth = PngTeacher(folder, ids=ids)
    for sequence in store.sequences():
        labels = store.array(sequence, "classes")
        shape = np.broadcast_to(np.uint8(0), (*labels.size, 3))
        for index in labels.committed().nonzero()[0].tolist():
            key = f"{sequence}/{index:010d}"
            if (folder / f"{key}.png").is_file():
                (expected,) = truth.label([shape], [key]).classes
                yield expected, labels.read(index)


def confusion(truth: NDArray[np.uint8], labels: NDArray[np.uint8], *, classes: int) -> Confusion:
    """Count pixels by true class (rows) and label (columns, ignore last).

    Args:
        truth: Class ids below ``classes``, or 255 where there is none.
        labels: The same, of the same shape.
        classes: Number of classes.
    """
    known = truth != IGNORE_INDEX
    rows = truth[known].astype(np.int64)
    columns = np.minimum(labels[known], classes).astype(np.int64)
    counts = np.bincount(rows * (classes + 1) + columns, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1)


def merge(counts: Confusion, table: Sequence[int]) -> Confusion:
    """Confusion of groups from that of their classes; ignore stays the last column."""
    groups = max(table) + 1
    rows = np.array(table)
    columns = np.array([*table, groups])
    merged = np.zeros((groups, groups + 1), np.int64)
    np.add.at(merged, (rows[:, None], columns[None, :]), counts)
    return merged


def measures(counts: Confusion, names: Sequence[str]) -> dict[str, Any]:
    """IoU of each class that occurs, their mean, and pixel accuracy (Cordts et al., CVPR 2016).

    Returns:
        Fractions; None for a class that neither the truth nor the labels have.
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
    }


def as_text(result: dict[str, Any]) -> str:
    """The result as a page for a terminal, in percent."""
    lines = [f"{result['frames']} frames, {result['pixels']} pixels with ground truth"]
    for title in ("classes", "groups"):
        part = result[title]
        name = title if title == "classes" else f"groups of scheme {result['scheme']}"
        lines += ["", f"IoU of {name}"]
        lines += [f"  {name:<22}{_percent(value)}" for name, value in part["iou"].items()]
        lines += [f"  {'mean IoU':<22}{_percent(part['miou'])}"]
        lines += [f"  {'pixel accuracy':<22}{_percent(part['accuracy'])}"]
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "      -" if value is None else f"{100 * value:7.2f}"
