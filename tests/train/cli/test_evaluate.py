"""``xd-eval`` from the command line: the table, the JSON, and one message for each mistake."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from xdistill.manifests import disk
from xdistill.pipeline.kitti.calibration import Calibration
from xdistill.pipeline.kitti.frames import Frame, find_frames
from xdistill.pipeline.kitti.velodyne import scan_path
from xdistill.train.checkpoint import FORMAT
from xdistill.train.cli.evaluate import main
from xdistill.train.evaluation.protocols import METRICS
from xdistill.train.evaluation.report import Report
from xdistill.train.networks.depth import depth_network
from xdistill.train.recipe.file import dump_recipe
from xdistill.train.recipe.recipe import Recipe

DRIVE = "2011_09_26/2011_09_26_drive_0001_sync"
FRAMES = [Frame(DRIVE, index, "l") for index in (1, 2, 5)]


def call(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture
def scanned(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with kitti/ of one drive whose frames all have a scan."""
    root = tmp_path / "kitti"
    shutil.copytree(data, root)
    rng = np.random.default_rng(5)
    for frame in find_frames(root, drives=None, cameras=["l"]):
        path = scan_path(root, frame)
        path.parent.mkdir(parents=True, exist_ok=True)
        points = rng.uniform((2, -20, -4, 0), (60, 20, 1, 1), (3000, 4))
        path.write_bytes(points.astype("<f4").tobytes())
    (tmp_path / "split.txt").write_text("".join(f"{frame}\n" for frame in FRAMES))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def predictions(scanned: Path, rng: np.random.Generator) -> Path:
    path = scanned / "disps.npy"
    np.save(path, rng.uniform(0.02, 0.5, (3, 20, 32)).astype(np.float32))
    return path


def make_run(folder: Path, **keys: Any) -> Path:
    """A run folder with a depth network of random weights."""
    torch.manual_seed(0)
    recipe = Recipe(name=folder.name.rpartition("-")[0], width=128, height=64, **keys)
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_bytes(dump_recipe(recipe))
    weights = depth_network(recipe).state_dict()
    torch.save({"format": FORMAT, "depth": weights}, folder / "checkpoint.pt")
    return folder


@pytest.fixture
def run(scanned: Path, narrow: None) -> Path:
    return make_run(scanned / "runs" / "mine-1")


def test_predictions_stand_under_the_published_rows(predictions: Path) -> None:
    result = call("--predictions", predictions, "--split", "split.txt", "--json", "m.json")
    content = json.loads(Path("m.json").read_text())
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["method", "backbone", "resolution", *METRICS]
    ours = next(line for line in lines if line.startswith("disps.npy"))
    assert ours.split()[1:3] == ["-", "32x20"]
    assert ours.split()[3:] == [f"{content['metrics'][name]:.3f}" for name in METRICS]
    assert lines.index(ours) > max(i for i, line in enumerate(lines) if "X-Distill" in line)
    for said in (
        "split:       split.txt, 3 images, 1 drive\n",
        "LiDAR, velodyne_x, from ",
        f"median {content['scale_ratio']['median']:.3f}",
        "no published row of 32x20",
        "697 images of kitti-eigen-test, ours of the 3 of split.txt: not comparable",
        "† uses semantic labels",
        "wrote m.json\nnext: xd-eval",
    ):
        assert said in result.stdout


def test_the_json_holds_every_number(predictions: Path) -> None:
    call("--predictions", predictions, "--split", "split.txt", "--json", "m.json")
    content = json.loads(Path("m.json").read_text())
    assert set(content["metrics"]) == set(METRICS)
    assert [row["frame"] for row in content["per_image"]] == [str(frame) for frame in FRAMES]
    for name in METRICS:
        values = [row[name] for row in content["per_image"]]
        assert content["metrics"][name] == pytest.approx(np.mean(values))
    assert content["published"][0]["method"] == "Monodepth2"
    assert content["published"][0]["abs_rel"] == 0.115
    assert content["split"]["name"] == "split.txt" and content["split"]["frames"] == 3
    assert content["protocol"]["name"] == "eigen" and content["protocol"]["max_depth"] == 80
    assert content["ground_truth"]["depth"] == "velodyne_x"
    assert set(content["scale_ratio"]) == {"median", "spread"}


