"""Make again what verification found damaged, and only that."""

from collections.abc import Callable, Mapping
from pathlib import Path

from xdistill.pipeline.kitti.frames import CAMERAS, Frame
from xdistill.pipeline.plan import make_plan
from xdistill.pipeline.regroup import plan_regroup, regroup, stored_scheme
from xdistill.pipeline.segment import Outcome, segment
from xdistill.pipeline.store import LabelStore
from xdistill.teachers.protocol import Teacher

Redo = Mapping[tuple[str, str], tuple[int, ...]]
"""Frame numbers to make again, by sequence and array."""
Advance = Callable[[int], object]

TEACHERS = ("classes", "confidence")
"""Arrays that only the teacher can make again."""


def frames_to_label(redo: Redo) -> list[Frame]:
    """The frames that the teacher must see again."""
    camera_of = {folder: camera for camera, folder in CAMERAS.items()}
    found = set()
    for (sequence, name), indices in redo.items():
        if name in TEACHERS:
            drive, _, folder = sequence.rpartition("/")
            found |= {Frame(drive, index, camera_of[folder]) for index in indices}
    return sorted(found)


def retract_derived(store: LabelStore, frames: list[Frame]) -> None:
    """Take back whatever depends on labels that are to be made again.

    A teacher on a GPU need not give the same pixels twice, so groups and confidence of a frame
    must never outlive its classes.
    """
    for sequence in sorted({frame.sequence for frame in frames}):
        indices = {frame.index for frame in frames if frame.sequence == sequence}
        for name in store.arrays(sequence):
            array = store.array(sequence, name)
            array.retract([index for index in indices if index < array.length])


def label_again(
    root: Path,
    store: LabelStore,
    frames: list[Frame],
    *,
    teacher: Teacher,
    advance: Advance = lambda count: None,
) -> Outcome:
    """Run the store's own teacher over frames whose labels were taken back.

    Raises:
        TeacherError: The teacher as a whole cannot work.
    """
    outcome = Outcome()
    tasks = make_plan(root, frames, store=store).tasks
    segment(root, store, teacher=teacher, tasks=tasks, outcome=outcome, advance=advance)
    return outcome


def regroup_again(store: LabelStore) -> int:
    """Bring every groups array up to date with its classes, by the table it was made with."""
    schemes = {
        name: stored_scheme(store.array(sequence, name).attributes)
        for sequence in store.sequences()
        for name in store.arrays(sequence)
        if name.startswith("groups_")
    }
    return sum(
        regroup(store, scheme, tasks=plan_regroup(store, scheme)) for scheme in schemes.values()
    )
