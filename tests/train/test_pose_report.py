from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from training_tree import DRIVE

from xdistill.pipeline.kitti.frames import Frame
from xdistill.train.checkpoint import save_checkpoint
from xdistill.train.pose_report import (
    PoseReportError,
    compare,
    components,
    failures,
    learned_motions,
    main,
    report,
    text,
)
from xdistill.train.recipe import Recipe
from xdistill.train.run import start_run
from xdistill.train.training import new_training

RECIPE = Recipe(
    name="test", encoder="narrow", encoder_weights="none", pose_network="cost_volume",
    width=64, height=64, num_workers=0,
)  # fmt: skip
CPU = torch.device("cpu")


def motion(*, yaw: float = 0.0, pitch: float = 0.0, ahead: float = 1.0) -> np.ndarray:
    """Turns in degrees, then a translation of the points towards the camera, in metres."""
    y, p = np.radians([yaw, pitch])
    turn_yaw = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    turn_pitch = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    result = np.eye(4)
    result[:3, :3] = turn_yaw @ turn_pitch
    result[2, 3] = -ahead
    return result


def test_components_of_known_motions() -> None:
    found = components(np.stack([motion(yaw=2), motion(pitch=-3), motion(ahead=1.5)]))
    np.testing.assert_allclose(found, [[2, 0, 1], [0, -3, 1], [0, 0, 1.5]], atol=1e-12)


def test_a_perfect_motion_up_to_scale_has_no_error() -> None:
    truth = [motion(yaw=y, pitch=-y / 2, ahead=1 + y / 10) for y in (-2.0, 0.5, 1.0, 3.0)]
    learned = [m.copy() for m in truth]
    for m in learned:
        m[:3, 3] *= 0.05
    axes = compare(np.stack(learned), np.stack(truth))
    for axis in axes.values():
        assert axis.correlation == pytest.approx(1)
        assert axis.as_json()["error"] == pytest.approx(0, abs=1e-9)
        assert axis.spread_ratio == pytest.approx(1)
    assert axes["yaw"].as_json()["trivial_error"] == pytest.approx(6.5 / 4)
    # Speeds 0.8, 1.05, 1.1, 1.3 m a frame with median 1.075.
    expected = np.abs(np.array([0.8, 1.05, 1.1, 1.3]) - 1.075).mean()
    assert axes["speed"].as_json()["trivial_error"] == pytest.approx(expected)
    assert failures(axes) == []


def test_a_constant_motion_is_called_a_failure() -> None:
    truth = np.stack([motion(yaw=y, pitch=y, ahead=1 + y / 10) for y in (-2.0, 0.5, 1.0, 3.0)])
    axes = compare(np.stack([motion()] * 4), truth)
    assert axes["yaw"].correlation is None
    told = failures(axes)
    assert len(told) == 3 and all(line.startswith("FAILURE: the learned") for line in told)


def test_a_tenth_of_the_spread_is_the_limit() -> None:
    truth = np.stack([motion(yaw=y) for y in (-3.0, 1.0, 2.0)])
    weak = np.stack([motion(yaw=0.09 * y) for y in (-3.0, 1.0, 2.0)])
    enough = np.stack([motion(yaw=0.11 * y) for y in (-3.0, 1.0, 2.0)])
    assert any("yaw" in line for line in failures(compare(weak, truth)))
    assert not any("yaw" in line for line in failures(compare(enough, truth)))


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(PoseReportError, match="2 frames"):
        compare(np.stack([motion()] * 2), np.stack([motion()] * 2))


def test_recorded_poses_are_no_learned_ones(data: Path) -> None:
    training = new_training(replace(RECIPE, pose="oxts"), device=CPU)
    with pytest.raises(PoseReportError, match="no pose network"):
        learned_motions(training, data, [Frame(DRIVE, 1, "l")])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    training = new_training(RECIPE, device=CPU)
    start_run(tmp_path / "run", RECIPE, {})
    save_checkpoint(tmp_path / "run", training)
    return tmp_path / "run"


@pytest.fixture
def split(tmp_path: Path) -> Path:
    path = tmp_path / "split.txt"
    path.write_text("".join(f"{DRIVE} {index} l\n" for index in range(1, 9)))
    return path


def test_report_of_a_run(run: Path, split: Path, data: Path) -> None:
    content = report(run, data, str(split))
    assert content["frames"] == 8
    assert len(content["axes"]["yaw"]["pairs"]) == 8
    # The drive goes straight east at one metre a frame.
    assert content["axes"]["speed"]["pairs"][0][0] == pytest.approx(1, abs=1e-3)
    shown = text(content)
    assert "cost volume" in shown and "speed, m a frame" in shown


def test_command_writes_what_it_shows(run: Path, split: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "poses.json"
    arguments = ["--run", run, "--data", data, "--split", split, "--json", out]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert "correlation" in result.output and out.is_file()
