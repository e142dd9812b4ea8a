"""``xd-pipeline preview``."""

import os
from pathlib import Path

import click

from xdistill.pipeline.cli import console


@click.command("preview", cls=console.Command)
@console.data_option
@console.store_option
@click.option("--frame", "frame_text", required=True, help='Split line: "DATE/DRIVE INDEX l".')
@click.option("--scheme", default="4", show_default=True, help="Grouping of the lowest panel.")
@click.option("--out", type=console.OUTPUT, required=True, help="PNG to write.")
@console.examples(
    'xd-pipeline preview --frame "2011_09_26/2011_09_26_drive_0013_sync 50 l" --out frame.png'
)
def preview(data: Path, store: Path, frame_text: str, scheme: str, out: Path) -> None:
    """Draw a frame with its class labels and groups."""
    from xdistill.grouping.scheme import load_scheme
    from xdistill.pipeline.kitti.frames import Frame, image_path
    from xdistill.pipeline.kitti.images import write_png
    from xdistill.pipeline.labelling.preview import preview as draw
    from xdistill.pipeline.store import LabelStore

    frame = Frame.parse(frame_text)
    if os.path.realpath(out) == os.path.realpath(image_path(data, frame)):
        raise click.UsageError(f"--out would be written over the frame's own image, {out}")
    picture = draw(data, LabelStore.open(store), frame, scheme=load_scheme(scheme))
    write_png(out, picture)
    click.echo(f"wrote {out}")
