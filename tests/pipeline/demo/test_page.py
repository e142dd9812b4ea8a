"""The page says what was measured and used, and escapes it."""

import re
from dataclasses import asdict
from html import unescape

import pytest

from xdistill.pipeline.demo.page import page
from xdistill.pipeline.demo.summary import difference
from xdistill.train.recipe.file import load_recipe

SUMMARY_SETTINGS = {
    "recipe": "street", "drives": 3, "frames": 4, "size": "192x64", "steps": 2, "seed": 0,
    "teacher": "street", "changes": [],
}  # fmt: skip


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


@pytest.mark.slow
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


def test_words_from_outside_are_shown_and_escaped() -> None:
    html = page(summary([]), [])
    assert "teacher street," in html
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


@pytest.mark.slow
def test_a_jump_is_explained_where_there_is_one() -> None:
    def explained(start: float) -> bool:
        changed = summary([])
        changed["recipe"] = asdict(load_recipe("street", overrides=[f"automask_start={start}"]))
        return "loss drops at the step where the automask starts" in page(changed, [])

    assert [explained(start) for start in (0, 0.5, 1)] == [False, True, False]