def test_a_run_is_predicted_and_scored(run: Path) -> None:
    result = call("--run", run, "--split", "split.txt", "--device", "cpu", "--json", "m.json")
    content = json.loads(Path("m.json").read_text())
    ours = next(line for line in result.stdout.splitlines() if line.startswith("mine-1"))
    assert ours.split()[:3] == ["mine-1", "RN18", "128x64"]
    assert [row["method"] for row in content["published"]][-1] == "Monodepth2+X-Distill"
    assert "shown are those of RN18 at 640x192" in result.stdout
    assert "recipe: mine\n" in result.stdout
    assert "poses:  pose network (resnet18), depth up to scale" in result.stdout
    assert content["resolution"] == "128x64" and np.isfinite(content["metrics"]["rmse"])


def test_a_run_and_its_saved_disparities_score_alike(run: Path) -> None:
    from xdistill.train.evaluation.depth_model import load_depth_model
    from xdistill.train.evaluation.predictions import predict_frames

    model = load_depth_model(run, device="cpu")
    np.save("d.npy", np.stack(list(predict_frames(model, Path("kitti"), FRAMES))))
    call("--run", run, "--split", "split.txt", "--device", "cpu", "--json", "a.json")
    call("--predictions", "d.npy", "--split", "split.txt", "--json", "b.json")
    first, second = (json.loads(Path(name).read_text()) for name in ("a.json", "b.json"))
    assert first["per_image"] == second["per_image"]


def test_recorded_poses_are_said(scanned: Path, narrow: None) -> None:
    run = make_run(scanned / "runs" / "metric-1", pose="oxts")
    result = call("--run", run, "--split", "split.txt", "--device", "cpu", "--json", "m.json")
    assert "recorded poses (oxts)" in result.stdout
    assert "oxts" in json.loads(Path("m.json").read_text())["subject"]["poses"]


def test_bare_it_takes_the_newest_run_and_says_so(run: Path) -> None:
    older = make_run(run.with_name("older-1"))
    os.utime(older / "checkpoint.pt", (1, 1))
    Path("xdistill.toml").write_text('split = "split.txt"\ndevice = "cpu"\n')
    result = call()
    assert "assumed: --run runs/mine-1 (the newest checkpoint)" in result.stderr
    assert "--data kitti" in result.stderr and "--split split.txt" in result.stderr
    assert "\nmine-1" in result.stdout
    assert "next: add --json FILE to keep these numbers" in result.stdout


def test_without_a_run_it_says_to_train_first(scanned: Path) -> None:
    assert "run xd-train first" in call("--split", "split.txt", code=1).stderr


def test_a_folder_without_a_checkpoint_is_refused(scanned: Path) -> None:
    result = call("--run", "kitti", "--split", "split.txt", "--device", "cpu", code=1)
    assert "no checkpoint" in result.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_a_device_that_is_not_there_is_refused(run: Path) -> None:
    result = call("--run", run, "--split", "split.txt", "--device", "cuda", code=1)
    assert "no CUDA device" in result.stderr


def test_run_and_predictions_are_mutually_exclusive(predictions: Path) -> None:
    result = call("--run", "x", "--predictions", predictions, code=2)
    assert "--run and --predictions are mutually exclusive" in result.stderr


