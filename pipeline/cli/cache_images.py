"""``xd-pipeline cache-images``: the images of a training, resized once."""

import shlex
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xdistill.manifests import loader
from xdistill.manifests.progress import progress
from xdistill.manifests.stopping import keeping
from xdistill.pipeline.cli import console
from xdistill.pipeline.cli.segment import frame_options, requested
from xdistill.pipeline.kitti.splits import EVERYTHING

if TYPE_CHECKING:
    from xdistill.pipeline.labelling.shards import Outcome


class CacheCommand(console.Command):
    """A split names its own cameras."""

    def unused(self, ctx: click.Context) -> Collection[str]:
        return () if ctx.params["split"] in (None, EVERYTHING) else ("camera",)


@click.command("cache-images", cls=CacheCommand)
@console.data_option
@click.option(
    "--out",
    type=console.PATH,
    default=Path("images.zarr"),
    show_default=True,
    help="Cache to make, or to add to.",
)
@click.option("--size", help="Width and height in pixels.  [the cache's own, else 640x192]")
@frame_options(verb="resize")
@console.choices("Splits", loader.names("splits"))
@console.examples(
    "xd-pipeline cache-images --data kitti --size 640x192",
    "xd-pipeline cache-images --size 1024x320 --out images-1024x320.zarr",
    "xd-pipeline cache-images --drive 2011_09_26_drive_0013_sync",
)
def cache_images(
    data: Path,
    out: Path,
    size: str | None,
    split: str | None,
    drives: tuple[str, ...],
    camera: str,
) -> None:
    """Resize the images of a training, once, for xd-train --images.

    Resizes only what is missing: run it again after an interruption, or with a larger split, whose
    frames are resized with their source frames. The training sees the same pixels as without the
    cache, and gives the same losses. Frames that cannot be read are listed at the end (exit status
    1) and retried by the next run.
    """
    from xdistill.pipeline.labelling import caching
    from xdistill.pipeline.labelling.plan import make_plan
    from xdistill.pipeline.labelling.shards import Outcome
    from xdistill.pipeline.store.format import IMAGES

    store, height, width = caching.existing_cache(out, _size(size))
    frames = requested(data, split=split, drives=drives, camera=camera)
    plan = make_plan(data, caching.with_sources(data, frames), store=store, arrays=(IMAGES,))
    size_mb = plan.pending * height * width * 3 / 1e6
    click.echo(f"requested  {plan.requested:>7} images in {plan.sequences} sequences")
    click.echo(f"done       {plan.done:>7} images")
    click.echo(f"to do      {plan.pending:>7} images of {width}x{height}, {size_mb:.1f} MB")
    outcome = Outcome()
    if plan.tasks:
        cache = caching.open_cache(out, (height, width))
        with (
            progress(total=plan.pending, unit="image") as bar,
            keeping(lambda: f"{outcome.labelled} images were resized and are kept"),
        ):
            caching.cache_images(data, cache, tasks=plan.tasks, outcome=outcome, advance=bar.update)
    _finish(outcome, data=data, out=out)


def _size(text: str | None) -> tuple[int, int] | None:
    """Height and width of ``640x192``; None if not given."""
    from xdistill.teachers.protocol import parse_size

    if text is None:
        return None
    width, height = parse_size(text, option="--size")
    if height is None:
        raise click.BadParameter(f"{text!r}: give width and height, as 640x192")
    return height, width


def _finish(outcome: "Outcome", *, data: Path, out: Path) -> None:
    """Print what was done and what comes next; exit status 1 where frames failed."""
    for frame, reason in sorted(outcome.failures.items()):
        click.echo(f"failed: {frame}: {reason}")
    failed = len(outcome.failures)
    if not outcome.labelled + failed + outcome.left_to_others:
        click.echo(f"nothing to do: all of these images are in {out}")
    else:
        click.echo(f"resized {outcome.labelled} images, {failed} failed; wrote {out}")
    if outcome.left_to_others:
        click.echo(f"left {outcome.left_to_others} images to another running process")
    if failed:
        click.echo("next: fix or remove the images above, and run the same command again")
        sys.exit(1)
    click.echo(f"next: xd-train --data {shlex.quote(str(data))} --images {shlex.quote(str(out))}")
