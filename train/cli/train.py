"""``xd-train``."""

import shlex
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from xdistill.manifests import loader
from xdistill.manifests.progress import note
from xdistill.manifests.stopping import Stopped
from xdistill.pipeline.cli import console
from xdistill.pipeline.kitti.splits import TRAINING_SPLIT

if TYPE_CHECKING:
    from xdistill.train.data.triplets import Selection
    from xdistill.train.job import Job

DEFAULT_RECIPE = "xdistill-rn50"


class TrainCommand(console.Command):
    """Options that are not typed come from the record of a resumed run; a recipe uses its own."""

    def unused(self, ctx: click.Context) -> Collection[str]:
        if ctx.params["resume"]:
            parts = [("recipe",), *_SOURCES.values()]
            return [name for names in parts if not _typed(*names) for name in names]
        from xdistill.train.recipe.file import load_recipe

        recipe = load_recipe(ctx.params["recipe"], overrides=ctx.params["overrides"])
        store = ["store"] if recipe.distillation == "none" else []
        return store + ([] if _selection(ctx.params).takes_camera else ["camera"])


@click.command("train", cls=TrainCommand)
@console.data_option
@console.store_option
@click.option(
    "--recipe",
    default=DEFAULT_RECIPE,
    show_default=True,
    help="Recipe by name, or your own TOML file.",
)
@click.option(
    "--images",
    type=console.PATH,
    help="Cache of resized images, made by xd-pipeline cache-images.  [images are resized as read]",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a recipe key.")
@click.option(
    "--split", help=f"Split file or name; 'all' takes every frame found.  [{TRAINING_SPLIT}]"
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
@click.option("--out", type=console.PATH, help="Run folder.  [runs/<recipe>-<n>]")
@click.option("--resume", is_flag=True, help="Continue the run in --out, or the newest one.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Optimiser steps in total, counted from the start; the schedules stay as they are.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    help="Where to train.  [cuda if available]",
)
@console.choices(
    "Recipes, whose keys --set changes (docs/recipes.md has every key)", loader.names("recipes")
)
@console.choices("Splits", loader.names("splits"))
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, asked: _list(context) if asked else None,
    help="Show the shipped recipes with the published results, and exit.",
)
@console.examples(
    "xd-train --list",
    "xd-train --recipe xdistill-rn18 --data kitti --store labels.zarr",
    "xd-train --recipe xdistill-rn18 --images images.zarr",
    "xd-train --recipe monodepth2-rn18 --drive 2011_09_26_drive_0013_sync --steps 60",
    "xd-train --recipe my.toml --set batch_size=4 --set encoder_weights=none --split my_split.txt",
    "xd-train --resume --out runs/xdistill-rn50-1",
)
def main(**options: Any) -> None:
    """Train a depth network, distilled from the label store if the recipe says so.

    The run folder gets the resolved recipe, the checkpoint, metrics.jsonl, validation.jsonl and
    pictures. Ctrl-C, SIGTERM and SIGHUP end after the current step with a checkpoint; --resume
    continues from it as if nothing had happened. Only recipes with distillation need a store.
    """
    from xdistill.train.job import prepare

    _train(prepare(**_arguments(options)), options)


def _train(job: "Job", options: dict[str, Any]) -> None:
    from xdistill.train.job import describe, start
    from xdistill.train.loop import train
    from xdistill.train.run import RECORD_FILE, owned

    try:
        with owned(job.run):
            training = start(job)
            for line in describe(job):
                note(line)
            if training.step >= job.stop:
                click.echo(f"nothing to do: {job.run} is at step {training.step} of {job.stop}")
                return
            train(training, job)
    except Stopped as stop:
        if (job.run / RECORD_FILE).exists():
            stop.next = _resuming(job.run, options)
        raise
    click.echo(f"step {training.step} of {job.stop}; wrote {job.run}")
    click.echo(f"poses: {job.recipe.pose_source}")
    places = ("--run", str(job.run), "--data", str(job.dataset.root))
    click.echo(f"next: {shlex.join(('xd-eval', *places))}")


def _list(context: click.Context) -> None:
    from xdistill.train.evaluation.recipes import recipe_list

    click.echo(recipe_list())
    click.echo("next: xd-train --recipe NAME; docs/recipes.md has every key")
    context.exit()


def _resuming(run: Path, options: dict[str, Any]) -> str:
    """The command that continues a run, with what its folder does not record."""
    kept = {"steps": options["steps"], "device": options["device"]}
    flags = [part for name, value in kept.items() if value for part in (f"--{name}", str(value))]
    return shlex.join(["xd-train", "--resume", "--out", str(run), *flags])


def _arguments(options: dict[str, Any]) -> dict[str, Any]:
    """The options as arguments of ``prepare``; a resumed run fills in those not typed."""
    from xdistill.train.job import recorded
    from xdistill.train.recipe.file import load_recipe
    from xdistill.train.run import free_name, newest_run, with_initial_run
    from xdistill.train.training import choose_device

    asked: dict[str, Any] = {
        "data": options["data"],
        "store": options["store"],
        "images": options["images"],
        "selection": _selection(options),
        "validation_split": options["val_split"],
    }
    if options["resume"]:
        run = options["out"] or newest_run()
        recipe = options["recipe"] if _typed("recipe") else None
        own = recorded(run, recipe=recipe, overrides=options["overrides"])
        note(f"resuming {run}: options not given here are the run's own")
        asked = own | {key: asked[key] for key in asked if _typed(*_SOURCES[key])}
    else:
        recipe = load_recipe(options["recipe"], overrides=options["overrides"])
        recipe = with_initial_run(recipe)
        run = options["out"] or free_name(recipe.name)
        note(f"run:     {run}")
        asked |= {"recipe": recipe, "run": run}
    asked |= {"device": choose_device(options["device"]), "steps": options["steps"]}
    _say_selection(asked, options)
    return asked


def _say_selection(asked: dict[str, Any], options: dict[str, Any]) -> None:
    """Print split and device, whose defaults no option shows, before a check can fail."""
    chosen = options["resume"] or options["split"] or options["drives"]
    selection = asked["selection"]
    split = selection.split or "drives " + " ".join(selection.drives)
    note(f"split:   {split}{'' if chosen else ' (assumed)'}")
    note(f"device:  {asked['device']}{'' if options['device'] else ' (assumed)'}")


_SOURCES = {
    "data": ("data",),
    "store": ("store",),
    "images": ("images",),
    "selection": ("split", "drives", "camera"),
    "validation_split": ("val_split",),
}
"""Options behind each argument of ``prepare`` that a run records."""


def _typed(*names: str) -> bool:
    """Whether one of the options is on the command line."""
    context = click.get_current_context()
    return any(context.get_parameter_source(n) is ParameterSource.COMMANDLINE for n in names)


def _selection(options: dict[str, Any]) -> "Selection":
    """The selected frames: drives replace a split, unless only the split was typed."""
    from xdistill.train.data.triplets import Selection

    if _typed("drives") and _typed("split"):
        raise click.UsageError("--split and --drive are mutually exclusive")
    if options["drives"] and not _typed("split"):
        return Selection(split=None, drives=options["drives"], camera=options["camera"])
    return Selection(split=options["split"] or TRAINING_SPLIT, camera=options["camera"])
