"""``xd-pipeline demo``."""

from pathlib import Path
from typing import Any

import click

from xdistill.manifests.progress import note
from xdistill.manifests.stopping import keeping
from xdistill.pipeline.cli import console

DRIVES, FRAMES, SIZE = 60, 10, "192x64"


@click.command("demo", cls=console.Command)
@click.option(
    "--out",
    type=console.PATH,
    default=Path("demo"),
    show_default=True,
    help="Folder for street, labels, runs and report.",
)
@click.option(
    "--recipe",
    default="street",
    show_default=True,
    help="Recipe of the distilled run: street or street-long; the baseline uses <recipe>-baseline.",
)
@click.option(
    "--teacher",
    default="street",
    show_default=True,
    help="As in xd-pipeline segment; png:DEMO/street/labels are perfect labels.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**32 - 1),
    help="Seed of the street and of both trainings.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Optimiser steps of each training; default: those of the recipe.",
)
@click.option(
    "--drives",
    default=DRIVES,
    show_default=True,
    type=click.IntRange(min=3),
    help="Drives of the street.",
)
@console.examples(
    "xd-pipeline demo --out demo",
    "xd-pipeline demo --out demo-long --recipe street-long --drives 150",
)
def demo(out: Path, recipe: str, teacher: str, seed: int, steps: int | None, drives: int) -> None:
    """Run the whole flow in minutes on a laptop: no download, no GPU, one report page.

    Renders a small street in KITTI's layout, labels and groups it, trains with and without
    distillation, and scores both. After Ctrl-C, the same command resumes.
    """
    from xdistill.pipeline.demo.demo import NUMBERS, REPORT, recipe_steps, run_demo
    from xdistill.pipeline.demo.stages import DemoSettings

    settings = DemoSettings(
        out=out, recipe=recipe, teacher=teacher, drives=drives, frames=FRAMES, size=SIZE, seed=seed,
        steps=steps or recipe_steps(recipe),
    )  # fmt: skip
    with keeping(lambda: f"finished stages and checkpoints are kept in {out}"):
        summary = run_demo(settings)
    click.echo(_table(summary))
    for run, poses in summary["poses"].items():
        for failure in poses["failures"]:
            note(f"{run}: {failure}")
    click.echo(f"wrote {out / REPORT} and {out / NUMBERS}")
    click.echo(f"next: open {out / REPORT} in a browser")


def _table(summary: dict[str, Any]) -> str:
    metrics = summary["metrics"]
    names = list(next(iter(metrics.values())))
    lines = [" " * 12 + "".join(f"{name:>10}" for name in names)]
    for row, values in metrics.items():
        lines.append(f"{row:<12}" + "".join(f"{values[name]:>10.3f}" for name in names))
    change = summary["difference"]
    lines.append(f"{'difference':<12}" + "".join(f"{change[n]['absolute']:>+10.4f}" for n in names))
    return "\n".join(lines)
