"""``xd-pipeline info``, ``preview`` and ``export``: look into a store."""

from pathlib import Path

import click

from xdistill.pipeline import console


@click.command("info", cls=console.Command)
@console.store_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, on stdout.")
@console.examples("xd-pipeline info --store labels.zarr", "xd-pipeline info --json")
def info(store: Path, as_json: bool) -> None:
    """Say what a store holds: coverage, histograms, the teacher's record."""
    import json

    from xdistill.pipeline.info import as_text, describe
    from xdistill.pipeline.store import LabelStore

    summary = describe(LabelStore.open(store))
    click.echo(json.dumps(summary, indent=2) if as_json else as_text(summary))


@click.command("preview", cls=console.Command)
@console.data_option
@console.store_option
@click.option("--frame", "frame_text", required=True, help='Split line: "DATE/DRIVE INDEX l".')
@click.option("--scheme", default="4", show_default=True, help="Groups for the lowest panel.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="PNG to write.")
@console.examples(
    'xd-pipeline preview --frame "2011_09_26/2011_09_26_drive_0013_sync 50 l" --out frame.png'
)
def preview(data: Path, store: Path, frame_text: str, scheme: str, out: Path) -> None:
    """Draw a frame with its class labels and groups."""
    from xdistill.grouping.scheme import load_scheme
    from xdistill.pipeline.kitti.frames import Frame
    from xdistill.pipeline.pictures import write_png
    from xdistill.pipeline.preview import preview as draw
    from xdistill.pipeline.store import LabelStore

    frame = Frame.parse(frame_text)
    picture = draw(data, LabelStore.open(store), frame, scheme=load_scheme(scheme))
    write_png(out, picture)
    click.echo(f"wrote {out}")


@click.command("export", cls=console.Command)
@console.store_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@click.option("--array", default="classes", show_default=True, help="classes, groups_4, ...")
@click.option("--colour", is_flag=True, help="RGB pictures instead of ids.")
@console.examples(
    "xd-pipeline export --out labels_png",
    "xd-pipeline export --array groups_4 --colour --out groups_png",
)
def export(store: Path, out: Path, array: str, colour: bool) -> None:
    """Write labels as PNG files, one a frame, for other code bases."""
    from xdistill.pipeline.export import export as run
    from xdistill.pipeline.export import frames_of
    from xdistill.pipeline.store import LabelStore

    labels = LabelStore.open(store)
    with console.progress(total=frames_of(labels, array), unit="frame") as bar:
        written = run(labels, out, array=array, colour=colour, advance=bar.update)
    click.echo(f"wrote {written} PNG files to {out}")
    if array == "classes" and not colour:
        click.echo(f"next: xd-pipeline segment --teacher png:{out} reads them into another store")
