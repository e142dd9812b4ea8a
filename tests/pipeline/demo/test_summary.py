"""Differences, gains and curves of the report."""

import json
from pathlib import Path

import pytest

from xdistill.pipeline.demo.step import DemoError
from xdistill.pipeline.demo.summary import difference, gain_over_trivial, loss_curves, yaw_curve


def test_difference_knows_which_way_is_better() -> None:
    found = difference({"abs_rel": 0.2, "d1": 0.8}, {"abs_rel": 0.19, "d1": 0.76})
    assert found["abs_rel"]["absolute"] == pytest.approx(-0.01)
    assert found["abs_rel"]["percent"] == pytest.approx(-5)
    assert found["abs_rel"]["better"] and not found["d1"]["better"]
    assert not difference({"d1": 0.8}, {"d1": 0.8})["d1"]["better"]


def test_gain_over_trivial_is_the_baselines_by_hand() -> None:
    values = {"constant": 0.5, "row-prior": 0.4, "baseline": 0.3, "distilled": 0.2}
    found = gain_over_trivial({name: {"abs_rel": value} for name, value in values.items()})
    assert found == {"constant": pytest.approx(0.4), "row-prior": pytest.approx(0.25)}


def test_curves_are_means_of_equal_spans(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    lines = [
        {"step": s, "loss": float(s), "loss_photometric": 2.0 * s, "loss_d2s": 0.0}
        for s in range(1, 6)
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = loss_curves(log, points=3)
    assert found["step"] == [2, 4, 5]
    assert found["loss"] == [1.5, 3.5, 5] and found["loss_photometric"] == [3, 7, 10]


def test_a_missing_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="metrics.jsonl"):
        loss_curves(tmp_path / "metrics.jsonl")


def test_the_yaw_of_every_validation_is_read(tmp_path: Path) -> None:
    log = tmp_path / "validation.jsonl"
    values = [(84, None), (168, 0.25), (200, -0.5)]
    log.write_text("".join(json.dumps({"step": s, "yaw_correlation": y}) + "\n" for s, y in values))
    assert yaw_curve(log) == [[84, 0.0], [168, 0.25], [200, -0.5]]
    log.write_text('{"step": 84, "loss_photometric": 0.1}\n')
    assert yaw_curve(log) == []
