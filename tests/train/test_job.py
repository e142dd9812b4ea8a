import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import RECIPE, Start, finish
from training_tree import DRIVE

from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.store import LabelStoreError
from xdistill.train.data.dataset import TripletDataset
from xdistill.train.data.labels import MissingLabelsError
from xdistill.train.data.triplets import Selection
from xdistill.train.job import Job, describe, prepare, recorded, start
from xdistill.train.recipe.recipe import Recipe
from xdistill.train.run import RunError
from xdistill.train.training import TrainingError


def test_a_baseline_needs_no_store(ready: Start, tmp_path: Path) -> None:
    baseline = replace(RECIPE, distillation="none")
    found = finish(ready("run", recipe=baseline, store=tmp_path / "absent", steps=2))
    assert [line["loss_d2s"] for line in found] == [line["weight_d2s"] for line in found] == [0, 0]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["store_fingerprint"] is None


def test_recorded_poses_are_said(ready: Start, tmp_path: Path) -> None:
    started = ready("run", recipe=replace(RECIPE, pose="oxts"), steps=2)
    assert any("recorded poses (oxts)" in note for note in describe(started.job))
    assert len(finish(started)) == 2
    assert "recorded poses" in json.loads((tmp_path / "run" / "run.json").read_text())["poses"]
    assert "pose" not in torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)


def test_frames_left_out_are_counted(ready: Start) -> None:
    found = describe(ready("run").job)
    assert any("8 triplets (2 without both neighbours left out)" in line for line in found)


def test_nothing_is_written_where_something_is_missing(
    ready: Start, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(LabelStoreError):
        ready("run", store=tmp_path / "absent")
    few = make_store([1, 2])
    with pytest.raises(MissingLabelsError) as caught:
        ready("run", store=few)
    assert f"--store {few}" in str(caught.value)
    with pytest.raises(TrainingError, match="8 frames do not fill a batch of 9"):
        ready("run", recipe=replace(RECIPE, batch_size=9))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("keys", "lost", "expected"),
    [
        ({"intrinsics": "calibration"}, "calib_cam_to_cam.txt", "no key P_rect_02"),
        ({"pose": "oxts"}, "calib_cam_to_cam.txt", "no key P_rect_02"),
        ({"pose": "oxts"}, "0000000009.txt", "no oxts record of frame 9"),
        ({"pose": "oxts"}, "0000000000.txt", "no oxts record of frame 0"),
    ],
)
def test_nothing_is_written_where_calibration_or_poses_are_incomplete(
    ready: Start, data: Path, tmp_path: Path, keys: dict[str, Any], lost: str, expected: str
) -> None:
    root = tmp_path / "kitti"
    shutil.copytree(data, root)
    path = next(root.rglob(lost))
    kept = [line for line in path.read_text().splitlines() if line.startswith(("R_", "S_"))]
    path.write_text("\n".join(kept)) if kept else path.unlink()
    with pytest.raises(XDistillError, match=expected):
        ready("run", data=root, recipe=replace(RECIPE, **keys))
    assert not (tmp_path / "run").exists()
    ready("run", data=root)


def test_a_folder_that_is_not_empty_needs_resume(ready: Start) -> None:
    finish(ready("run", steps=1))
    with pytest.raises(RunError, match="--resume"):
        ready("run")


def test_another_store_is_refused_on_resume(ready: Start, make_store: Callable[..., Path]) -> None:
    finish(ready("run", steps=1))
    with pytest.raises(RunError, match="store_fingerprint is 1111"):
        ready("run", resumed=True, store=make_store(fingerprint="1" * 64))


def test_other_frames_are_refused_on_resume(ready: Start, split: Path) -> None:
    finish(ready("run", steps=1))
    ready("run", resumed=True, selection=Selection(split=str(split)))
    split.write_text("".join(split.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(RunError, match="frames_sha256"):
        ready("run", resumed=True, selection=Selection(split=str(split)))


def test_a_run_remembers_what_it_was_asked(ready: Start, data: Path, tmp_path: Path) -> None:
    drives = Selection(split=None, drives=("0001",))
    finish(ready("run", steps=1, selection=drives))
    asked = recorded(tmp_path / "run", recipe=None, overrides=["num_workers=1"])
    assert asked["selection"] == drives and asked["data"] == data
    assert asked["recipe"] == replace(RECIPE, num_workers=1)
    assert start(prepare(**asked, steps=2)).step == 1
    with pytest.raises(RunError, match="differs from the run's: name 'xdistill-rn18'"):
        recorded(tmp_path / "run", recipe="xdistill-rn18", overrides=[])


@pytest.mark.parametrize(("values", "length"), [({}, 21), ({"schedule_steps": 50}, 50)])
def test_the_schedules_run_over_the_epochs_or_what_is_set(
    values: dict[str, int], length: int
) -> None:
    recipe = Recipe(name="test", batch_size=2, epochs=3, **values)  # type: ignore[arg-type]
    frames = [Frame(DRIVE, index, "l") for index in range(1, 16)]
    job = Job(run=Path(), dataset=TripletDataset(Path(), frames, recipe=recipe, labels=None))
    assert (job.steps_per_epoch, job.schedule_length, job.stop) == (7, length, length)
    assert replace(job, steps=4).stop == 4
