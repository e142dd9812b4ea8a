"""The validation after each epoch: what it needs, and what it says of the learned poses."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import RECIPE, STEPS_PER_EPOCH, Start, finish, lines
from training_tree import DRIVE, FRAMES

from xdistill.manifests.errors import XDistillError
from xdistill.train.data.triplets import Selection
from xdistill.train.evaluation.pose_report import report
from xdistill.train.job import describe
from xdistill.train.pose_agreement import AXES


def test_the_validations_recordings_are_checked_too(
    ready: Start, data: Path, tmp_path: Path
) -> None:
    root = tmp_path / "kitti"
    shutil.copytree(data, root)
    (root / DRIVE / "oxts" / "data" / "0000000009.txt").unlink()
    for name, index in (("train", 2), ("validation", 8)):
        frames = [f"{DRIVE} {i} l\n" for i in range(index - 1, index + 1)]
        (tmp_path / f"{name}.txt").write_text("".join(frames))
    values = {
        "data": root,
        "recipe": replace(RECIPE, pose="oxts"),
        "selection": Selection(split=str(tmp_path / "train.txt")),
    }
    with pytest.raises(XDistillError, match="no oxts record of frame 9"):
        ready("run", **values, validation_split=str(tmp_path / "validation.txt"))
    assert not (tmp_path / "run").exists()


def winding(data: Path, folder: Path) -> Path:
    """The drive's tree with recorded poses that turn, nod and hurry."""
    shutil.copytree(data, folder)
    metre = np.degrees(1 / 6378137.0)
    east = np.cumsum([1.0, 1.4, 0.8, 1.1, 1.9, 1.2, 0.7, 1.6, 1.0, 1.3])
    for index in range(FRAMES):
        angles = [0.0, 0.01 * (index * 7 % 5), 0.02 * (index * 3 % 7)]
        fields = [0.0, east[index] * metre, 0.0, *angles, *[0.0] * 24]
        path = folder / DRIVE / "oxts" / "data" / f"{index:010d}.txt"
        path.write_text(" ".join(map(str, fields)))
    return folder


@pytest.mark.slow
def test_the_validation_logs_how_learned_poses_agree(
    ready: Start, data: Path, tmp_path: Path
) -> None:
    root, split = winding(data, tmp_path / "kitti"), tmp_path / "val.txt"
    split.write_text("".join(f"{DRIVE} {index} l\n" for index in range(1, 8)))
    finish(ready("run", data=root, steps=3, validation_split=str(split)))
    logged = lines(tmp_path / "run", "validation.jsonl")[-1]
    # The report reads the same weights from the checkpoint and runs the pose network by itself.
    told = report(tmp_path / "run", root, str(split))["axes"]
    for axis in AXES:
        correlation = told[axis]["correlation"]
        assert logged[f"{axis}_correlation"] == pytest.approx(correlation, abs=1e-3)
        assert abs(correlation) > 0.01


@pytest.mark.slow
def test_a_constant_pose_is_told_loudly_at_every_validation(
    ready: Start, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, split = winding(data, tmp_path / "kitti"), tmp_path / "val.txt"
    split.write_text("".join(f"{DRIVE} {index} l\n" for index in range(1, 8)))
    started = ready("run", data=root, steps=5, validation_split=str(split))
    pose = started.training.model.pose
    assert pose is not None
    constant = torch.tensor([0.01, 0.0, 0.0, 0.0, 0.0, -0.1])
    pose.forward = lambda *frames: constant.expand(len(frames[0]), 2, 6)  # type: ignore[method-assign]
    finish(started)
    told = capsys.readouterr().err
    for step in (STEPS_PER_EPOCH, 5):
        failure = f"validation, step {step}/5  FAILURE: the learned yaw is constant"
        assert failure in told
    assert [line["yaw_correlation"] for line in lines(tmp_path / "run", "validation.jsonl")] == [
        None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "lost", "reason"),
    [(1, "0000000004.txt", "no oxts record of frame 4"), (6, "", "2 validation frames")],
)
def test_poses_without_records_are_not_compared(
    ready: Start, data: Path, tmp_path: Path, first: int, lost: str, reason: str
) -> None:
    root, split = tmp_path / "kitti", tmp_path / "val.txt"
    shutil.copytree(data, root)
    if lost:
        next(root.rglob(lost)).unlink()
    split.write_text("".join(f"{DRIVE} {index} l\n" for index in range(first, 8)))
    started = ready("run", data=root, steps=1, validation_split=str(split))
    assert any("poses are not compared" in n and reason in n for n in describe(started.job))
    finish(started)
    assert "yaw_correlation" not in lines(tmp_path / "run", "validation.jsonl")[0]
