"""``xd-pipeline segment``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xdistill.manifests.progress import note, progress
from xdistill.pipeline.cli import console
from xdistill.pipeline.cli.teacher_options import choose, teacher_options
from xdistill.pipeline.kitti.frames import CAMERA_CHOICES

if TYPE_CHECKING:
    from xdistill.pipeline.kitti.frames import Frame
    from xdistill.pipeline.labelling.plan import Plan
    from xdistill.pipeline.labelling.segment import Outcome
    from xdistill.pipeline.store import LabelStore
    from xdistill.pipeline.store.leases import Locking
    from xdistill.teachers.protocol import Teacher
    from xdistill.teachers.spec import TeacherSpec


@click.command("segment", cls=console.Command)
@console.data_option
@console.store_option
@teacher_options
@click.option("--split", help="Split file or name: label its frames only.")
@click.option("--drive", "drives", multiple=True, help="Drive to label; may be repeated.")
@click.option(
    "--camera",
    type=click.Choice(list(CAMERA_CHOICES)),
    default="l",
    show_default=True,
    help="l is image_02, r is image_03; a split's own column wins.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=1,
    help="Frames the teacher sees at once (1 unless given).",
)
@click.option("--part", help="Share i/n of the shards, for job arrays.")
@click.option("--plan", "only_plan", is_flag=True, help="Say what would be done, and stop.")
@click.option("--dask-workers", type=click.IntRange(min=1), help="Run on N local processes.")
@click.option("--dask", metavar="ADDRESS", help="Run on the Dask cluster of this scheduler.")
@console.examples(
    "xd-pipeline segment --data kitti --teacher ocrnet-hr48 --device cuda",
    "xd-pipeline segment --teacher png:my_labels --ids label --drive 2011_09_26_drive_0013_sync",
    "xd-pipeline segment --split kitti-eigen-zhou-train --plan",
)
def segment(
    data: Path,
    store: Path,
    split: str | None,
    drives: tuple[str, ...],
    camera: str,
    batch_size: int,
    part: str | None,
    only_plan: bool,
    dask_workers: int | None,
    dask: str | None,
    **teacher: Any,
) -> None:
    """Run the teacher over KITTI, once, into a label store.

    Does only what is missing: run it again after an interruption, or with a larger split. Frames
    that cannot be read are named at the end (exit status 1) and tried again by the next run.
    """
    from xdistill.pipeline.labelling.plan import make_plan, select_part
    from xdistill.pipeline.labelling.segment import Outcome

    if dask and dask_workers:
        raise click.UsageError("--dask and --dask-workers exclude each other: give one of them")
    choice = choose(**teacher)
    frames = select_frames(data, split=split, drives=drives, camera=camera)
    existing = open_existing(store)
    arrays = ("classes", "confidence") if teacher["confidence"] else ("classes",)
    plan = make_plan(data, frames, store=existing, arrays=arrays)
    share = replace(plan, tasks=select_part(plan.tasks, part))
    click.echo(_plan_text(share, part))
    if only_plan and share.tasks:
        click.echo(f"next: the same command without --plan writes them to {store}")
        return
    outcome = Outcome()
    if not only_plan:
        run = _Run(data=data, store=store, share=share, outcome=outcome, batch=batch_size)
        # Shares of a job array never meet in a shard: they can do without locks.
        locking: Locking = "if available" if part else "required"
        run.start(choice, existing, at=dask or dask_workers, locking=locking)
    _finish(plan, share, store, outcome, part=part)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """One run of what is left of a share, in this process or on a cluster."""

    data: Path
    store: Path
    share: "Plan"
    outcome: "Outcome"
    batch: int

    def start(
        self,
        choice: "TeacherSpec",
        existing: "LabelStore | None",
        *,
        at: str | int | None,
        locking: "Locking",
    ) -> None:
        """Load the teacher, compare it with the store's own, and label what is left."""
        from xdistill.pipeline.store import LabelStore

        teacher = choice.load()
        made_by: Any = {"teacher": teacher.record, "fingerprint": teacher.fingerprint}
        if existing is not None:
            existing.require_teacher(**made_by)
        if not self.share.tasks:
            return
        # A store is bound to the settings that it was made with: none for those that fail.
        for size in sorted({task.size for task in self.share.tasks}):
            teacher.check_size(*size)
        target = LabelStore.open_for_writing(self.store, **made_by, locking=locking)
        with progress(total=self.share.pending, unit="frame") as bar:
            if at:
                self.on_cluster(choice, at=at, locking=locking, bar=bar)
            else:
                self.here(target, teacher, bar)

    def here(self, store: "LabelStore", teacher: "Teacher", bar: Any) -> None:
        from xdistill.pipeline.labelling.segment import segment as label

        with _told_when_interrupted(self.outcome):
            label(
                self.data,
                store,
                teacher=teacher,
                tasks=self.share.tasks,
                outcome=self.outcome,
                batch_size=self.batch,
                advance=bar.update,
            )

    def on_cluster(
        self, choice: "TeacherSpec", *, at: str | int, locking: "Locking", bar: Any
    ) -> None:
        from xdistill.pipeline.labelling.cluster import connect, segment_on

        with _told_when_interrupted(self.outcome), connect(at) as client:
            segment_on(
                client,
                self.data,
                self.store,
                teacher=choice,
                tasks=self.share.tasks,
                outcome=self.outcome,
                batch_size=self.batch,
                locking=locking,
                advance=bar.update,
            )


