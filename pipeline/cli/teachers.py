"""``xd-pipeline teachers``: the known teachers, their weights, and how far engines agree."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xdistill.manifests.progress import Advance, progress
from xdistill.pipeline.cli import console
from xdistill.pipeline.cli.segment import choose, teacher_settings

if TYPE_CHECKING:
    from xdistill.teachers.choice.catalogue import TeacherEntry
    from xdistill.teachers.choice.check import Agreement


@click.group("teachers", cls=console.Group, invoke_without_command=True)
@click.pass_context
def teachers(ctx: click.Context) -> None:
    """List the teachers, fetch their weights, compare engines.

    \b
    Examples:
      xd-pipeline teachers
      xd-pipeline teachers fetch ocrnet-hr48
      xd-pipeline teachers check ocrnet-hr48 --engine onnx --data kitti
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_teachers)


@teachers.command("list", cls=console.Command)
@console.examples("xd-pipeline teachers list")
def list_teachers() -> None:
    """List the teachers known by name, and whether their weights are on this machine."""
    from xdistill.teachers.choice.catalogue import entries

    for known in entries():
        click.echo(_entry_text(known))
    click.echo("next: xd-pipeline teachers fetch NAME, then xd-pipeline segment --teacher NAME")


def _entry_text(known: "TeacherEntry") -> str:
    from xdistill.teachers.choice.catalogue import weights_path

    path = weights_path(known)
    rows = {
        "mIoU": f"{known.miou} % claimed, {known.miou_on}",
        "trained on": known.training_data,
        "network input": _input_text(known),
        "licence": known.licence,
        "sha256": known.sha256 or "not published; recorded from the first readable file",
        "address": known.address,
        "weights": f"{path} ({'on this machine' if path.is_file() else 'not fetched yet'})",
        "source": known.source,
    }
    return "\n".join([known.name, *(f"  {name:<14}{text}" for name, text in rows.items())])


def _input_text(known: "TeacherEntry") -> str:
    note = f" ({known.input_note})" if known.input_note else ""
    scales = ", ".join(f"{scale:g}" for scale in known.attention_scales or ())
    return known.input_size + note + (f", times {scales}" if scales else "")


@teachers.command("fetch", cls=console.Command)
@click.argument("name")
@console.examples("xd-pipeline teachers fetch ocrnet-hr48")
def fetch(name: str) -> None:
    """Download a teacher's weights; an interrupted download is resumed."""
    from xdistill.teachers.choice.catalogue import entry, fetch_weights

    path = fetch_weights(entry(name), watch=_bar)
    click.echo(f"{name}: {path}")
    click.echo(f"next: xd-pipeline segment --teacher {name}")


@contextmanager
def _bar(done: int, total: int | None) -> Iterator[Advance]:
    """Show a download, from where it resumes."""
    with progress(total=total, unit="B", done=done) as bar:
        yield bar.update


@teachers.command("check", cls=console.Command)
@click.argument("name")
@console.data_option
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Frames to compare, spread over all frames found.",
)
@teacher_settings
@console.examples(
    "xd-pipeline teachers check ocrnet-hr48 --engine onnx --data kitti",
    "xd-pipeline teachers check pidnet-s --engine bf16 --frames 50",
)
def check(name: str, data: Path, frames: int, **options: Any) -> None:
    """Label frames with the chosen engine and the exact one, and compare the labels."""
    from dataclasses import replace

    from xdistill.pipeline.kitti.frames import find_frames, image_path
    from xdistill.pipeline.kitti.images import read_image
    from xdistill.teachers.choice.check import compare
    from xdistill.teachers.protocol import ENGINES

    choice = choose(teacher=name, **options)
    if choice.settings.engine == "exact":
        raise click.UsageError(
            "the exact engine would be compared with itself: give --engine "
            + f"{', '.join(ENGINES[1:-1])} or {ENGINES[-1]}"
        )
    found = find_frames(data, drives=None, cameras=("l", "r"))
    count = min(frames, len(found))
    some = [found[i * len(found) // count] for i in range(count)]
    chosen = choice.load()
    exact = replace(choice, settings=replace(choice.settings, engine="exact")).load()
    with progress(total=len(some), unit="frame") as bar:
        images = ((frame.key, read_image(image_path(data, frame))) for frame in some)
        result = compare(chosen, exact, images, advance=bar.update)
    click.echo(_agreement_text(result, engine=choice.settings.engine))


def _agreement_text(result: "Agreement", *, engine: str) -> str:
    lines = [f"{name:<14}{share:>11.4%}" for name, share in result.by_class.items()]
    return "\n".join(
        [
            f"labels of {engine} equal to exact, {result.frames} frames",
            *lines,
            f"{'all pixels':<14}{result.equal:>11.4%}",
            f"{engine} {result.seconds:.3f} s a frame, exact {result.exact_seconds:.3f} s: "
            f"{result.speed:.2f} times the speed (median of pairs)",
        ]
    )
