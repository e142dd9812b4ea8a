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
@console.examples(
    "xd-pipeline export --out labels_png",
    "xd-pipeline export --array groups_4 --colour --out groups_png",
)
def export(store: Path, out: Path, array: str, colour: bool) -> None:
    """Write labels as one PNG file per frame, for other code bases."""
    from xdistill.pipeline.labelling.export import export as run
    from xdistill.pipeline.labelling.export import frames_of
    from xdistill.pipeline.store import LabelStore

    labels = LabelStore.open(store)
    with progress(total=frames_of(labels, array), unit="frame") as bar:
        written = run(labels, out, array=array, colour=colour, advance=bar.update)
    click.echo(f"wrote {written} PNG files to {out}")
    if array == "classes" and not colour:
        teacher = shlex.quote(f"png:{out}")
        click.echo(f"next: xd-pipeline segment --teacher {teacher} reads them into another store")
