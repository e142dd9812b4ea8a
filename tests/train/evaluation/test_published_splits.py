"""Published splits are known by their frames; those of the improved ground truth are refused."""

from pathlib import Path

import pytest

from xdistill.manifests import loader
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.kitti.splits import read_split
from xdistill.train.evaluation import published_splits
from xdistill.train.evaluation.protocols import EvaluationError
from xdistill.train.evaluation.published_splits import published_name, require_lidar

DRIVE = "2011_09_26/2011_09_26_drive_0001_sync"


def test_no_list_of_ones_own_is_a_published_one() -> None:
    assert published_name([Frame(DRIVE, 1, "l"), Frame(DRIVE, 2, "r")]) is None


def test_every_published_list_is_known_in_any_order(shared: Path) -> None:
    for name in loader.names("splits"):
        frames = read_split(shared / "splits" / loader.load("splits", name)["file"])
        assert published_name(frames) == published_name(reversed(frames)) == name
        assert published_name(frames[1:]) is None


def test_only_the_split_of_the_improved_ground_truth_is_refused() -> None:
    refused = []
    for name in (None, "split.txt", *loader.names("splits")):
        try:
            require_lidar(name)
        except EvaluationError as error:
            refused.append(name)
            assert "improved ground truth" in str(error)
            assert "data_depth_annotated.zip" in str(error)
            assert "what to do: score kitti-eigen-test" in str(error)
    assert refused == ["kitti-eigen-benchmark"]


def test_the_frames_tell_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [Frame(DRIVE, 5, "l"), Frame(DRIVE, 3, "l")]
    digest = published_splits.frames_sha256(sorted(frames))
    manifest = {"frames_sha256": digest, "depth": "annotated"}
    monkeypatch.setattr(published_splits.loader, "load", lambda kind, name: manifest)
    with pytest.raises(EvaluationError):
        require_lidar(published_name(frames))
