"""The demo's pure parts: differences, curves, colours, the page's words."""

import json
import re
from dataclasses import asdict, replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from xdistill.pipeline.demo.page import page
from xdistill.pipeline.demo.pictures import aligned, spread
from xdistill.pipeline.demo.stages import DemoSettings, stages
from xdistill.pipeline.demo.step import DemoError
from xdistill.pipeline.demo.summary import difference, gain_over_trivial, loss_curves, yaw_curve
from xdistill.train.recipe.file import load_recipe

SETTINGS = DemoSettings(
    out=Path("demo"), recipe="street", drives=60, frames=10, size="192x64", seed=3, steps=800
)


SUMMARY_SETTINGS = {
    "recipe": "street", "drives": 3, "frames": 4, "size": "192x64", "steps": 2, "seed": 0,
    "teacher": "street", "changes": [],
}  # fmt: skip


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


@pytest.mark.parametrize(
    ("count", "wanted", "expected"), [(8, 4, [1, 3, 5, 7]), (3, 4, [0, 1, 2]), (100, 2, [25, 75])]
)
def test_examples_are_spread(count: int, wanted: int, expected: list[int]) -> None:
    assert spread(count, wanted) == expected


def test_aligned_predictions_have_the_true_median() -> None:
    truth = np.array([[0.0, 10.0], [20.0, 30.0]], np.float32)
    disparity = np.array([[1.0, 1.0], [0.5, 0.25]], np.float32)
    # Depths where there is truth: 1, 2, 4; the median 2 becomes 20.
    np.testing.assert_allclose(aligned(disparity, truth), [[10, 10], [20, 40]])


def test_both_trainings_are_typed_alike_but_for_recipe_and_folder() -> None:
    train = next(stage for stage in stages(SETTINGS) if stage.name == "train")
    baseline, distilled = (set(step.words) for step in train.steps)
    assert baseline - distilled == {"street-baseline", "demo/runs/baseline"}
    assert distilled - baseline == {"street", "demo/runs/distilled"}
    assert "seed=3" in baseline and "schedule_steps=800" in baseline


def test_only_programs_a_reader_can_type_are_run() -> None:
    lines = [step.text for stage in stages(SETTINGS) for step in stage.steps]
    programs = {line.split()[0] for line in lines}
    assert programs == {"xd-pipeline", "xd-train", "xd-eval", "python"}


def summary(failures: list[str]) -> dict[str, object]:
    names = ("abs_rel", "sq_rel", "rmse", "rmse_log", "d1", "d2", "d3")
    metrics = {
        run: dict.fromkeys(names, value)
        for run, value in zip(
            ("constant", "row-prior", "baseline", "distilled"), (0.5, 0.4, 0.3, 0.29), strict=True
        )
    }
    axis = {
        "unit": "degrees", "correlation": None, "error": 0.1, "trivial_error": 0.2,
        "spread_ratio": 0.0, "pairs": [[0.0, 0.1], [1.0, 0.1]],
    }  # fmt: skip
    poses = {"axes": {"yaw": axis, "pitch": axis, "speed": axis}, "failures": failures}
    curve = {"step": [1.0, 2.0], "loss": [1.0, 0.5], "loss_photometric": [1.0, 0.5]}
    curves = curve | {"loss_d2s": [1.0, 0.9]}
    return {
        "version": "0", "machine": {"cores": 2, "system": "Linux <x>"}, "test_frames": 8,
        "settings": SUMMARY_SETTINGS,
        "recipe": asdict(load_recipe("street")),
        "metrics": metrics,
        "difference": difference(metrics["baseline"], metrics["distilled"]),
        "gain_over_trivial": {"constant": 0.4, "row-prior": 0.25},
        "poses": {"baseline": poses, "distilled": poses},
        "curves": {"baseline": curves, "distilled": curves},
        "validation_yaw": {"baseline": [[1, 0.0], [2, 0.5]], "distilled": []},
        "commands": ["xd-train --set 'a<b'"], "seconds": {"train": 10.0},
    }  # fmt: skip


def test_a_motion_that_was_not_learned_stands_out() -> None:
    told = "FAILURE: the learned yaw is constant"
    assert f'<p class="failure">baseline: {told}</p>' in page(summary([told]), [])
    assert 'class="failure"' not in page(summary([]), [])


