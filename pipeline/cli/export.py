"""``xd-pipeline export``."""

import shlex
from pathlib import Path

import click

from xdistill.manifests.progress import progress
from xdistill.pipeline.cli import console


@click.command("export", cls=console.Command)
@console.store_option
@click.option("--out", type=console.PATH, required=True, help="Folder to write to.")
@click.option("--array", default="classes", show_default=True, help="classes, groups_4, ...")
@click.option("--colour", is_flag=True, help="RGB pictures instead of ids.")
@click.option("--overwrite", is_flag=True, help="Replace files that hold something else.")
@console.examples(
    "xd-pipeline export --out labels_png",
    "xd-pipeline export --array groups_4 --colour --out groups_png",
)
def export(store: Path, out: Path, array: str, colour: bool, overwrite: bool) -> None:
    """Write labels as one PNG file per frame, for other code bases.

    Files that are there already and hold the same stay as they are.
    """
    from xdistill.pipeline.labelling.export import Export
    from xdistill.pipeline.store import LabelStore

    task = Export(store=LabelStore.open(store), array=array, colour=colour, out=out)
    with progress(total=task.frames, unit="frame") as bar:
        written = task.write(overwrite=overwrite, advance=bar.update)
    click.echo(f"wrote {written} PNG files to {out}")
    if written < task.frames:
        click.echo(f"{task.frames - written} were there already")
    if array == "classes" and not colour:
        teacher = shlex.quote(f"png:{out}")
        click.echo(f"next: xd-pipeline segment --teacher {teacher} reads them into another store")
