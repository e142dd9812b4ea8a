"""The ablation's arithmetic and its controls; the ablation itself is ``make ablation``."""

import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parent / "benchmarks"
FRAME = "2000_01_01/2000_01_01_drive_{:04d}_sync {} l"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import one of the ablation's modules by its name."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        return __import__(name)

    return load


def test_interval_of_students_t_by_hand(module: Any) -> None:
    # Mean 3, deviation sqrt(2.5): 3 -+ 2.776 * sqrt(2.5 / 5).
    low, high = module("ablation_statistics").t_interval(np.arange(1.0, 6.0))
    assert (low + high) / 2 == pytest.approx(3)
    assert high - 3 == pytest.approx(2.776 * math.sqrt(0.5))


def test_verdict_needs_an_interval_without_zero(module: Any) -> None:
    paired = module("ablation_statistics").paired
    baseline = np.full((5, 4), 0.3)
    noise = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])[:, None]
    drives = ["a", "a", "b", "b"]
    assert paired(baseline, baseline + noise, drives=drives).verdict == "no effect shown"
    assert paired(baseline, baseline + noise - 0.05, drives=drives).verdict == "lower"
    assert paired(baseline, baseline + noise + 0.05, drives=drives).verdict == "higher"


def test_drives_are_drawn_whole(module: Any) -> None:
    bootstrap = module("ablation_statistics").drive_bootstrap
    change = np.array([[1.0, 1.0, 1.0, -1.0, -1.0, -1.0]])
    # One drive cannot vary; two drives that disagree give anything between them.
    assert bootstrap(change[:, :3], drives=["a"] * 3) == (1, 1)
    assert bootstrap(change, drives=["a"] * 3 + ["b"] * 3) == (-1, 1)


def test_frames_without_a_value_do_not_count(module: Any) -> None:
    found = module("ablation_statistics").paired(
        np.array([[1.0, np.nan], [1.0, np.nan]]),
        np.array([[2.0, np.nan], [2.0, np.nan]]),
        drives=["a", "b"],
    )
    assert found.mean == 1 and found.drives_interval[1] == 1


def test_streams_of_a_seed_are_three_and_its_own(module: Any) -> None:
    streams = module("ablation_run").streams
    first, second = streams(1), streams(2)
    assert len(set(first.values())) == 3 and not set(first.values()) & set(second.values())
    assert first == streams(1)


def test_spoilt_labels_are_mostly_right(module: Any, rng: np.random.Generator) -> None:
    labels = np.zeros((64, 192), np.uint8)
    labels[32:] = 7
    spoilt = module("ablation_labels").spoilt(labels, rng)
    share = (spoilt == labels).mean()
    assert 0.9 < share < 1 and set(np.unique(spoilt)) == {0, 7}
    assert (spoilt[31:33] != labels[31:33]).any()


def test_shuffled_labels_come_from_other_drives(module: Any) -> None:
    from xdistill.pipeline.kitti.frames import Frame

    frames = [Frame.parse(FRAME.format(drive, n)) for drive in (1, 2, 3) for n in (1, 2)]
    giver = module("ablation_labels").shuffled(frames, seed=4)
    assert all(giver[frame].drive != frame.drive for frame in frames)
    assert giver == module("ablation_labels").shuffled(frames, seed=4)


def test_the_teacher_errs_alike_each_time(module: Any, tmp_path: Path) -> None:
    from xdistill.grouping.scheme import load_scheme
    from xdistill.pipeline.kitti.frames import Frame

    frame = Frame.parse(FRAME.format(1, 1))
    path = tmp_path / "labels" / frame.sequence / "0000000001.png"
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), np.repeat(np.arange(16, dtype=np.uint8), 64).reshape(16, 64))
    labels = module("ablation_labels")
    first, again, other = (
        labels.SpoiltLabels(
            street=tmp_path, scheme=load_scheme("4"), seed=seed, giver=labels.own([frame])
        ).read(frame, (16, 64))
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_stopped_gradient_reaches_no_depth_network(module: Any) -> None:
    run = module("ablation_run")
    recipe = run.settings("street", "stopped", ["width=64", "height=64", "pose=oxts"])
    training = run.new_run(recipe, "stopped", run.streams(1))
    labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
    images = torch.randint(0, 256, (1, 3, 3, 64, 64), dtype=torch.uint8)
    batch = run.Batch(
        frames=("",), originals=images, inputs=images, intrinsics=torch.eye(3)[None] * 40,
        labels=labels, motions=torch.eye(4).expand(1, 2, 4, 4),
    )  # fmt: skip
    disparities = training.model.depth(torch.rand(1, 3, 64, 64))
    training.model.distillation(disparities, batch).backward()
    assert all(p.grad is None for p in training.model.depth.parameters())
    assert all(p.grad is not None for p in training.model.d2s.parameters())


def scores(value: float, digest: str) -> dict[str, Any]:
    return {
        "names": ["abs_rel"], "drives": ["a", "b"], "values": np.full((2, 1), value),
        "depth_digest": digest, "cpu_seconds": 1.0,
    }  # fmt: skip


def all_runs(module: Any, *, stopped: str) -> dict[Any, dict[str, Any]]:
    ablation = module("ablation")
    fixed = {"baseline": [0.3] * 3, "stopped": [0.3] * 3}
    values = {**fixed, "distilled": [0.291, 0.292, 0.293], "shuffled": [0.302, 0.298, 0.301]}
    return {
        run: scores(
            values[run.variant][run.seed - 1],
            stopped if run.variant == "stopped" else "1",
        )
        for run in ablation.test_runs([1, 2, 3], ())
    }


def test_tables_say_what_was_found(module: Any) -> None:
    text = module("ablation").ablation_text(all_runs(module, stopped="1"))
    distilled, shuffled, labels = [x for x in text.splitlines() if x.startswith("abs_rel")]
    assert "0.3000  -0.0080" in distilled and "lower than baseline" in distilled
    assert "+0.0003" in shuffled and "no effect shown" in shuffled
    assert "0.3003  -0.0083" in labels and "lower than shuffled" in labels
    assert "exactly the baseline, as it must be" in text


def test_a_leak_is_told(module: Any) -> None:
    text = module("ablation").ablation_text(all_runs(module, stopped="2"))
    assert "NOT THE BASELINE" in text


def test_scores_are_read_with_missing_values(module: Any, tmp_path: Path) -> None:
    ablation = module("ablation")
    run = ablation.Run(variant="baseline", seed=1, split="test")
    (tmp_path / run.name).mkdir()
    content = scores(0.0, "1") | {"values": [[0.1], [None]]}
    (tmp_path / run.name / "scores.json").write_text(json.dumps(content))
    found = ablation.read_scores(tmp_path, run)["values"]
    assert found[0, 0] == 0.1 and np.isnan(found[1, 0])
