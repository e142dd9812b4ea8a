"""``xd-pipeline info``."""

from pathlib import Path

import click

from xdistill.pipeline.cli import console


@click.command("info", cls=console.Command)
@console.store_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, on stdout.")
@console.examples("xd-pipeline info --store labels.zarr", "xd-pipeline info --json")
def info(store: Path, as_json: bool) -> None:
    """Summarise a store: coverage, histograms, the teacher's record."""
    import json

    from xdistill.pipeline.labelling.info import as_text, describe
    from xdistill.pipeline.store import LabelStore

    summary = describe(LabelStore.open(store))
    click.echo(json.dumps(summary, indent=2, allow_nan=False) if as_json else as_text(summary))