def test_the_published_split_needs_no_remark(
    predictions: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The list's own frames are not here, so the ground truth is made to look as if they were.
    from xdistill.train.evaluation import ground_truth, scores, truth_file

    monkeypatch.setenv("XDISTILL_SPLITS", str(shared / "splits"))
    monkeypatch.setattr(ground_truth, "_require_scans", lambda root, frames: None)
    nothing = np.zeros(0)
    empty = truth_file.SparseDepth(
        size=(1, 1),
        rows=nothing,
        columns=nothing,
        depth=nothing,
        scan=truth_file.ScanState(size=0, mtime_ns=0, crc32c=0),
    )
    monkeypatch.setattr(ground_truth, "_project_one", lambda root, frame, depth: empty)
    monkeypatch.setattr(Calibration, "velo_to_pixels", lambda self, camera: None)
    truth = np.full((4, 4), 7, np.float32)
    monkeypatch.setattr(scores, "read_depth", lambda path, frame: truth)
    np.save("d.npy", np.ones((697, 6, 20), np.float16))
    result = call("--predictions", "d.npy")
    assert "kitti-eigen-test, 697 images, 28 drives" in result.stdout
    assert "not comparable" not in result.stdout


@pytest.mark.parametrize("form", ["name", "path", "Windows"])
def test_the_benchmark_list_is_not_scored_against_lidar(
    predictions: Path, shared: Path, form: str
) -> None:
    # By its name even where the list is not at hand; by path whatever its order and line ends.
    published = shared / "splits" / "eigen_benchmark" / "test_files.txt"
    if form == "Windows":
        lines = reversed(published.read_text().splitlines())
        Path("mine.txt").write_text("\r\n".join(lines), newline="")
    split = {"name": "kitti-eigen-benchmark", "path": published, "Windows": "mine.txt"}[form]
    result = call("--predictions", predictions, "--split", split, "--json", "m.json", code=1)
    assert "improved ground truth" in result.stderr and "abs_rel" not in result.stdout
    assert not Path("m.json").exists()


def test_predictions_need_neither_images_nor_scans_once_there_is_ground_truth(
    predictions: Path,
) -> None:
    arguments = ("--predictions", predictions, "--split", "split.txt", "--ground-truth", "gt.h5")
    first = call(*arguments)
    shutil.rmtree("kitti")
    assert call(*arguments).stdout == first.stdout


@pytest.mark.parametrize("place", ["kitti", "none/m.json", "split.txt/m.json", "/proc/m.json"])
def test_a_place_for_the_json_that_cannot_be_is_refused_first(
    predictions: Path, place: str, private_cache: Path
) -> None:
    result = call("--predictions", predictions, "--split", "split.txt", "--json", place, code=1)
    assert f"--json {place} cannot be written" in result.stderr
    assert not list(private_cache.rglob("*.h5"))


def test_a_disk_that_is_full_at_the_end_costs_the_json_only(
    predictions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("--predictions", predictions, "--split", "split.txt")

    def full(path: Path, block: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "_store", full)
    result = call("--predictions", predictions, "--split", "split.txt", "--json", "m.json", code=1)
    assert "abs_rel" in result.stdout
    assert "--json m.json cannot be written (No space left on device)" in result.stderr


def test_the_json_is_written_before_anything_is_printed(
    predictions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pager that nobody scrolls would hold it back for hours.
    def text(report: Report) -> str:
        assert set(json.loads(Path("m.json").read_text())["metrics"]) == set(METRICS)
        return "the table"

    monkeypatch.setattr(Report, "text", text)
    result = call("--predictions", predictions, "--split", "split.txt", "--json", "m.json")
    assert "the table\n" in result.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_stdout_that_is_full_costs_the_table_only(
    predictions: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--predictions", str(predictions), "--split", "split.txt", "--json", "m.json"]
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(SystemExit) as left:
            main.main(words, prog_name="xd-eval")
    assert left.value.code == 1
    assert set(json.loads(Path("m.json").read_text())["metrics"]) == set(METRICS)
    assert "Error: stdout cannot be written" in capsys.readouterr().err


def test_a_cache_folder_that_cannot_be_written_is_reported(
    predictions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDISTILL_CACHE", str(predictions))
    result = call("--predictions", predictions, "--split", "split.txt", code=1)
    assert "the depth cannot be written" in result.stderr
    assert "XDISTILL_CACHE" in result.stderr and "--ground-truth" in result.stderr


@pytest.mark.parametrize("subject", ["predictions", "run"])
def test_unrectified_images_are_not_scored(
    predictions: Path, run: Path, subject: str, private_cache: Path
) -> None:
    path = Path("kitti") / DRIVE / "image_02/data/0000000001.png"
    cv2.imwrite(str(path), np.zeros((110, 144, 3), np.uint8))
    options = {"predictions": ["--predictions", predictions], "run": ["--run", run]}[subject]
    result = call(*options, "--split", "split.txt", code=1)
    assert "are 144x110 where the calibration is of rectified images of 128x80" in result.stderr
    assert not list(private_cache.rglob("*.h5"))


def test_resized_images_are_scored_and_told(predictions: Path) -> None:
    path = Path("kitti") / DRIVE / "image_02/data/0000000001.png"
    cv2.imwrite(str(path), np.zeros((40, 64, 3), np.uint8))
    result = call("--predictions", predictions, "--split", "split.txt")
    assert "64x40 where the calibration is of rectified images of 128x80" in result.stderr


def test_frames_without_images_are_named(run: Path) -> None:
    (scanned_image := Path("kitti") / DRIVE / "image_02/data/0000000005.png").unlink()
    result = call("--run", run, "--split", "split.txt", "--device", "cpu", code=1)
    assert f"1 of 3 frames have no image: {DRIVE} l: 5\n" in result.stderr
    assert not scanned_image.exists()


def test_frames_without_scans_are_named(predictions: Path) -> None:
    scan_path(Path("kitti"), FRAMES[0]).unlink()
    result = call("--predictions", predictions, "--split", "split.txt", code=1)
    assert f"1 of 3 frames have no velodyne scan: {DRIVE} l: 1\n" in result.stderr


def test_a_truncated_image_ends_with_its_name_and_no_json(run: Path) -> None:
    os.truncate(Path("kitti") / DRIVE / "image_02/data/0000000002.png", 300)
    result = call(
        *("--run", run, "--split", "split.txt", "--device", "cpu", "--json", "m.json"), code=1
    )
    assert "0000000002.png is truncated" in result.stderr and not Path("m.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--split", "none.txt"], "no split 'none.txt'"),
        (["--split", "split.txt", "--data", "none"], "raw folder does not exist"),
        (["--split", "split.txt", "--ground-truth", "disps.npy"], "is an array of NumPy"),
        (["--split", "split.txt", "--ground-truth", "kitti"], "it is a folder, not a file"),
        (["--split", "split.txt", "--ground-truth", "split.txt"], "is not an HDF5 file"),
        (["--split", "split.txt", "--ground-truth", "split.txt/gt.h5"], "cannot be written"),
        (["--split", "split.txt", "--ground-truth", "g" * 300], "File name too long"),
    ],
)
def test_other_mistakes_end_with_one_message(
    predictions: Path, arguments: list[str], said: str
) -> None:
    result = call("--predictions", predictions, *arguments, code=1)
    assert said in result.stderr and "what to do:" in result.stderr


def test_help_is_light_and_has_examples() -> None:
    code = (
        "import sys; from xdistill.train.cli.evaluate import main\n"
        "try: main(['--help'])\n"
        "finally: assert not {'torch', 'h5py', 'cv2', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert "Examples:\n    xd-eval --run" in done.stdout


def test_real_predictions_give_the_golden_means(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with np.load(shared / "reference" / "monodepth2" / "eigen_metrics_drive_0002.npz") as archive:
        golden = dict(archive)
    np.save("d.npy", golden["predicted_disp"])
    drive = "2011_09_26/2011_09_26_drive_0002_sync"
    Path("split.txt").write_text("".join(f"{drive} {index} l\n" for index in golden["frames"]))
    data = ("--data", shared / "kitti", "--split", "split.txt", "--json", "m.json")
    call("--predictions", "d.npy", *data)
    metrics = json.loads(Path("m.json").read_text())["metrics"]
    means = [metrics[name] for name in golden["columns"]]
    assert np.allclose(means, golden["mean"], rtol=1e-6, atol=0)
