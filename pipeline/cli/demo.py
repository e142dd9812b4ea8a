"""``xd-pipeline demo``."""

import sys
from pathlib import Path
from typing import Any

import click

from xdistill.manifests.progress import note
from xdistill.pipeline.cli import console

DRIVES, FRAMES, SIZE = 60, 10, "192x64"


@click.command("demo", cls=console.Command)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder for street, labels, runs and report.",
)
@click.option(
    "--recipe",
    default="street",
    show_default=True,
    help="Of the distilled run: street or street-long; the baseline's is <recipe>-baseline.",
)
@click.option(
    "--teacher",
    default="street",
    show_default=True,
    help="As xd-pipeline segment has it; png:DEMO/street/labels are perfect labels.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1))
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Optimiser steps of each training; those of the recipe unless given.",
)
@click.option(
    "--drives", default=DRIVES, show_default=True, type=click.IntRange(min=3), help="Of the street."
)
@console.examples(
    "xd-pipeline demo --out demo",
    "xd-pipeline demo --out demo-long --recipe street-long --drives 150",
)
def demo(out: Path, recipe: str, teacher: str, seed: int, steps: int | None, drives: int) -> None:
    """The whole flow in minutes on a laptop: no download, no GPU, one report page.

    Renders a small street in KITTI's layout, labels and groups it, trains with and without
    distillation, and scores both. Stopped with Ctrl-C, the same command goes on where it was.
    """
    from xdistill.pipeline.demo.check import own_steps
    from xdistill.pipeline.demo.demo import NUMBERS, REPORT, run_demo
    from xdistill.pipeline.demo.stages import Settings

    settings = Settings(
        out=out, recipe=recipe, teacher=teacher, drives=drives, frames=FRAMES, size=SIZE, seed=seed,
        steps=steps or own_steps(recipe),
    )  # fmt: skip
    try:
        summary = run_demo(settings)
    except KeyboardInterrupt:
        note(f"stopped on request; next: {_again(settings)}")
        sys.exit(130)
    click.echo(_table(summary))
    for run, poses in summary["poses"].items():
        for failure in poses["failures"]:
            note(f"{run}: {failure}")
    click.echo(f"wrote {out / REPORT} and {out / NUMBERS}")
    click.echo(f"next: open {out / REPORT} in a browser")


def _again(settings: Any) -> str:
    return (
        f"xd-pipeline demo --out {settings.out} --recipe {settings.recipe} "
        f"--teacher {settings.teacher} --seed {settings.seed} --steps {settings.steps} "
        f"--drives {settings.drives}"
    )


def _table(summary: dict[str, Any]) -> str:
    metrics = summary["metrics"]
    names = list(next(iter(metrics.values())))
    lines = [" " * 12 + "".join(f"{name:>10}" for name in names)]
    for row, values in metrics.items():
        lines.append(f"{row:<12}" + "".join(f"{values[name]:>10.3f}" for name in names))
    change = summary["difference"]
    lines.append(f"{'difference':<12}" + "".join(f"{change[n]['absolute']:>+10.4f}" for n in names))
    return "\n".join(lines)
