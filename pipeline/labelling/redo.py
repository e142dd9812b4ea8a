"""Redo what verification found damaged, and nothing else.

New labels are made before the store gives up the old ones: where the image or the right teacher is
missing, labels stay as they are and the next verification names them again.
"""

import shlex
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from xdistill.grouping.scheme import Scheme, SchemeError
from xdistill.manifests.progress import Advance, unshown
from xdistill.pipeline.kitti.frames import Frame, missing_frames, require_root
from xdistill.pipeline.labelling.plan import Task, done_frames
from xdistill.pipeline.labelling.regroup import plan_regroup, regroup
from xdistill.pipeline.labelling.segment import segment
from xdistill.pipeline.labelling.shards import Outcome
from xdistill.pipeline.store import SHARD_FRAMES, LabelStore, LabelStoreError
from xdistill.pipeline.store.chunks import Labels
from xdistill.pipeline.store.metadata import label_remedy
from xdistill.pipeline.store.verify import VerifyReport
from xdistill.pipeline.store.verify_array import Finding
from xdistill.teachers.protocol import Teacher, TeacherError

TEACHERS = ("confidence", "classes")
"""Arrays that only the teacher can redo; classes come last, as a frame with classes is done."""


def frames_to_label(report: VerifyReport, root: Path) -> list[Frame]:
    """The frames that the teacher must label again, sorted by sequence and number.

    Args:
        report: From ``verify_store``.
        root: KITTI raw root.

    Raises:
        KittiError: There are such frames, but no root.
    """
    found: set[Frame] = set()
    for finding in report.findings:
        if finding.array in TEACHERS and finding.frames:
            require_root(root)
            found |= _frames(finding, root)
    return sorted(found, key=lambda frame: (frame.sequence, frame.index))


def _frames(finding: Finding, root: Path) -> set[Frame]:
    frames = {Frame.of_sequence(finding.sequence, index) for index in finding.frames}
    if finding.guessed:
        # A number without an image never had labels, unless the whole drive is missing.
        return frames - set(missing_frames(root, frames)) or frames
    return frames


def without_labels(report: VerifyReport) -> VerifyReport:
    """The report without what ``label_again`` redoes: what the store's own classes restore."""
    findings = (f for f in report.findings if not (f.array in TEACHERS and f.frames))
    return replace(report, findings=tuple(findings))


def need_confidence(store: LabelStore, frames: Sequence[Frame]) -> bool:
    """Whether the teacher must give confidence too, as it did before."""
    return any(store.has(sequence, "confidence") for sequence in {f.sequence for f in frames})


def label_again(
    root: Path,
    store: LabelStore,
    frames: Sequence[Frame],
    *,
    teacher: Teacher,
    advance: Advance = unshown,
) -> Outcome:
    """Run the store's own teacher over damaged frames and replace their labels.

    If one damaged frame of a shard cannot be labelled, none of the shard is replaced: the frame
    that stays damaged would block every write.

    Args:
        root: KITTI raw root.
        store: Opened for writing.
        frames: From ``frames_to_label``.
        teacher: The one that made the store.
        advance: Receives the number of frames just labelled.

    Raises:
        TeacherError: The teacher as a whole cannot work, or gives no confidence for a sequence that
            has it, whose labels then stay as they are.
        LabelStoreError: The labels cannot be written.
    """
    outcome = Outcome()
    for (sequence, shard), group in groupby(frames, key=_place):
        task = _task(store, sequence, shard, tuple(group))
        with tempfile.TemporaryDirectory(prefix="xdistill-") as folder:
            made = LabelStore.open_for_writing(
                Path(folder, "labels.zarr"),
                teacher=store.teacher,
                fingerprint=store.fingerprint,
                locking="if available",
            )
            part = Outcome()
            segment(root, made, teacher=teacher, tasks=[task], outcome=part, advance=advance)
            if not part.failures:
                part = _replace(store, task, _read(made, task))
        outcome.labelled += 0 if part.failures else part.labelled
        outcome.failures |= part.failures
    return outcome


