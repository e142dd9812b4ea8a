"""How learned motions agree with recorded ones: by hand, at the limits, and in words."""

import json

import numpy as np
import pytest

from xdistill.train.pose_agreement import PoseReportError, compare, components, failures


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
    reported = failures(axes)
    assert len(reported) == 3 and all(line.startswith("FAILURE: the learned") for line in reported)


def test_a_tenth_of_the_spread_is_the_limit() -> None:
    truth = np.stack([motion(yaw=y) for y in (-3.0, 1.0, 2.0)])
    weak = np.stack([motion(yaw=0.09 * y) for y in (-3.0, 1.0, 2.0)])
    enough = np.stack([motion(yaw=0.11 * y) for y in (-3.0, 1.0, 2.0)])
    assert any("yaw" in line for line in failures(compare(weak, truth)))
    assert not any("yaw" in line for line in failures(compare(enough, truth)))


YAWS = (-3.0, 1.0, 2.0, 0.5)


def turning(*yaws: float) -> np.ndarray:
    return np.stack([motion(yaw=y, pitch=-y / 9, ahead=1 + y / 10) for y in yaws])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("bad", [1, 4])
def test_motions_that_are_no_numbers_are_a_failure(value: float, bad: int) -> None:
    learned = turning(*YAWS)
    learned[:bad, 0, 2] = value
    axes = compare(learned, turning(*YAWS))
    reported = failures(axes)
    assert len(reported) == 3
    assert all(f"is not finite in {bad} of 4 frames" in line for line in reported)
    content = json.loads(json.dumps({n: a.as_json() for n, a in axes.items()}, allow_nan=False))
    for axis in content.values():
        assert axis["correlation"] is axis["error"] is axis["spread_ratio"] is None
        assert axis["pairs"][0] == [None, None]
    assert (content["yaw"]["pairs"][3] == [None, None]) == (bad == 4)


def test_a_yaw_that_runs_against_the_recorded_one_is_a_failure() -> None:
    (reported,) = failures({"yaw": compare(turning(*(-y for y in YAWS)), turning(*YAWS))["yaw"]})
    assert reported == (
        "FAILURE: the learned yaw runs against the recorded one: their correlation is -1.00."
    )


def test_a_yaw_of_noise_is_a_failure(rng: np.random.Generator) -> None:
    truth, noise = rng.normal(size=(2, 200))
    axes = compare(turning(*noise), turning(*truth))
    assert abs(axes["yaw"].correlation or 1) < 0.2
    reported = [line for line in failures(axes) if "yaw" in line]
    assert len(reported) == 1 and "the recorded one: their correlation is" in reported[0]


def test_the_correlation_of_yaw_has_a_limit() -> None:
    def reported(share: float) -> list[str]:
        # Two patterns without correlation: the share of one is the correlation.
        truth, other = np.array([1.0, 1, -1, -1]), np.array([1.0, -1, 1, -1])
        yaws = share * truth + np.sqrt(1 - share**2) * other
        axis = compare(turning(*yaws), turning(*truth))["yaw"]
        assert axis.correlation == pytest.approx(share, abs=1e-9)
        return failures({"yaw": axis})

    assert "does not follow" in reported(0.29)[0]
    assert reported(0.31) == []


def test_a_recorded_axis_that_does_not_vary_has_no_spread_to_compare() -> None:
    axes = compare(turning(*YAWS), np.stack([motion(yaw=0.3)] * 4))
    assert all(axis.as_json()["spread_ratio"] is None for axis in axes.values())
    assert failures(axes) == []


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(PoseReportError, match="2 frames are too few"):
        compare(np.stack([motion()] * 2), np.stack([motion()] * 2))
