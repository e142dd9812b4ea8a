"""The bare commands on a KITTI with both cameras, training and test drives: they fit together.

The published lists are replaced by short ones, in their form and under their names.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from training_tree import WIDTH, labels_of, texture, write_calibration

from xdistill.manifests import loader
from xdistill.pipeline.cli import segment as cli
from xdistill.pipeline.cli.regroup import regroup
from xdistill.pipeline.cli.segment import segment
from xdistill.pipeline.kitti.frames import CAMERAS, Camera, Frame
from xdistill.pipeline.kitti.velodyne import scan_path
from xdistill.pipeline.store import LabelStore
from xdistill.train.cli.evaluate import main as evaluate
from xdistill.train.cli.train import main as train

TRAINING = ["2011_09_26/2011_09_26_drive_0001_sync", "2011_09_28/2011_09_28_drive_0001_sync"]
TEST = "2011_09_26/2011_09_26_drive_0002_sync"
LENGTH = 5
TRAINING_FRAMES = [
    Frame(drive, index, camera) for drive in TRAINING for index in (1, 3) for camera in CAMERAS
]
TEST_FRAMES = [Frame(TEST, 2, "l")]
DEFAULTS = """
teacher = "png:labels"
[train]
recipe = "small.toml"
"""
RECIPE = """
base = "xdistill-rn18"
name = "small"
width = 64
height = 64
batch_size = 2
epochs = 1
encoder_weights = "none"
num_workers = 0
"""
Bare = Callable[[click.Command], Result]


def write_frame(folder: Path, frame: Frame, wide: Any) -> None:
    image = wide[:, 4 * frame.index : 4 * frame.index + WIDTH]
    for path, content in (
        (folder / "kitti" / frame.sequence / "data" / f"{frame.index:010d}.png", image),
        (folder / "labels" / f"{frame.key}.png", labels_of(frame.index)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), content)


def publish(folder: Path, frames: list[Frame], manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a short list, which is put where a published one lies."""
    text = "".join(f"{frame}\n" for frame in frames).encode()
    path = folder / "splits" / manifest["file"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    return manifest | {"sha256": hashlib.sha256(text).hexdigest()}


@pytest.fixture
def bare(tmp_path: Path, narrow: None, monkeypatch: pytest.MonkeyPatch) -> Bare:
    """Runs a command without options in a folder with kitti/, xdistill.toml and the lists."""
    wide = texture(np.random.default_rng(4))
    cameras: list[Camera] = ["l", "r"]
    for drive in (*TRAINING, TEST):
        for index in range(LENGTH):
            for camera in cameras:
                write_frame(tmp_path, Frame(drive, index, camera), wide)
    for date in ("2011_09_26", "2011_09_28"):
        write_calibration(tmp_path / "kitti" / date)
    scan = scan_path(tmp_path / "kitti", TEST_FRAMES[0])
    scan.parent.mkdir(parents=True)
    points = np.random.default_rng(5).uniform((2, -20, -4, 0), (60, 20, 1, 1), (3000, 4))
    scan.write_bytes(points.astype("<f4").tobytes())
    own = {
        "kitti-eigen-zhou-train": publish(
            tmp_path, TRAINING_FRAMES, loader.load("splits", "kitti-eigen-zhou-train")
        )
        | {"drive_numbers": {"2011_09_26": ["0001"], "2011_09_28": ["0001"]}},
        "kitti-eigen-test": publish(
            tmp_path, TEST_FRAMES, loader.load("splits", "kitti-eigen-test")
        ),
    }
    shipped = loader.load
    monkeypatch.setattr(loader, "load", lambda kind, name: own.get(name) or shipped(kind, name))
    monkeypatch.setattr(cli, "MANY_FRAMES", 10)
    monkeypatch.setenv("XDISTILL_SPLITS", str(tmp_path / "splits"))
    monkeypatch.chdir(tmp_path)
    Path("xdistill.toml").write_text(DEFAULTS)
    Path("small.toml").write_text(RECIPE)

    def run(command: click.Command) -> Result:
        return CliRunner().invoke(command, [], catch_exceptions=False)

    return run


def labelled() -> set[Frame]:
    store = LabelStore.open(Path("labels.zarr"))
    return {
        Frame.of_sequence(sequence, index)
        for sequence in store.sequences()
        for index in store.array(sequence, "classes").committed()
    }


@pytest.mark.slow
def test_segment_regroup_train_and_eval_without_options(bare: Bare) -> None:
    result = bare(segment)
    assert result.exit_code == 0, result.output
    assert "assumed: --split kitti-eigen-zhou-train" in result.stderr
    assert labelled() == set(TRAINING_FRAMES)
    for command in (regroup, train, evaluate):
        result = bare(command)
        assert result.exit_code == 0, result.output

    assert "kitti-eigen-test, 1 image" in result.stdout


def test_a_missing_camera_is_said_before_the_teacher_works(bare: Bare) -> None:
    for drive in TRAINING:
        for path in (Path("kitti") / drive / "image_03" / "data").iterdir():
            path.unlink()
    result = bare(segment)
    assert result.exit_code == 1
    assert f"4 of 8 frames have no image: {TRAINING[0]} r: 1, 3" in result.stderr
    assert not Path("labels.zarr").exists()


def test_with_some_of_the_drives_everything_is_labelled_and_a_note_says_so(bare: Bare) -> None:
    Path("kitti", TRAINING[1]).rename("elsewhere")
    result = bare(segment)
    assert result.exit_code == 0, result.output
    assert "of the 2 drives of kitti-eigen-zhou-train" in result.stderr
    assert labelled() == {Frame(drive, i, "l") for drive in (TRAINING[0], TEST) for i in range(5)}


def test_a_plan_knows_the_time_from_the_frames_that_were_labelled(bare: Bare) -> None:
    teacher = ["--teacher", "bright_teacher:with_settings"]

    def plan() -> str:
        return CliRunner().invoke(segment, ["--plan", *teacher]).stdout

    assert "time       known from the first frames on" in plan()
    assert CliRunner().invoke(segment, ["--drive", TEST, *teacher]).exit_code == 0
    assert "time       about 1 min at " in plan()
