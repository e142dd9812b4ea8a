"""``xd-eval``."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xdistill.manifests import disk, loader
from xdistill.manifests.progress import note, progress
from xdistill.pipeline.cli import console

if TYPE_CHECKING:
    from xdistill.pipeline.kitti.frames import Frame
    from xdistill.train.evaluation.predictions import Predictions
    from xdistill.train.evaluation.scores import Evaluation

DEFAULT_SPLIT = "kitti-eigen-test"

Item = TypeVar("Item")


@click.command("eval", cls=console.Command)
@click.option(
    "--run",
    type=console.PATH,
    help="Run folder, or one with Monodepth2's files.  [the newest under runs/]",
)
@click.option(
    "--predictions",
    type=console.PATH,
    help="In place of a run: .npy of scaled disparities (frames, h, w) in the split's order.",
)
@console.data_option
@click.option("--split", default=DEFAULT_SPLIT, show_default=True, help="Split file or name.")
@click.option(
    "--ground-truth",
    type=console.PATH,
    help="HDF5 file with the projected LiDAR depth.  [one in the cache folder]",
)
@click.option("--json", "out", type=console.OUTPUT, help="Write means and per-image scores.")
@click.option(
    "--save",
    type=console.OUTPUT,
    help="Keep the run's disparities (.npy), for --predictions.",
)
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), help="Where to predict.  [cuda if available]"
)
@console.choices("Splits", loader.names("splits"))
@console.examples(
    "xd-eval --run runs/xdistill-rn50-1 --data kitti --json metrics.json",
    "xd-eval --predictions disps.npy --split kitti-eigen-test",
    "xd-eval --run runs/xdistill-rn50-1 --split my_split.txt --device cpu",
)
def main(
    run: Path | None,
    predictions: Path | None,
    data: Path,
    split: str,
    ground_truth: Path | None,
    out: Path | None,
    save: Path | None,
    device: str | None,
) -> None:
    """Score a depth network against LiDAR, under the published results.

    The protocol is Eigen's, with the Garg crop and median scaling. The scans are projected once
    and kept in a file.
    """
    from xdistill.pipeline.kitti.splits import read_split, resolve_split
    from xdistill.train.evaluation.predictions import predicted_in_file
    from xdistill.train.evaluation.protocols import EIGEN
    from xdistill.train.evaluation.published_splits import published_name, require_lidar
    from xdistill.train.evaluation.report import Report

    _refuse_contradictions(run=run, predictions=predictions, save=save)
    # By its name before its list is fetched, then by its frames: the list may have any name.
    require_lidar(split)
    split_file = resolve_split(split)
    frames = read_split(split_file)
    require_lidar(published_name(frames))
    scored = (
        predicted_in_file(predictions, frames)
        if predictions
        else _predicted_by_run(run, data, frames, device)
    )
    scores, truth = _score(scored, data, frames, ground_truth=ground_truth, save=save)
    report = Report(
        predictions=scored,
        scores=scores,
        protocol=EIGEN,
        split=split,
        split_file=split_file,
        ground_truth=truth,
    )
    try:
        # Before anything is printed: stdout may be full, or a pager that nobody scrolls.
        if out is not None:
            write_json(out, report.as_json())
    finally:
        click.echo(report.text())
    _say_next(out, data=data, split=split)


def _say_next(out: Path | None, *, data: Path, split: str) -> None:
    if out is None:
        click.echo("next: add --json FILE to keep these numbers and those of each image")
        return
    click.echo(f"wrote {out}")
    same = f"--data {quote(str(data))} --split {quote(split)}"
    click.echo(f"next: xd-eval --run ANOTHER {same}, to compare runs")


def _score(
    predictions: "Predictions",
    data: Path,
    frames: "list[Frame]",
    *,
    ground_truth: Path | None,
    save: Path | None,
) -> "tuple[Evaluation, Path]":
    """The scores, and the file with the depth they were scored against."""
    from xdistill.train.evaluation.ground_truth import prepare_ground_truth
    from xdistill.train.evaluation.predictions import saved
    from xdistill.train.evaluation.protocols import EIGEN
    from xdistill.train.evaluation.scores import evaluate

    disparities = predictions.disparities
    if save:
        disparities = saved(disparities, save, count=len(frames))
    truth = prepare_ground_truth(data, frames, depth=EIGEN.depth, path=ground_truth)
    with progress(total=len(frames), unit="frame") as bar:
        return evaluate(_counted(disparities, bar), frames, truth, protocol=EIGEN), truth


def _refuse_contradictions(
    *, run: Path | None, predictions: Path | None, save: Path | None
) -> None:
    if run and predictions:
        raise click.UsageError("--run and --predictions are mutually exclusive")
    if save and predictions:
        raise click.UsageError("--save keeps what a run predicts: it needs --run")


def _predicted_by_run(
    run: Path | None, data: Path, frames: "list[Frame]", device: str | None
) -> "Predictions":
    """The predictions of the run, or of the newest one."""
    from xdistill.train.evaluation.predictions import newest_trained_run, predicted_by_run

    if run is None:
        run = newest_trained_run()
        note(f"assumed: --run {quote(str(run))} (the newest checkpoint)")
    return predicted_by_run(run, data, frames, device=device)


def _counted(items: Iterable[Item], bar: Any) -> Iterator[Item]:
    """The items, each one step of the bar."""
    for item in items:
        yield item
        bar.update()


def write_json(out: Path, content: dict[str, Any]) -> None:
    """Write the file that ``--json`` names.

    Raises:
        OutputError: The disk refuses it.
    """
    try:
        disk.write(out, [json.dumps(content, indent=2, allow_nan=False).encode() + b"\n"])
    except OSError as error:
        raise disk.unwritable(out, error.strerror, option="--json") from error
