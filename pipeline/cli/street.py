"""``xd-pipeline street``."""

import shlex
from pathlib import Path

import click

from xdistill.manifests.progress import note, progress
from xdistill.manifests.stopping import keeping
from xdistill.pipeline.cli import console


@click.command("street", cls=console.Command)
@click.option("--out", type=console.PATH, required=True, help="Folder to make: a KITTI root.")
@click.option("--drives", type=int, default=12, show_default=True, help="How many drives.")
@click.option("--frames", type=int, default=40, show_default=True, help="Frames of each drive.")
@click.option("--size", default="192x64", show_default=True, help="Width x height in pixels.")
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same bytes.")
@console.examples(
    "xd-pipeline street --out street",
    "xd-pipeline street --out large --drives 4 --frames 100 --size 640x192 --seed 7",
)
def street(out: Path, drives: int, frames: int, size: str, seed: int) -> None:
    """Render a small street as a KITTI raw folder, with exact depth and labels beside it.

    The same command resumes a run that was stopped. Every other command takes the folder as --data.
    """
    from xdistill.pipeline.street import compiled
    from xdistill.pipeline.street.record import folder, recording

    settings = folder.StreetSettings(
        drives=drives, frames=frames, size=folder.parse_size(size), seed=seed
    )
    missing = folder.prepare(out, settings)
    if not missing:
        click.echo(f"nothing to do: {drives} drives are complete in {out}")
    else:
        if len(missing) < drives:
            note(f"resuming: {drives - len(missing)} of {drives} drives are complete")
        if not compiled.code_folder().is_dir():
            note("compiling the ray-caster, once on this machine: about 20 s")
        with (
            progress(total=len(missing) * frames, unit="frame") as bar,
            keeping(lambda: "finished drives are kept"),
        ):
            for number in missing:
                recording.write_drive(out, settings, number, advance=bar.update)
        click.echo(f"wrote {len(missing)} drives of {frames} frames to {out}")
    click.echo(f"  splits: {out}/{folder.SPLITS}/train.txt, val.txt, test.txt")
    click.echo(f"  exact labels: --teacher {shlex.quote(f'png:{out}/{folder.LABELS}')}")
    click.echo(f"  exact depth (1/256 m): {out}/{folder.DEPTH}")
    train = shlex.quote(f"{out}/{folder.SPLITS}/train.txt")
    click.echo(
        f"next: xd-pipeline segment --data {shlex.quote(str(out))} --teacher street --split {train}"
    )
