"""The ablation's trainings: their streams and settings, their controls on a tiny street, groups."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent / "benchmarks"
SMALL = ["width=64", "height=64", "pose=oxts"]
STEPS = ["pose=oxts", "automask_start=0", "schedule_steps=2", "batch_size=2"]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import one of the ablation's modules by its name."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        return __import__(name)

    return load


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four drives, of which two are trained on, so that labels can come from another one."""
    pytest.importorskip("numba", reason="needs the extra 'street'")
    from xdistill.manifests.progress import unshown
    from xdistill.pipeline.street.record import folder, recording

    out = tmp_path_factory.mktemp("ablation") / "street"
    made = folder.StreetSettings(drives=4, frames=4, size=(64, 192), seed=1)
    for number in folder.prepare(out, made):
        recording.write_drive(out, made, number, advance=unshown)
    train, val = (out / "splits" / f"{name}.txt" for name in ("train", "val"))
    train.write_text(train.read_text() + val.read_text())
    return out


def test_each_stream_decides_its_own(module: Any) -> None:
    run = module("ablation_run")

    def started(variant: str, seeds: dict[str, int]) -> Any:
        return run.new_run(run.settings("street", variant, SMALL), variant, seeds)

    first, second = run.streams(1), run.streams(2)
    baseline = started("baseline", first)
    assert baseline.recipe.seed == first["order"] != first["initialisation"]
    weights = run.depth_digest(baseline)
    for variant in ("distilled", "shuffled", "stopped"):
        paired = started(variant, first)
        assert run.depth_digest(paired) == weights and paired.recipe.seed == first["order"]
    assert run.depth_digest(started("baseline", second)) != weights
    reordered = first | {"order": second["order"]}
    assert run.depth_digest(started("baseline", reordered)) == weights


def test_only_the_baseline_is_not_distilled(module: Any) -> None:
    settings = module("ablation_run").settings
    found = {v: settings("street", v, []).distillation for v in module("ablation_run").VARIANTS}
    assert found.pop("baseline") == "none" and set(found.values()) == {"d2s"}


def test_digests_tell_weights_with_equal_sums_apart(module: Any) -> None:
    run = module("ablation_run")
    training = run.new_run(run.settings("street", "baseline", SMALL), "baseline", run.streams(1))
    before = run.depth_digest(training)
    weights = next(iter(training.model.depth.state_dict().values()))
    weights.copy_(weights.flip(0))
    assert run.depth_digest(training) != before


def test_runs_of_the_four_variants(module: Any, street: Path, tmp_path: Path) -> None:
    run = module("ablation_run")
    found = {
        variant: run.run(
            tmp_path / variant, street=street, recipe="street", variant=variant, seed=1,
            split="test", changes=STEPS,
        )
        for variant in run.VARIANTS
    }  # fmt: skip
    digests = {variant: content["depth_digest"] for variant, content in found.items()}
    assert digests["stopped"] == digests["baseline"]
    assert len(set(digests.values())) == 3
    assert found["stopped"]["values"] == found["baseline"]["values"]
    assert found["distilled"]["values"] != found["baseline"]["values"]
    assert json.loads((tmp_path / "shuffled" / "scores.json").read_text()) == found["shuffled"]


def test_the_shuffled_control_has_labels_of_other_drives(
    module: Any, street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = module("ablation_run")
    givers = {}

    def look(training: Any, job: Any) -> None:
        givers[training.model.__class__.__name__, job.run.name] = job.dataset.labels.giver
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "train", look)
    for variant in ("distilled", "shuffled", "stopped"):
        with pytest.raises(KeyboardInterrupt):
            run.run(
                tmp_path / variant, street=street, recipe="street", variant=variant, seed=1,
                split="test", changes=STEPS,
            )  # fmt: skip
    for (_, variant), giver in givers.items():
        others = [giver[frame].drive != frame.drive for frame in giver]
        assert all(others) if variant == "shuffled" else not any(others)
    assert ("StoppedModel", "stopped") in givers and len(givers) == 3


