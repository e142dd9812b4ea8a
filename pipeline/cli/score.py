"""``xd-pipeline score``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xdistill.manifests.progress import progress
from xdistill.pipeline.cli import console

if TYPE_CHECKING:
    from xdistill.teachers.protocol import Ids


@click.command("score", cls=console.Command)
@console.store_option
@click.option(
    "--labels",
    type=console.PATH,
    required=True,
    help="Folder of ground truth: <date>/<drive>/image_02/<10 digits>.png, or with --mapping "
    "000000_10.png.",
)
@click.option(
    "--mapping",
    type=console.PATH,
    help="train_mapping.txt of KITTI 2015's development kit: the raw frame of each of its images.",
)
@click.option(
    "--ids",
    type=click.Choice(["train", "label"]),
    default="train",
    show_default=True,
    help="What the files hold: train ids or Cityscapes label ids.",
)
@click.option("--scheme", default="4", show_default=True, help="Grouping to score as well.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, with the confusion.")
@console.examples(
    "xd-pipeline score --labels my_labels --scheme 2 --json",
    "xd-pipeline score --labels training/semantic --ids label --mapping train_mapping.txt",
)
def score(
    store: Path, labels: Path, mapping: Path | None, ids: "Ids", scheme: str, as_json: bool
) -> None:
    """Compare the teacher's labels with ground truth: confusion, IoU per class and per group.

    KITTI-2015 semantics is read as published: --labels training/semantic --ids label, with
    --mapping. Maps of frames that the mapping or the store lacks are counted and left out.
    """
    import json

    from xdistill.grouping.scheme import load_scheme
    from xdistill.pipeline.labelling.score import as_text
    from xdistill.pipeline.labelling.score import score as run
    from xdistill.pipeline.labelling.truth import find_truth
    from xdistill.pipeline.store import LabelStore

    # Before the bar, which would stand empty above an error message.
    target, table = LabelStore.open(store), load_scheme(scheme)
    truth = find_truth(labels, mapping=mapping)
    with progress(total=len(truth.maps), unit="frame") as bar:
        result = run(target, truth, ids=ids, scheme=table, advance=bar.update)
    click.echo(json.dumps(result, indent=2, allow_nan=False) if as_json else as_text(result))
