"""``xd-pipeline score``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xdistill.pipeline import console

if TYPE_CHECKING:
    from xdistill.teachers.png import Ids


@click.command("score", cls=console.Command)
@console.store_option
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of ground truth: <date>/<drive>/image_02/<10 digits>.png.",
)
@click.option(
    "--ids",
    type=click.Choice(["train", "label"]),
    default="train",
    show_default=True,
    help="What the files hold: train ids or Cityscapes label ids.",
)
@click.option("--scheme", default="4", show_default=True, help="Groups to score too.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, with the confusion.")
@console.examples(
    "xd-pipeline score --labels kitti_semantics --ids label",
    "xd-pipeline score --labels kitti_semantics --scheme 2 --json",
)
def score(store: Path, labels: Path, ids: "Ids", scheme: str, as_json: bool) -> None:
    """Compare the teacher's labels with ground truth: IoU per class and per group."""
    import json

    from xdistill.grouping.scheme import load_scheme
    from xdistill.pipeline.score import as_text
    from xdistill.pipeline.score import score as run
    from xdistill.pipeline.store import LabelStore

    with console.progress(total=None, unit="frame") as bar:
        result = run(
            LabelStore.open(store),
            labels,
            ids=ids,
            scheme=load_scheme(scheme),
            advance=bar.update,
        )
    click.echo(json.dumps(result, indent=2) if as_json else as_text(result))
