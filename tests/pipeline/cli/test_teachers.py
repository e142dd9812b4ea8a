"""``xd-pipeline teachers``: list, fetch and check."""

import copy
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from kitti_tree import DRIVE_A, Tree, add_frame
from material import Material

from xdistill.manifests import loader
from xdistill.pipeline.cli.teachers import teachers
from xdistill.teachers.choice import catalogue, check
from xdistill.teachers.protocol import Teacher, TeacherError

DRIVE = "2011_09_26/2011_09_26_drive_0013_sync/image_02/data"


def test_list_names_every_teacher_and_where_its_weights_belong(private_cache: Path) -> None:
    answer = CliRunner().invoke(teachers, [])
    assert answer.exit_code == 0, answer.output
    for name in loader.names("teachers"):
        known = catalogue.entry(name)
        assert f"{name}\n" in answer.stdout and known.licence in answer.stdout
        assert known.address in answer.stdout
    assert "network input config (2048 wide, in windows of 1024)\n" in answer.stdout
    assert "network input config (2048 wide), times 0.25, 0.5, 1, 2\n" in answer.stdout
    assert "network input 2048x640\n" in answer.stdout
    assert str(private_cache / "weights") in answer.stdout and "not fetched yet" in answer.stdout
    assert answer.stdout == CliRunner().invoke(teachers, ["list"]).stdout


def test_fetch(private_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = catalogue.entry("pidnet-s")
    source = tmp_path / known.file
    torch.save({"state_dict": {"weight": torch.zeros(2)}}, source)
    content = loader.load("teachers", "pidnet-s")
    content["weights"]["address"] = source.as_uri()
    monkeypatch.setattr(loader, "load", lambda kind, name: copy.deepcopy(content))
    answer = CliRunner().invoke(teachers, ["fetch", "pidnet-s"])
    assert answer.exit_code == 0, answer.output
    assert "next: xd-pipeline segment --teacher pidnet-s" in answer.stdout
    assert (private_cache / "weights" / known.file).read_bytes() == source.read_bytes()
    size = source.stat().st_size / 1000
    assert re.search(rf"100%.*{size:.2f}k/{size:.2f}k .*B/s", answer.stderr), answer.stderr
    again = CliRunner().invoke(teachers, ["fetch", "pidnet-s"])
    assert again.exit_code == 0 and "B/s" not in again.stderr


def test_check_takes_the_files_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    defaults = tmp_path / "xdistill.toml"
    defaults.write_text('[teachers]\nengine = "exact"\nframes = 3\n[check]\nframes = 7\n')
    answer = CliRunner().invoke(teachers, ["check", "pidnet-s"])
    assert answer.exit_code == 2 and "the exact engine would be compared" in answer.stderr
    assert "--frames 7 (xdistill.toml)" in answer.stderr
    assert "--engine exact (xdistill.toml)" in answer.stderr
    assert CliRunner().invoke(teachers, ["list"]).exit_code == 0
    for table in ("teachers", "check"):
        defaults.write_text(f"[{table}]\nbatch_size = 3\n")
        answer = CliRunner().invoke(teachers, ["check", "pidnet-s"])
        assert answer.exit_code == 1
        assert f"in [{table}], the key 'batch_size' is unknown" in answer.stderr


def test_help_lists_the_engines() -> None:
    answer = CliRunner().invoke(teachers, ["check", "--help"])
    assert "exact|fused|bf16|fp16|compile|onnx" in "".join(answer.stdout.split())
    answer = CliRunner().invoke(teachers, ["check", "pidnet-s", "--engine", "warp"])
    assert answer.exit_code == 2 and "'warp' is not one of" in answer.stderr


def test_fetch_of_an_unknown_teacher() -> None:
    answer = CliRunner().invoke(teachers, ["fetch", "ocrnet-hr49"])
    assert answer.exit_code == 1 and "ocrnet-hr48" in answer.stderr


@pytest.mark.parametrize(
    ("asked", "compared"), [(2, [0, 4]), (5, [0, 1, 3, 4, 6]), (20, [*range(8)])]
)
def test_check_takes_each_frame_once_from_all_over_the_data(
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    asked: int,
    compared: list[int],
) -> None:
    tree = Tree(data=tmp_path / "kitti", labels=tmp_path / "labels")
    for index in range(8):
        add_frame(tree, DRIVE_A, index, rng=rng)
    seen: list[int] = []

    def compare(chosen: Teacher, exact: Teacher, frames: Any, **_: Any) -> check.Agreement:
        seen.extend(int(key[-10:]) for key, _ in frames)
        raise TeacherError("seen enough")

    monkeypatch.setattr(check, "compare", compare)
    arguments = ["check", "bright_teacher:with_settings", "--data", str(tree.data)]
    options = ["--engine", "fused", "--frames", str(asked), "--device", "cpu"]
    assert "seen enough" in CliRunner().invoke(teachers, [*arguments, *options]).stderr
    assert seen == compared


@pytest.mark.slow
def test_check_compares_an_engine_with_the_exact_one(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mmseg")
    engines: list[str] = []

    def compare(chosen: Teacher, exact: Teacher, *frames: Any, **options: Any) -> check.Agreement:
        engines.extend(teacher.record["engine"] for teacher in (chosen, exact))
        return real(chosen, exact, *frames, **options)

    real = check.compare
    monkeypatch.setattr(check, "compare", compare)
    from random_networks import FCN, random_state, save

    checkpoint = save(tmp_path / "fcn.pth", random_state(FCN))
    frames = tmp_path / "kitti" / DRIVE
    frames.mkdir(parents=True)
    for index in (0, 5, 9):
        name = f"{index:010d}.jpg"
        shutil.copy(material.kitti / DRIVE / name, frames / name)
    arguments = ["check", f"mmseg:{FCN},{checkpoint}", "--data", str(tmp_path / "kitti")]
    options = ["--frames", "2", "--engine", "fused", "--input-size", "160", "--device", "cpu"]
    answer = CliRunner().invoke(teachers, [*arguments, *options])
    assert answer.exit_code == 0, answer.output
    assert "labels of fused equal to exact, 2 frames" in answer.stdout
    share = re.search(r"all pixels +(\d+\.\d+)%", answer.stdout)
    assert share and float(share[1]) > 99.9
    assert re.search(r"\d\.\d\d times the speed", answer.stdout)
    assert engines == ["fused", "exact"]


@pytest.mark.parametrize("engine", [[], ["--engine", "exact"]])
def test_check_of_the_exact_engine_is_refused(engine: list[str]) -> None:
    answer = CliRunner().invoke(teachers, ["check", "pidnet-s", *engine])
    assert answer.exit_code == 2
    assert "give --engine fused, bf16, fp16, compile or onnx" in " ".join(answer.stderr.split())


def test_check_has_no_second_way_to_name_the_teacher() -> None:
    answer = CliRunner().invoke(teachers, ["check", "pidnet-s", "--teacher", "fcn-hr18s"])
    assert answer.exit_code == 2 and "No such option" in answer.stderr
