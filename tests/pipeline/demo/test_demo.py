"""What the demo refuses before its first stage, and the whole demo on fifteen frames."""

import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from xdistill.manifests.errors import XDistillError
from xdistill.manifests.stopping import Stopped
from xdistill.pipeline.cli.demo import demo as command
from xdistill.pipeline.demo import demo
from xdistill.pipeline.demo.demo import NUMBERS, REPORT, check, paired_recipes, run_demo
from xdistill.pipeline.demo.pictures import exact_depth
from xdistill.pipeline.demo.stages import RUNS, TRIVIAL, DemoSettings, stages
from xdistill.pipeline.demo.step import DemoError
from xdistill.pipeline.demo.trivial import row_depths
from xdistill.pipeline.kitti.splits import read_split

pytestmark = pytest.mark.slow

SETTINGS = DemoSettings(
    out=Path("demo"), recipe="street", drives=60, frames=10, size="192x64", seed=3, steps=800
)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ("", 600),
        ("--recipe street-long", 2400),
        ("--steps 5", 5),
        ("--recipe street-long --steps 5", 5),
    ],
)
def test_a_recipe_says_its_steps_unless_others_are_given(
    options: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def stopped(settings: DemoSettings) -> None:
        seen.append(settings.steps)
        raise Stopped(signal.SIGINT)

    monkeypatch.setattr(demo, "run_demo", stopped)
    result = CliRunner().invoke(command, options.split())
    assert seen == [steps] and result.exit_code == 130
    assert result.stderr.endswith(
        "stopped by Ctrl-C: finished stages and checkpoints are kept in demo\n"
        f"next: {' '.join(['demo', *options.split()])}\n"
    )


def test_a_recipe_of_epochs_needs_steps() -> None:
    result = CliRunner().invoke(command, ["--recipe", "xdistill-rn18"])
    assert result.exit_code == 1
    assert "give another recipe, or the optimiser steps with --steps" in result.stderr


def test_only_recipes_with_a_baseline_are_for_the_demo() -> None:
    assert paired_recipes() == ["street", "street-long"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "strete"}, "no recipe named 'strete'"),
        (
            {"recipe": "xdistill-rn18"},
            "no 'xdistill-rn18-baseline' beside it(?s:.*)a baseline: street, street-long\n",
        ),
        ({"changes": ("batchsize=2",)}, "the recipe key 'batchsize' is unknown"),
        ({"seed": 2**32}, "seed is 4294967296, "),
        ({"teacher": "sreet"}, "'sreet' names no teacher(?s:.*)manifests: .*street"),
        ({"teacher": "png:"}, "'png:' names no teacher"),
        ({"teacher": "mmseg:config.py"}, "'mmseg:config.py' names no teacher"),
    ],
)
def test_nonsense_is_refused_before_anything_is_made(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, out=tmp_path / "demo", **change)
    with pytest.raises(XDistillError, match=message):
        demo.run_demo(settings)
    assert not settings.out.exists()


def stopped(*arguments: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["notes.txt", "scores/mine.json", "street/2011_09_26/x.png"])
def test_a_folder_of_something_else_is_refused_and_stays(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "run_stages", stopped)
    settings = replace(SETTINGS, out=tmp_path / "mine")
    (settings.out / name).parent.mkdir(parents=True)
    (settings.out / name).write_text("mine")
    with pytest.raises(DemoError, match="mine holds something other than a demo"):
        run_demo(settings)
    assert [p for p in settings.out.rglob("*") if p.is_file()] == [settings.out / name]
    with pytest.raises(DemoError, match="holds something other than a demo"):
        run_demo(replace(settings, out=settings.out / name))


def test_a_demo_that_was_begun_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "run_stages", stopped)
    for name, mark in (("new", None), ("hidden", ".DS_Store"), ("earlier", "done")):
        settings = replace(SETTINGS, out=tmp_path / name)
        if mark is not None:
            (settings.out / mark).mkdir(parents=True)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                run_demo(settings)
        (settings.out / "notes.txt").write_text("mine")
        with pytest.raises(KeyboardInterrupt):
            run_demo(settings)


@pytest.mark.parametrize(
    "teacher", ["street", "street,own.pth", "png:x", "mmseg:a.py,b.pth", "hf:a/b", "a.b:c"]
)
def test_every_form_of_teacher_is_let_through(teacher: str) -> None:
    check(replace(SETTINGS, teacher=teacher, seed=2**32 - 1))


def test_a_missing_package_is_refused_before_the_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> object:
        return None if name in ("jinja2", "matplotlib") else object()

    monkeypatch.setattr(demo, "find_spec", without)
    with pytest.raises(
        DemoError, match=r"^the demo cannot import jinja2, matplotlib(?s:.*)\[street\]"
    ):
        check(SETTINGS)


def test_charts_are_loaded_only_for_the_page() -> None:
    code = "import sys, xdistill.pipeline.demo.demo; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


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