def test_abs_rel_of_each_group_by_hand(module: Any, tmp_path: Path) -> None:
    from xdistill.pipeline.kitti.frames import Frame

    frame = Frame.parse("2000_01_01/2000_01_01_drive_0001_sync 1 l")
    labels, truth = np.zeros((64, 192), np.uint8), np.full((64, 192), 10 * 256, np.uint16)
    disparity = np.empty((64, 192), np.float32)
    # A pole 30 % off, a car 20 %, and ground that is right: no pixel of the background.
    for columns, train_id, depth in (
        (slice(0, 60), 5, 13.0), (slice(60, 120), 13, 8.0), (slice(120, 192), 0, 10.0),
    ):  # fmt: skip
        labels[:, columns], disparity[:, columns] = train_id, 2 / depth
    for kind, content in (("labels", labels), ("depth", truth)):
        path = tmp_path / kind / frame.sequence / "0000000001.png"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), content)
    thin, people, background, ground = module("ablation_run").by_group(
        tmp_path, frame, disparity, 2.0
    )
    assert thin == pytest.approx(0.3) and people == pytest.approx(0.2)
    assert background is None and ground == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "words",
    [
        ["--processes", "0"],
        ["--seeds", "1"],
        ["--seeds", *map(str, range(22))],
        ["--seeds", "1", "1", "2"],
    ],
)
def test_what_would_fail_after_the_trainings_is_refused(
    module: Any, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        module("ablation").parse_options(words)
    assert f"error: {words[0]}" in capsys.readouterr().err
    assert len(module("ablation").parse_options(["--seeds", *map(str, range(21))]).seeds) == 21


def test_kept_runs_of_other_settings_are_refused(module: Any, street: Path, tmp_path: Path) -> None:
    ablation, run = module("ablation"), module("ablation_run")
    planned = ablation.Run(variant="baseline", seed=1, split="test", changes=tuple(STEPS))
    folder = tmp_path / planned.name
    run.run(
        folder, street=street, recipe="street", variant="baseline", seed=1, split="test",
        changes=STEPS,
    )  # fmt: skip
    ablation.refuse_others([planned], tmp_path)
    path = folder / "scores.json"
    content = json.loads(path.read_text())
    content["settings"]["recipe"]["lr"] *= 2
    path.write_text(json.dumps(content))
    with pytest.raises(SystemExit, match="has other settings"):
        ablation.refuse_others([planned], tmp_path)


def test_the_street_is_asked_for_even_where_all_its_folders_are(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ablation = module("ablation")
    called = []
    monkeypatch.setattr(ablation.subprocess, "run", lambda words, **_: called.append(words))
    for number in range(ablation.DRIVES):
        (tmp_path / "street" / "2000_01_01" / f"2000_01_01_drive_{number:04d}_sync").mkdir(
            parents=True
        )
    ablation.make_street(tmp_path)
    assert [words[3] for words in called] == ["street"]


@pytest.mark.parametrize("validate", [[], ["--validate"]])
def test_changes_of_the_command_line_win(module: Any, validate: list[str]) -> None:
    ablation, run = module("ablation"), module("ablation_run")
    options = ablation.parse_options(["--set", "schedule_steps=7", *validate])
    for planned in ablation.planned_runs(options):
        found = run.settings("street", planned.variant, list(planned.changes))
        assert found.schedule_steps == 7 and found.pose == "oxts"


def test_after_a_failure_runs_under_way_are_kept_and_no_other_is_started(
    module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ablation = module("ablation")
    started = []
    programs = {1: "raise SystemExit(1)", 2: "import time; time.sleep(2); open('kept', 'w')"}

    def start(run: Any, out: Path) -> "subprocess.Popen[bytes]":
        started.append(run.seed)
        return subprocess.Popen([sys.executable, "-c", programs[run.seed]], cwd=out)

    monkeypatch.setattr(ablation, "start", start)
    runs = [ablation.Run(variant="baseline", seed=seed, split="test") for seed in (1, 2, 3)]
    with pytest.raises(SystemExit, match="baseline-1 failed: see .*baseline-1.log"):
        ablation.finish(runs, tmp_path, processes=2)
    assert started == [1, 2] and (tmp_path / "kept").exists()
