"""The whole demo on a street of fifteen frames, and again on what it left."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import cv2
import numpy as np
import pytest

from xdistill.pipeline.demo.demo import NUMBERS, REPORT, run_demo
from xdistill.pipeline.demo.pictures import exact_depth
from xdistill.pipeline.demo.stages import RUNS, TRIVIAL, DemoSettings, stages
from xdistill.pipeline.demo.trivial import row_depths
from xdistill.pipeline.kitti.splits import read_split

DRIVES, FRAMES, SEED = 3, 5, 1


class Page(HTMLParser):
    """Tags that are open, pictures, and addresses that a browser would fetch."""

    VOID = ("meta", "link", "img", "line", "rect", "circle", "polyline", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag == "img":
            self.pictures.append(values["src"] or "")
        for name in ("src", "href", "xlink:href"):
            if not (values.get(name) or "data:").startswith(("data:", "#")):
                self.fetched.append(str(values[name]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> DemoSettings:
    out = tmp_path_factory.mktemp("demo")
    return DemoSettings(
        out=out, recipe="street", drives=DRIVES, frames=FRAMES, size="192x64", seed=SEED,
        steps=2, teacher=f"png:{out}/street/labels", changes=("batch_size=2",),
    )  # fmt: skip


@pytest.fixture(scope="module")
def summary(settings: DemoSettings) -> dict[str, Any]:
    return run_demo(settings)


def test_numbers_of_the_report_are_those_of_the_run(
    settings: DemoSettings, summary: dict[str, Any]
) -> None:
    assert json.loads((settings.out / NUMBERS).read_text()) == summary
    for name in (*TRIVIAL, *RUNS):
        scores = json.loads(settings.scores(name).read_text())
        assert summary["metrics"][name] == scores["metrics"]
    change = summary["metrics"]["distilled"]["abs_rel"] - summary["metrics"]["baseline"]["abs_rel"]
    assert summary["difference"]["abs_rel"]["absolute"] == change
    assert summary["settings"]["teacher"] == settings.teacher
    assert summary["recipe"]["batch_size"] == 2 and summary["recipe"]["d2s_weight"] == 0.005
    html = (settings.out / REPORT).read_text()
    assert "batches of 2, 2 steps" in html and f"read from files ({settings.teacher})" in html
    for name in RUNS:
        assert f"{summary['metrics'][name]['abs_rel']:.3f}" in html
    assert summary["curves"]["baseline"]["step"] == [1, 2]
    assert [step for step, _ in summary["validation_yaw"]["baseline"]] == [1, 2]
    assert len(summary["poses"]["distilled"]["axes"]["yaw"]["pairs"]) == FRAMES - 2


def test_page_is_whole_and_needs_nothing_else(
    settings: DemoSettings, summary: dict[str, Any]
) -> None:
    page = Page()
    page.feed((settings.out / REPORT).read_text())
    assert page.open == [] and page.fetched == []
    assert len(page.pictures) == 6 * (FRAMES - 2)
    assert all(source.startswith("data:image/png;base64,") for source in page.pictures)
    assert re.findall(r"url\((?!#)", (settings.out / REPORT).read_text()) == []


def test_both_trainings_start_alike(settings: DemoSettings, summary: dict[str, Any]) -> None:
    first = [
        json.loads((settings.run(name) / "metrics.jsonl").read_text().splitlines()[0])
        for name in RUNS
    ]
    assert first[0]["loss_photometric"] == first[1]["loss_photometric"]
    assert first[1]["loss_d2s"] > 0 == first[0]["loss_d2s"]


def test_called_again_it_does_nothing_twice(
    settings: DemoSettings, summary: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (settings.run("baseline") / "checkpoint.pt").stat().st_mtime_ns
    assert run_demo(settings) == summary
    shown = capsys.readouterr().err
    assert len(re.findall("already done", shown)) == len(stages(settings))
    assert (settings.run("baseline") / "checkpoint.pt").stat().st_mtime_ns == before


def test_row_prior_is_the_median_of_the_lidar(settings: DemoSettings) -> None:
    frames = read_split(settings.split("train"))
    found = row_depths(settings.street, frames, size=(64, 192))
    truth = np.stack([exact_depth(settings.street, frame) for frame in frames])
    # On the road, one depth for a row is nearly the truth.
    lowest = np.median(truth[:, 60])
    assert found[60] == pytest.approx(lowest, rel=0.15)
    assert (found > 0).all() and found[62] < found[50] < found[40]


def test_true_depth_is_read_in_metres(settings: DemoSettings) -> None:
    frame = read_split(settings.split("test"))[0]
    path = settings.street / "depth" / frame.sequence / f"{frame.index:010d}.png"
    steps = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(exact_depth(settings.street, frame), steps / 256)
