"""``xd-pipeline regroup``."""

import shlex
from pathlib import Path

import click

from xdistill.manifests.progress import progress
from xdistill.manifests.stopping import keeping
from xdistill.pipeline.cli import console

DEFAULT_SCHEME = "4"
"""That of the recipes, so that a training on any other has to name it."""


@click.command("regroup", cls=console.Command)
@console.store_option
@click.option(
    "--scheme",
    default=DEFAULT_SCHEME,
    show_default=True,
    help="4, 2, 19, or the path of your own TOML table.",
)
@click.option("--part", help="Share i/n of the shards, for job arrays.")
@console.examples(
    "xd-pipeline regroup --scheme 4",
    "xd-pipeline regroup --store labels.zarr --scheme mine.toml",
)
def regroup(store: Path, scheme: str, part: str | None) -> None:
    """Merge the 19 classes into groups, stored beside the classes.

    The classes stay as they are; a second run groups only what is missing.
    """
    from xdistill.grouping.scheme import load_scheme
    from xdistill.pipeline.labelling.plan import select_part
    from xdistill.pipeline.labelling.regroup import plan_regroup
    from xdistill.pipeline.labelling.regroup import regroup as run
    from xdistill.pipeline.store import LabelStore

    table = load_scheme(scheme)
    labels = LabelStore.open(store)
    pending = plan_regroup(labels, table)
    tasks = select_part(pending, part)
    if not tasks:
        share = f"part {part} of {table.array}" if pending else table.array
        click.echo(f"nothing to do: {share} is complete in {store}")
    else:
        target = LabelStore.open_for_writing(
            store,
            teacher=labels.teacher,
            fingerprint=labels.fingerprint,
            # Shares of a job array never meet in a shard: they can do without locks.
            locking="if available" if part else "required",
        )
        left: list[int] = []
        with (
            progress(total=sum(len(t.frames) for t in tasks), unit="frame") as bar,
            keeping(lambda: "finished shards are kept"),
        ):
            written = run(target, table, tasks=tasks, advance=bar.update, leave=left.append)
        click.echo(f"wrote {table.array} for {written} frames to {store}")
        if left:
            click.echo(f"left {sum(left)} frames to another running process")
    if len(tasks) < len(pending):
        click.echo(f"this was part {part}; the next step waits for the other parts")
    else:
        place = shlex.quote(str(store))
        chosen = "" if scheme == DEFAULT_SCHEME else f" --set {shlex.quote(f'scheme={scheme}')}"
        click.echo(f"next: xd-pipeline info --store {place}, or xd-train --store {place}{chosen}")