def test_a_motion_that_is_no_number_is_shown_as_none() -> None:
    told = summary([])
    axis = {
        "unit": "degrees", "correlation": None, "error": None, "trivial_error": None,
        "spread_ratio": None, "pairs": [[None, None], [None, None]],
    }  # fmt: skip
    poses = {"axes": {"yaw": axis, "pitch": axis, "speed": axis}, "failures": []}
    html = page({**told, "poses": {"baseline": poses, "distilled": poses}}, [])
    assert html.count("<td>none</td>") == 4 * 6


def test_words_from_outside_are_escaped() -> None:
    html = page(summary([]), [])
    assert "Linux &lt;x&gt;" in html and "a&lt;b" in html


def test_page_says_what_departs_from_the_papers_and_what_to_type_on_kitti() -> None:
    html = page(summary([]), [])
    typed = unescape(re.sub("<[^>]*>", "", html))
    for words in ("matching costs", "row prior", "Automask", "xd-train --data kitti --recipe"):
        assert words in typed


def departures(*changes: str, recipe: str = "street", teacher: str = "street") -> list[str]:
    """The page's list of what departs from the papers."""
    changed = summary([])
    changed["recipe"] = asdict(load_recipe(recipe, overrides=changes))
    changed["settings"] = {**SUMMARY_SETTINGS, "teacher": teacher}
    found = re.findall("<li>(.*?)</li>", page(changed, []), re.DOTALL)
    return [unescape(" ".join(item.split())) for item in found]


def test_page_says_what_was_used() -> None:
    found = departures(
        "batch_size=7", "lr=3e-4", "schedule_steps=99", teacher="png:demo/street/labels"
    )
    assert found == [
        "Networks: a residual encoder with a quarter of ResNet-18's channels and half of "
        "Monodepth2's decoder, from random weights; the papers use ResNet-50 from ImageNet.",
        "Size and length: 192x64 pixels, batches of 7, 99 steps; the papers use 640x192, batches "
        "of 12 and 20 epochs of 39,810 frames. Learning rate 0.0003 instead of 0.0001.",
        "Initial depth: disparity starts from a fixed row prior, a flat road below the camera, "
        "instead of a uniform value.",
        "Depth range: 1-100 instead of 0.1-100.",
        "Poses: a small network on matching costs between the two frames, instead of a ResNet on "
        "the stacked frames, which needs ImageNet weights to learn motions that vary.",
        "Automask: not before 50 % of the steps. Until then, the loss is the mean over both source "
        "frames instead of the minimum.",
        "Teacher: label maps read from files (png:demo/street/labels), instead of HRNet-48 + OCR "
        "+ InverseForm.",
        "Intrinsics: read from the calibration, instead of one matrix for every drive.",
    ]


def test_what_is_as_in_the_papers_is_no_departure() -> None:
    size, teacher = departures(recipe="xdistill-rn50", teacher="ocrnet-hr48")
    assert size.startswith("Size and length: 640x192 pixels") and "Learning rate" not in size
    assert teacher == "Teacher: ocrnet-hr48, instead of HRNet-48 + OCR + InverseForm."


def test_recorded_poses_another_encoder_and_the_street_teacher_are_named() -> None:
    found = departures("pose=oxts", "encoder=resnet18")
    assert "Poses: recorded instead of learned." in found
    assert found[0].startswith("Networks: resnet18 from random weights;")
    assert any(line.startswith("Teacher: a narrow OCRNet trained on other") for line in found)


def test_a_jump_is_explained_where_there_is_one() -> None:
    def explained(start: float) -> bool:
        changed = summary([])
        changed["recipe"] = asdict(load_recipe("street", overrides=[f"automask_start={start}"]))
        return "loss drops at the step where the automask starts" in page(changed, [])

    assert [explained(start) for start in (0, 0.5, 1)] == [False, True, False]


def test_the_teacher_is_named_where_it_labels() -> None:
    segment = stages(replace(SETTINGS, teacher="png:x"))[1]
    assert segment.title == "Label every frame, once, with teacher png:x"
    assert "teacher street," in page(summary([]), [])
