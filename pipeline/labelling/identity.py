"""Whether the labels of a store are a teacher's own.

Networks are told by their fingerprints. Label maps in a folder are told by themselves: a copy of
the folder, at whatever path and with further maps, gives the same labels.
"""

from collections.abc import Iterator
from random import Random

import numpy as np

from xdistill.manifests.progress import note
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.store import LabelArray, LabelStore, LabelStoreError
from xdistill.pipeline.store.chunks import Labels
from xdistill.pipeline.store.errors import CorruptLabelsError
from xdistill.teachers.png import read_alike
from xdistill.teachers.protocol import FrameLabelError, Teacher

COMPARED = 16
"""Stored frames that are compared with their label maps, taken from all over the store."""


def require_same_teacher(store: LabelStore, teacher: Teacher) -> None:
    """Check that a store's labels are this teacher's; nothing is written.

    Of label maps in a folder, some stored frames are compared with their maps, whatever the
    fingerprints say. Frames that cannot be compared, for want of a map, are none of them.

    Raises:
        LabelStoreError: The store was made by another teacher, or from other label maps.
    """
    if not read_alike(store.teacher, teacher.record):
        store.require_teacher(teacher=teacher.record, fingerprint=teacher.fingerprint)
        return
    compared = 0
    for frame, stored, found in _pairs(store, teacher):
        if not np.array_equal(stored, found):
            raise _other_labels(store, teacher, frame, float((stored != found).mean()))
        compared += 1
        if compared == COMPARED:
            return
    if not compared and store.fingerprint != teacher.fingerprint and store.sequences():
        note(
            f"note: no frame of {store.path} has a label map in {teacher.record['folder']}: "
            "whether they are of one source is not known"
        )


def _pairs(store: LabelStore, teacher: Teacher) -> Iterator[tuple[Frame, Labels, Labels]]:
    """Stored frames that have a label map, with their stored labels and those of the map."""
    sequences = [name for name in store.sequences() if store.has(name, "classes")]
    # Maps may be missing, by any rule: several are tried for each that is to be compared.
    tries = 4 * (1 + COMPARED // max(len(sequences), 1))
    chance = Random(0)
    for sequence in chance.sample(sequences, len(sequences)):
        array = store.array(sequence, "classes")
        blank = np.broadcast_to(np.uint8(0), (*array.size, 3))
        committed = _committed(array)
        for index in chance.sample(committed, min(tries, len(committed))):
            frame = Frame.of_sequence(sequence, index)
            try:
                (found,) = teacher.label([blank], [frame.key]).classes
                yield frame, array.read(index), found
            except (FrameLabelError, CorruptLabelsError):
                continue  # Reported by segment and by verify.


def _committed(array: LabelArray) -> list[int]:
    try:
        return array.committed()
    except CorruptLabelsError:
        return []


def _other_labels(
    store: LabelStore, teacher: Teacher, frame: Frame, share: float
) -> LabelStoreError:
    return LabelStoreError(
        f"the label map of {frame} is not the one that the store holds: {share:.1%} of its pixels "
        "differ",
        expected="the label maps that the store was made from, at whatever path",
        where=teacher.record["folder"],
        remedy=f"give the folder with those label maps, or another --store than {store.path}",
    )
