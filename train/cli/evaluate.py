"""``xd-eval``."""

import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xdistill.manifests.progress import note, progress
from xdistill.pipeline.cli import console

if TYPE_CHECKING:
    from xdistill.pipeline.kitti.frames import Frame
    from xdistill.train.evaluation.evaluate import Disparity
    from xdistill.train.evaluation.protocols import EvaluationError
    from xdistill.train.evaluation.report import Subject

DEFAULT_SPLIT = "kitti-eigen-test"
BACKBONES = {"resnet18": "RN18", "resnet34": "RN34", "resnet50": "RN50"}
"""Encoders of recipes as the published tables name them."""

Item = TypeVar("Item")


@click.command("eval", cls=console.Command)
@click.option(
    "--run",
    type=click.Path(path_type=Path),
    help="Run folder, or one with Monodepth2's files [the newest under runs/].",
)
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="Instead of a run: .npy of scaled disparities (frames, h, w) in the split's order.",
)
@console.data_option
@click.option("--split", default=DEFAULT_SPLIT, show_default=True, help="Split file or name.")
@click.option(
    "--ground-truth",
    type=click.Path(path_type=Path),
    help="HDF5 file with the projected LiDAR depth [one in the cache folder].",
)
@click.option(
    "--json", "out", type=click.Path(path_type=Path), help="Write means and per-image scores."
)
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    help="Keep the run's disparities, as --predictions reads them (.npy).",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="[cuda where there is one]")
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
    """Score a depth network against LiDAR, beside the published results.

    The protocol is Eigen's, with the Garg crop and median scaling. The scans are projected once
    and kept in a file.
    """
    from xdistill.pipeline.kitti.splits import read_split, resolve_split
    from xdistill.train.evaluation.evaluate import evaluate
    from xdistill.train.evaluation.ground_truth import prepare_ground_truth
    from xdistill.train.evaluation.predict import kept
    from xdistill.train.evaluation.protocols import EIGEN
    from xdistill.train.evaluation.report import Report

    _refuse_contradictions(run=run, predictions=predictions, save=save)
    split_file = resolve_split(split)
    frames = read_split(split_file)
    _require_place(out, "--json")
    _require_place(save, "--save")
    subject, disparities = (
        _predicted(predictions, frames) if predictions else _trained(run, data, frames, device)
    )
    if save:
        disparities = kept(disparities, save, count=len(frames))
    truth = prepare_ground_truth(data, frames, depth=EIGEN.depth, path=ground_truth)
    with progress(total=len(frames), unit="frame") as bar:
        scores = evaluate(_counted(disparities, bar), frames, truth, protocol=EIGEN)
    report = Report(
        subject=subject,
        scores=scores,
        protocol=EIGEN,
        split=split,
        split_file=split_file,
        ground_truth=truth,
    )
    click.echo(report.text())
    if out is None:
        click.echo("next: the same command with --json FILE keeps these numbers and each image's")
    else:
        _write(out, report.as_json())
        click.echo(f"wrote {out}")
        click.echo(f"next: xd-eval --run ANOTHER --data {data} --split {split}, to compare runs")


def _refuse_contradictions(
    *, run: Path | None, predictions: Path | None, save: Path | None
) -> None:
    if run and predictions:
        raise click.UsageError("--run and --predictions exclude each other: give one of them")
    if save and predictions:
        raise click.UsageError("--save keeps what a run predicts: give --run, or leave it out")


def _predicted(path: Path, frames: "list[Frame]") -> "tuple[Subject, Iterable[Disparity]]":
    """A file of predictions, whose network is not known."""
    from xdistill.train.evaluation.evaluate import read_predictions
    from xdistill.train.evaluation.report import Subject

    disparities = read_predictions(path, frames)
    _, height, width = disparities.shape
    subject = Subject(
        name=path.name,
        backbone=None,
        resolution=f"{width}x{height}",
        facts={"predictions": str(path)},
    )
    return subject, disparities


def _trained(
    run: Path | None, data: Path, frames: "list[Frame]", device: str | None
) -> "tuple[Subject, Iterable[Disparity]]":
    """A run, whose depth network predicts while the scores are made."""
    from xdistill.pipeline.kitti.splits import require_frames
    from xdistill.train.checkpoint import load_depth_network
    from xdistill.train.evaluation.predict import newest_trained_run, predict
    from xdistill.train.evaluation.report import Subject
    from xdistill.train.training import choose_device

    if run is None:
        run = newest_trained_run()
        note(f"assumed: --run {run} (the newest checkpoint)")
    chosen = choose_device(device)
    network, recipe = load_depth_network(run, device=chosen)
    require_frames(data, frames)
    subject = Subject(
        name=run.name,
        backbone=BACKBONES.get(recipe.encoder),
        resolution=f"{recipe.width}x{recipe.height}",
        facts={"run": str(run), "recipe": recipe.name, "poses": recipe.pose_source},
    )
    return subject, predict(network, recipe, data, frames, device=chosen)


def _counted(items: Iterable[Item], bar: Any) -> Iterator[Item]:
    """The items, each one step of the bar."""
    for item in items:
        yield item
        bar.update()


def _require_place(out: Path | None, option: str) -> None:
    """Refuse a place for a result that cannot be, before the work is done."""
    if out is None:
        return
    if out.is_dir():
        raise _no_place(out, option, "a folder")
    try:
        with tempfile.TemporaryFile(dir=out.absolute().parent):
            pass
    except OSError as error:
        raise _no_place(out, option, error.strerror) from error


def _no_place(out: Path, option: str, reason: str | None) -> "EvaluationError":
    from xdistill.train.evaluation.protocols import EvaluationError

    return EvaluationError(
        f"{option} {out} cannot be written ({reason})",
        expected="a file in an existing folder that can be written",
        where=out.absolute().parent,
        remedy="create the folder, make room there, or give another file",
    )


def _write(out: Path, content: dict[str, Any]) -> None:
    from xdistill.manifests import atomic

    try:
        atomic.write(out, [json.dumps(content, indent=2).encode() + b"\n"])
    except OSError as error:
        raise _no_place(out, "--json", error.strerror) from error
