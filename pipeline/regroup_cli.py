"""``xd-pipeline regroup``."""

from pathlib import Path

import click

from xdistill.pipeline import console


@click.command("regroup", cls=console.Command)
@console.store_option
@click.option(
    "--scheme", default="4", show_default=True, help="4, 2, 19, or the path of your own TOML table."
)
@console.examples(
    "xd-pipeline regroup --scheme 4",
    "xd-pipeline regroup --store labels.zarr --scheme mine.toml",
)
def regroup(store: Path, scheme: str) -> None:
    """Merge the 19 classes into groups, beside the classes in the store.

    The classes stay as they are; a second run does only what is missing.
    """
    from xdistill.grouping.scheme import load_scheme
    from xdistill.pipeline.regroup import plan_regroup
    from xdistill.pipeline.regroup import regroup as run
    from xdistill.pipeline.store import LabelStore

    table = load_scheme(scheme)
    labels = LabelStore.open(store)
    tasks = plan_regroup(labels, table)
    total = sum(len(task.frames) for task in tasks)
    if not tasks:
        click.echo(f"nothing to do: {table.array} is complete in {store}")
    else:
        target = LabelStore.open_for_writing(
            store, teacher=labels.teacher, fingerprint=labels.fingerprint
        )
        with console.progress(total=total, unit="frame") as bar:
            written = run(target, table, tasks=tasks, advance=bar.update)
        click.echo(f"wrote {table.array} for {written} frames to {store}")
    click.echo(f"next: xd-pipeline info --store {store}, or xd-train --store {store}")
