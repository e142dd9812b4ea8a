"""``xd-pipeline segment``."""

import shlex
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from xdistill.manifests import loader
from xdistill.manifests.progress import progress
from xdistill.manifests.stopping import keeping
from xdistill.pipeline.cli import console
from xdistill.pipeline.kitti.frames import CAMERA_CHOICES
from xdistill.pipeline.kitti.splits import EVERYTHING, TRAINING_SPLIT
from xdistill.teachers.choice.spec import TeacherSpec
from xdistill.teachers.protocol import ENGINES, Ids, TeacherSettings

if TYPE_CHECKING:
    from xdistill.pipeline.kitti.frames import Frame
    from xdistill.pipeline.labelling.plan import Plan
    from xdistill.pipeline.labelling.segment import Labelling
    from xdistill.pipeline.labelling.shards import Outcome

Function = TypeVar("Function", bound=Callable[..., Any])


def teacher_option(function: Function) -> Function:
    """``--teacher``; see ``choose``."""
    return click.option(
        "--teacher",
        default="ocrnet-hr48",
        show_default=True,
        help="Manifest name, png:FOLDER, mmseg:CONFIG,CHECKPOINT, hf:FOLDER or module:factory.",
    )(function)


def teacher_settings(function: Function) -> Function:
    """How a teacher labels: what ``choose`` takes beside ``--teacher``."""
    options = [
        click.option("--device", help="cpu or cuda; cuda where there is one."),
        click.option(
            "--ids",
            type=click.Choice(["train", "label"]),
            help="What the files of png:FOLDER hold: train ids (default) or Cityscapes label ids.",
        ),
        click.option("--input-size", help="Network input: native, config, a width (2048) or WxH."),
        click.option(
            "--engine",
            type=click.Choice(ENGINES),
            help="How the network is run (exact unless given).",
        ),
        click.option("--window", help="whole, slide, or a sliding window WxH."),
        click.option("--flip", is_flag=True, help="Average with the mirrored frame."),
        click.option("--scales", help="Average over these scales: 0.5,1,2."),
        click.option("--confidence", is_flag=True, help="Also store the top probability's level."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def frame_options(*, verb: str) -> Callable[[Function], Function]:
    """``--split``, ``--drive`` and ``--camera``, the options of ``requested``.

    Args:
        verb: What the command does to the frames, for the help.
    """
    options = (
        click.option(
            "--split",
            help=f"Split file or name of the frames to {verb}; 'all' takes every frame found.  "
            f"[{TRAINING_SPLIT} where all of its drives are there]",
        ),
        click.option("--drive", "drives", multiple=True, help=f"Drive to {verb}; may be repeated."),
        click.option(
            "--camera",
            type=click.Choice(list(CAMERA_CHOICES)),
            default="l",
            show_default=True,
            help="l is image_02, r is image_03; a split's own column wins.",
        ),
    )

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


MANY_FRAMES = 1000
"""A smaller folder is no training set and takes minutes: all of it is labelled."""


class SegmentCommand(console.Command):
    """A split names its own cameras; of the teacher, a plan needs the rate alone."""

    def unused(self, ctx: click.Context) -> Collection[str]:
        names = [] if ctx.params["split"] in (None, EVERYTHING) else ["camera"]
        return names + (["batch_size"] if ctx.params["only_plan"] else [])


@click.command("segment", cls=SegmentCommand)
@console.data_option
@console.store_option
@teacher_option
@teacher_settings
@frame_options(verb="label")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=1,
    help="Frames the teacher sees at once (1 unless given).",
)
@click.option("--part", help="Share i/n of the shards, for job arrays.")
@click.option("--plan", "only_plan", is_flag=True, help="Print the plan and stop.")
@click.option("--dask-workers", type=click.IntRange(min=1), help="Run on N local processes.")
@click.option("--dask", metavar="ADDRESS", help="Run on the Dask cluster of this scheduler.")
@console.choices("Splits", loader.names("splits"))
@console.choices("Teachers", loader.names("teachers"))
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

    Labels only what is missing: run it again after an interruption, or with a larger split.
    Frames that cannot be read are listed at the end (exit status 1) and retried by the next run.
    """
    from xdistill.pipeline.labelling.plan import make_plan, open_existing, select_part
    from xdistill.pipeline.labelling.rate import recall, time_text
    from xdistill.pipeline.labelling.segment import Labelling
    from xdistill.pipeline.labelling.shards import Outcome

    if dask and dask_workers:
        raise click.UsageError("--dask and --dask-workers are mutually exclusive")
    spec = choose(**teacher)
    frames = requested(data, split=split, drives=drives, camera=camera)
    arrays = ("classes", "confidence") if spec.settings.confidence else ("classes",)
    plan = make_plan(data, frames, store=open_existing(store), arrays=arrays)
    share = replace(plan, tasks=select_part(plan.tasks, part))
    click.echo(_plan_text(share, part))
    if only_plan and share.tasks:
        if spec.kind != "png":
            click.echo(f"time       {time_text(share.pending, recall(spec))}")
        click.echo(f"next: the same command without --plan writes them to {store}")
        return
    labelling = Labelling(
        data=data,
        store=store,
        teacher=spec,
        tasks=share.tasks,
        batch_size=batch_size,
        # Shares of a job array never meet in a shard: they can do without locks.
        locking="if available" if part else "required",
    )
    outcome = Outcome()
    if not only_plan:
        _run(labelling, outcome, at=dask or dask_workers)
    _finish(plan, labelling, outcome, part=part)


def choose(
    *,
    teacher: str,
    device: str | None,
    ids: Ids | None,
    input_size: str | None,
    engine: str | None,
    window: str | None,
    flip: bool,
    scales: str | None,
    confidence: bool,
) -> TeacherSpec:
    """The teacher that the flags describe.

    Raises:
        TeacherError: The text names no teacher, or an option is malformed or does not apply.
        UsageError: ``--scales`` is not a list of numbers.
    """
    given: dict[str, Any] = {"engine": engine} if engine else {}
    try:
        factors = tuple(float(text) for text in scales.split(",")) if scales else None
    except ValueError:
        raise click.BadParameter(f"{scales!r}: give numbers as 0.5,1,2") from None
    settings = TeacherSettings(
        input_size=input_size,
        window=window,
        flip=flip,
        scales=factors,
        confidence=confidence,
        **given,
    )
    return TeacherSpec.parse(teacher, device=device, ids=ids or "train", settings=settings)


def requested(
    data: Path, *, split: str | None, drives: tuple[str, ...], camera: str
) -> "list[Frame]":
    """The frames of a split, of the named drives, or everything found."""
    from xdistill.pipeline.kitti.frames import find_frames
    from xdistill.pipeline.kitti.missing import require_frames
    from xdistill.pipeline.kitti.splits import assumed_split, load_split

    if split and drives:
        raise click.UsageError("--split and --drive are mutually exclusive")
    found: list[Frame] = []
    if split in (None, EVERYTHING):
        found = find_frames(data, drives=drives or None, cameras=CAMERA_CHOICES[camera])
    source = click.get_current_context().get_parameter_source("camera")
    if not (split or drives) and source is ParameterSource.DEFAULT and len(found) >= MANY_FRAMES:
        split = assumed_split(data)
    if split in (None, EVERYTHING):
        return found
    frames = load_split(split)
    require_frames(data, frames)
    return frames


def _run(labelling: "Labelling", outcome: "Outcome", *, at: str | int | None) -> None:
    """Label in this process, or on the Dask cluster or local processes named by ``at``."""
    teacher = labelling.load_teacher()
    if not labelling.tasks:
        return
    from xdistill.pipeline.labelling.rate import remember

    store = labelling.open_store(teacher)
    start = time.perf_counter()
    with (
        progress(total=labelling.frames, unit="frame") as bar,
        keeping(lambda: f"{outcome.labelled} frames were labelled and are kept"),
    ):
        if at:
            from xdistill.pipeline.labelling.cluster import connect, label_on

            with connect(at) as client:
                label_on(client, labelling, outcome=outcome, advance=bar.update)
        else:
            try:
                labelling.label(store, teacher, outcome=outcome, advance=bar.update)
            finally:
                seconds = time.perf_counter() - start
                # Files have no rate of their own: the disk has, and its cache.
                if labelling.teacher.kind != "png":
                    remember(labelling.teacher, frames=outcome.labelled, seconds=seconds)


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


def _finish(plan: "Plan", labelling: "Labelling", outcome: "Outcome", *, part: str | None) -> None:
    """Print what was done and what comes next; exit status 1 where frames failed."""
    store = labelling.store
    if outcome.failures:
        from xdistill.pipeline.labelling.failures import lines

        click.echo("\n".join(lines(outcome.failures)))
    if not plan.tasks:
        click.echo(f"nothing to do: all {plan.requested} frames are in {store}")
    elif not labelling.tasks:
        click.echo(f"nothing to do: all frames of part {part} are in {store}")
    else:
        click.echo(
            f"labelled {outcome.labelled} frames, {len(outcome.failures)} failed, "
            f"{plan.done} already done; wrote {store}"
        )
    if outcome.left_to_others:
        click.echo(f"left {outcome.left_to_others} frames to another running process")
    if outcome.failures:
        click.echo(_after_failures(outcome, untried=labelling.frames - len(outcome.failures)))
        sys.exit(1)
    if len(labelling.tasks) < len(plan.tasks):
        click.echo(f"this was part {part}; the next step waits for the other parts")
    else:
        click.echo(f"next: xd-pipeline regroup --store {shlex.quote(str(store))} --scheme 4")


def _after_failures(outcome: "Outcome", *, untried: int) -> str:
    if not (outcome.hopeless and untried):
        return "next: fix or remove the frames above, and run the same command again"
    return (
        f"stopped: the first {len(outcome.failures)} frames all failed for one reason; "
        f"{untried} others were not tried\n"
        "next: do what is said above, or choose frames that are sound with --drive or --split"
    )
