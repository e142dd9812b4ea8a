"""``xd-train``."""

import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from xdistill.manifests.progress import note
from xdistill.pipeline.cli import console

if TYPE_CHECKING:
    from xdistill.train.data.triplets import Selection
    from xdistill.train.session import Request

DEFAULT_RECIPE = "xdistill-rn50"
DEFAULT_SPLIT = "kitti-eigen-zhou-train"


class TrainCommand(console.Command):
    """A resumed run's record stands for what is not typed."""

    def unused(self, ctx: click.Context) -> Collection[str]:
        if not ctx.params["resume"]:
            return ()
        parts = [("recipe",), *_SOURCES.values()]
        return [name for names in parts if not _typed(*names) for name in names]


@click.command("train", cls=TrainCommand)
@console.data_option
@console.store_option
@click.option(
    "--recipe",
    default=DEFAULT_RECIPE,
    show_default=True,
    help="Recipe by name, or your own TOML file.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a recipe key.")
@click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Ignore labels less probable than P; the same as --set min_confidence=P.",
)
@click.option(
    "--split", help=f"Split file or name; 'all' takes every frame found.  [{DEFAULT_SPLIT}]"
)
@click.option("--drive", "drives", multiple=True, help="Drive instead of a split; may be repeated.")
@click.option(
    "--camera",
    type=click.Choice(["l", "r", "both"]),
    default="l",
    show_default=True,
    help="Without a split: l is image_02, r is image_03.",
)
@click.option(
    "--val-split",
    help="Split file or name to validate on after each epoch: losses, learned poses.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder.  [runs/<recipe>-<n>]")
@click.option("--resume", is_flag=True, help="Go on with the run in --out, or the newest one.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Optimiser steps in total, counted from the start; the schedules stay as they are.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    help="Where to train.  [cuda where there is one]",
)
@console.examples(
    "xd-train --recipe xdistill-rn18 --data kitti --store labels.zarr",
    "xd-train --recipe monodepth2-rn18 --drive 2011_09_26_drive_0013_sync --steps 60",
    "xd-train --recipe my.toml --set batch_size=4 --set encoder_weights=none --split my_split.txt",
    "xd-train --resume --out runs/xdistill-rn50-1",
)
def main(**options: Any) -> None:
    """Train a depth network, distilled from the label store where the recipe says so.

    The run folder gets the resolved recipe, the checkpoint, metrics.jsonl, validation.jsonl and
    pictures. Ctrl-C ends after the step in hand with a checkpoint; --resume goes on from it as if
    nothing had happened. A store is needed by recipes with distillation only.
    """
    from xdistill.train.interrupt import stop_on_signal
    from xdistill.train.loop import train
    from xdistill.train.session import prepare

    session = prepare(_request(options))
    training, job = session.training, session.job
    for line in session.notes:
        note(line)
    if training.step >= job.stop:
        click.echo(f"nothing to do: {job.run} is at step {training.step} of {job.stop}")
        return
    with stop_on_signal() as stopped:
        train(training, job, stop_requested=stopped)
    click.echo(f"step {training.step} of {job.stop}; wrote {job.run}")
    if stopped():
        click.echo(f"stopped on request; next: xd-train --resume --out {job.run}")
        sys.exit(130)
    click.echo(f"poses: {training.recipe.pose_source}")
    click.echo(f"next: xd-eval --run {job.run} --data {job.dataset.root}")


def _request(options: dict[str, Any]) -> "Request":
    """The options as a request; a resumed run's own values stand for what was not typed."""
    from xdistill.train.recipe.file import load_recipe
    from xdistill.train.run import free_name, newest_run
    from xdistill.train.session import Request, recorded_request
    from xdistill.train.training import choose_device

    overrides = _overrides(options["min_confidence"], options["overrides"])
    given: dict[str, Any] = {
        "data": options["data"],
        "store": options["store"],
        "selection": _selection(options),
        "validation_split": options["val_split"],
    }
    if options["resume"]:
        run = options["out"] or newest_run()
        recipe = options["recipe"] if _typed("recipe") else None
        recorded = recorded_request(run, recipe=recipe, overrides=overrides)
        note(f"resuming {run}: what is not typed is as the run was started")
        given = recorded | {key: given[key] for key in given if _typed(*_SOURCES[key])}
    else:
        given["recipe"] = load_recipe(options["recipe"], overrides=overrides)
        run = options["out"] or free_name(given["recipe"].name)
        note(f"run:     {run}")
    request = Request(
        **given,
        run=run,
        device=choose_device(options["device"]),
        steps=options["steps"],
        resumed=options["resume"],
    )
    _say_selection(request, options)
    return request


def _overrides(min_confidence: float | None, texts: tuple[str, ...]) -> tuple[str, ...]:
    """The recipe keys of ``--set`` and of the flag that stands for one of them."""
    from xdistill.train.recipe.file import parse_overrides

    own = parse_overrides(texts).get("min_confidence")
    if min_confidence is None or _equals(own, min_confidence):
        return texts
    # What is typed wins over the defaults of xdistill.toml.
    lead = _typed("min_confidence") - _typed("overrides")
    if own is not None and lead == 0:
        raise click.UsageError(
            f"--min-confidence {min_confidence:g} contradicts --set min_confidence={own}: "
            "give one of them"
        )
    return texts if own is not None and lead < 0 else (*texts, f"min_confidence={min_confidence}")


def _equals(text: str | None, number: float) -> bool:
    try:
        return text is not None and float(text) == number
    except ValueError:
        return False


def _say_selection(request: "Request", options: dict[str, Any]) -> None:
    """Split and device, whose defaults no option shows; before anything can fail for them."""
    chosen = request.resumed or options["split"] or options["drives"]
    split = request.selection.split or "drives " + " ".join(request.selection.drives)
    note(f"split:   {split}{'' if chosen else ' (assumed)'}")
    note(f"device:  {request.device}{'' if options['device'] else ' (assumed)'}")


_SOURCES = {
    "data": ("data",),
    "store": ("store",),
    "selection": ("split", "drives", "camera"),
    "validation_split": ("val_split",),
}
"""Which options make each part of a request."""


def _typed(*names: str) -> bool:
    """Whether one of the options stands on the command line."""
    context = click.get_current_context()
    return any(context.get_parameter_source(n) is ParameterSource.COMMANDLINE for n in names)


def _selection(options: dict[str, Any]) -> "Selection":
    """The frames asked for: drives in place of a split, unless only the split was typed."""
    from xdistill.train.data.triplets import Selection

    if _typed("drives") and _typed("split"):
        raise click.UsageError("--split and --drive exclude each other: give one of them")
    if options["drives"] and not _typed("split"):
        return Selection(split=None, drives=options["drives"], camera=options["camera"])
    return Selection(split=options["split"] or DEFAULT_SPLIT, camera=options["camera"])