@contextmanager
def _told_when_interrupted(outcome: "Outcome") -> Iterator[None]:
    """Ctrl-C ends with a line instead of a traceback; what is finished was committed."""
    try:
        yield
    except KeyboardInterrupt:
        note(
            f"interrupted: {outcome.labelled} frames were labelled and are kept; "
            "the same command goes on with the rest"
        )
        sys.exit(130)


def open_existing(store: Path) -> "LabelStore | None":
    """The store as it is; None where there is none yet: no such path, or an empty folder.

    Raises:
        LabelStoreError: Something else is there, or a damaged store.
    """
    from xdistill.pipeline.store import LabelStore, LabelStoreError
    from xdistill.pipeline.store.errors import CorruptLabelsError
    from xdistill.pipeline.store.format import DOCUMENT, repair_remedy

    if not store.exists() or (store.is_dir() and not any(store.iterdir())):
        return None
    found = "a file" if store.is_file() else "a folder of something else than labels"
    try:
        if (store / DOCUMENT).is_file():
            return LabelStore.open(store)
    except CorruptLabelsError:
        found = f"a {DOCUMENT} that no label store has, or a damaged one"
    raise LabelStoreError(
        found,
        expected="a label store, an empty folder or a new path",
        where=store.absolute(),
        remedy=f"give --store another path; if this was a label store, {repair_remedy(store)}",
    )


def select_frames(
    data: Path, *, split: str | None, drives: tuple[str, ...], camera: str
) -> "list[Frame]":
    """The frames of a split, of named drives, or everything found.

    Raises:
        MissingFrameError: The split names frames that are not there.
        UsageError: Both a split and drives were given.
    """
    from xdistill.pipeline.kitti.frames import find_frames
    from xdistill.pipeline.kitti.splits import load_split, require_frames

    if split and drives:
        raise click.UsageError("--split and --drive exclude each other: give one of them")
    if split:
        frames = load_split(split)
        require_frames(data, frames)
        return frames
    return find_frames(data, drives=drives or None, cameras=CAMERA_CHOICES[camera])


def _plan_text(share: "Plan", part: str | None) -> str:
    of_part = f" of part {part}" if part else ""
    lines = [
        f"requested  {share.requested:>7} frames in {share.sequences} sequences",
        f"done       {share.done:>7} frames",
        f"to do      {share.pending:>7} frames in {len(share.tasks)} shards{of_part}, "
        f"about {share.bytes / 1e6:.1f} MB",
    ]
    if share.retried:
        lines.append(f"again      {share.retried:>7} frames of the request failed before")
    return "\n".join(lines)


def _finish(
    plan: "Plan", share: "Plan", store: Path, outcome: "Outcome", *, part: str | None
) -> None:
    """Say what was done and what comes next; exit status 1 where frames failed."""
    for frame, reason in sorted(outcome.failures.items()):
        click.echo(f"failed: {frame}: {reason}")
    if not plan.tasks:
        click.echo(f"nothing to do: all {plan.requested} frames are in {store}")
    elif not share.tasks:
        click.echo(f"nothing to do: all frames of part {part} are in {store}")
    else:
        click.echo(
            f"labelled {outcome.labelled} frames, {len(outcome.failures)} failed, "
            f"{plan.done} were there; wrote {store}"
        )
    if outcome.left_to_others:
        click.echo(f"left {outcome.left_to_others} frames to another running process")
    if outcome.failures:
        click.echo("next: mend or remove the frames above, and run the same command again")
        sys.exit(1)
    if len(share.tasks) < len(plan.tasks):
        click.echo(f"this was part {part}; the next step waits for the other parts")
    else:
        click.echo(f"next: xd-pipeline regroup --store {store} --scheme 4")