def _place(frame: Frame) -> tuple[str, int]:
    return frame.sequence, frame.index // SHARD_FRAMES


def _task(store: LabelStore, sequence: str, shard: int, frames: tuple[Frame, ...]) -> Task:
    classes = store.array(sequence, "classes")
    return Task(
        number=0,
        sequence=sequence,
        shard=shard,
        frames=frames,
        length=classes.length,
        size=classes.size,
        arrays=tuple(name for name in TEACHERS if store.has(sequence, name)),
    )


def _read(made: LabelStore, task: Task) -> dict[str, dict[int, Labels]]:
    """The new labels, (height, width) each, by array and frame number."""
    indices = [frame.index for frame in task.frames]
    if set(indices) - done_frames(made, task.sequence, task.arrays):
        raise TeacherError(
            "the teacher gives no confidence",
            expected=f"confidence as well, which the store has for {task.sequence}",
            where="--teacher",
            remedy="give the teacher that made the store; until then the labels stay as they are",
        )
    return {
        name: {index: made.array(task.sequence, name).read(index) for index in indices}
        for name in task.arrays
    }


def _replace(store: LabelStore, task: Task, new: dict[str, dict[int, Labels]]) -> Outcome:
    """Retract everything that depends on the old labels, then commit the new ones.

    A teacher on a GPU may give other pixels the second time, so a frame's groups and confidence
    must not outlive its classes.
    """
    names = [name for name in store.arrays(task.sequence) if name != "classes"]
    arrays = {name: store.array(task.sequence, name) for name in (*names, "classes")}
    with ExitStack() as leases:
        if not all(leases.enter_context(array.lease(task.shard)) for array in arrays.values()):
            busy = f"another process is writing shard {task.shard} of its sequence"
            return Outcome(failures=dict.fromkeys(task.frames, busy))
        for array in arrays.values():
            array.retract([f.index for f in task.frames if f.index < array.length])
        for name, labels in new.items():
            # Writing adds to the counts, which may be damaged too.
            arrays[name].recount(task.shard)
            fits = {index: map_ for index, map_ in labels.items() if index < arrays[name].length}
            arrays[name].write_shard(task.shard, fits)
    return Outcome(labelled=len(task.frames))


def recorded_schemes(store: LabelStore, report: VerifyReport) -> list[Scheme]:
    """The schemes of the store's groups; to be read before any of their frames is given up.

    Raises:
        LabelStoreError: Damaged groups do not record the scheme that they were made with.
    """
    found: dict[str, Scheme] = {}
    places = [(s, name) for s in store.sequences() for name in store.arrays(s)]
    for sequence, name in places:
        if name.startswith("groups_"):
            try:
                scheme = Scheme.recorded(store.array(sequence, name).attributes)
            except SchemeError:
                scheme = None
            if scheme is not None and scheme.array == name:
                found[name] = scheme
            elif (sequence, name) in report.redo():
                raise _unrecorded(store, sequence, name)
    return list(found.values())


def _unrecorded(store: LabelStore, sequence: str, name: str) -> LabelStoreError:
    folders = [store.path / sequence / (name + suffix) for suffix in ("", "_commit", "_counts")]
    return LabelStoreError(
        f"{name} is damaged, and does not record the scheme that it was made with",
        expected="the name, groups and table that regroup stores with an array",
        where=folders[0],
        remedy=f"move {' '.join(shlex.quote(str(f)) for f in folders)} out of the store, and make "
        f"the groups again: {label_remedy(store.path, name)}",
    )


def regroup_again(store: LabelStore, schemes: Sequence[Scheme]) -> int:
    """Regroup every groups array that lacks frames, by the table it was made with.

    Args:
        store: Opened for writing.
        schemes: From ``recorded_schemes``.
    """
    return sum(regroup(store, scheme, tasks=plan_regroup(store, scheme)) for scheme in schemes)
