"""``xd-pipeline verify``: check every byte, and redo what is damaged."""

import shlex
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xdistill.manifests.progress import progress
from xdistill.pipeline.cli import console
from xdistill.pipeline.cli.segment import choose, teacher_option, teacher_settings

if TYPE_CHECKING:
    from xdistill.pipeline.kitti.frames import Frame
    from xdistill.pipeline.store import LabelStore
    from xdistill.pipeline.store.verify import VerifyReport
    from xdistill.teachers.choice.spec import TeacherSpec


class VerifyCommand(console.Command):
    """Only a repair labels frames."""

    def unused(self, ctx: click.Context) -> Collection[str]:
        return () if ctx.params["repair"] else ("data", "teacher")


@click.command("verify", cls=VerifyCommand)
@console.data_option
@console.store_option
@click.option("--repair", is_flag=True, help="Redo what is damaged, and nothing else.")
@teacher_option
@teacher_settings
@console.examples(
    "xd-pipeline verify --store labels.zarr",
    "xd-pipeline verify --store labels.zarr --repair --data kitti --teacher ocrnet-hr48",
)
def verify(data: Path, store: Path, repair: bool, **teacher: Any) -> None:
    """Check every byte of a store against its checksums; exit status 1 if any is wrong.

    --repair restores metadata from intact copies, and labels and groups damaged frames again. It
    needs the data and the teacher only where class labels are damaged. Frames that cannot be
    labelled again are named and stay as they are.
    """
    report = _verify(store)
    for line in report.lines():
        click.echo(line)
    if report.ok:
        return
    if not repair:
        places = f"--store {shlex.quote(str(store))} --repair --data {shlex.quote(str(data))}"
        click.echo(f"next: xd-pipeline verify {places} {_own_teacher(store)}")
        sys.exit(1)
    with _locks(store):
        failed = _repair(store, report, data=data, spec=choose(**teacher))
    again = _verify(store)
    click.echo("after repair:")
    for line in again.lines():
        click.echo(line)
    sys.exit(0 if again.ok and not failed else 1)


@contextmanager
def _locks(store: Path) -> Iterator[None]:
    """Say how to repair a store on a file system without locks: this command has no --part."""
    from xdistill.pipeline.store import NoLocksError

    try:
        yield
    except NoLocksError as error:
        raise NoLocksError(
            error.headline,
            expected="kernel file locks, which keep a repair and a writer off one shard",
            where=store.absolute(),
            remedy="copy the store to a disk with locks, and repair it there",
        ) from error


def _own_teacher(store: Path) -> str:
    """The option that names a store's own teacher, or words where its record does not tell."""
    from xdistill.pipeline.store import LabelStore, LabelStoreError
    from xdistill.pipeline.store.images import holds_images

    try:
        found = LabelStore.open(store)
        flags = "" if holds_images(found) else found.teacher_flags
    except LabelStoreError:
        flags = None
    if flags == "":
        return flags
    return flags or "with the store's own teacher (--teacher and its options, as given to segment)"


def _verify(store: Path) -> "VerifyReport":
    from xdistill.pipeline.store.verify import verify_store

    with progress(total=None, unit="label map") as bar:
        return verify_store(store, expect=bar.reset, advance=bar.update)


def _repair(path: Path, report: "VerifyReport", *, data: Path, spec: "TeacherSpec") -> int:
    """Restore and redo; return how many frames could not be labelled again."""
    from xdistill.pipeline.labelling.redo import (
        frames_to_label,
        recorded_schemes,
        regroup_again,
        without_labels,
    )
    from xdistill.pipeline.store import LabelStore
    from xdistill.pipeline.store.images import holds_images
    from xdistill.pipeline.store.repair import lost_metadata, repair_labels, repair_metadata

    lost = repair_metadata(path, report)
    if lost:
        raise lost_metadata(path, lost)
    found = LabelStore.open(path)
    store = LabelStore.open_for_writing(path, teacher=found.teacher, fingerprint=found.fingerprint)
    schemes = recorded_schemes(store, report)
    failed = _label_again(store, frames_to_label(report, data), data=data, spec=spec)
    if failed:
        click.echo("next: fix or restore the images above, and run the same command again")
        return failed
    repair_labels(store, without_labels(report))
    grouped = regroup_again(store, schemes)
    if grouped:
        click.echo(f"grouped {grouped} frames again")
    if holds_images(store):
        places = f"--data {shlex.quote(str(data))} --out {shlex.quote(str(path))}"
        click.echo(f"next: xd-pipeline cache-images {places}, with the frames of the first time")
    return 0


def _label_again(
    store: "LabelStore", frames: "list[Frame]", *, data: Path, spec: "TeacherSpec"
) -> int:
    """Label frames again; return how many of them could not be."""
    if not frames:
        return 0
    from xdistill.pipeline.labelling.failures import lines
    from xdistill.pipeline.labelling.identity import require_same_teacher
    from xdistill.pipeline.labelling.redo import label_again, need_confidence

    if need_confidence(store, frames) and spec.kind != "png":
        spec = replace(spec, settings=replace(spec.settings, confidence=True))
    # Before anything is taken back: without the right teacher the store stays as it is.
    teacher = spec.load()
    require_same_teacher(store, teacher)
    with progress(total=len(frames), unit="frame") as bar:
        outcome = label_again(data, store, frames, teacher=teacher, advance=bar.update)
    click.echo(f"labelled {outcome.labelled} frames again, {len(outcome.failures)} failed")
    for line in lines(outcome.failures):
        click.echo(line)
    return len(outcome.failures)
