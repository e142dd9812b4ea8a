"""The README's console blocks, run one after the other as a reader would."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from material import Material

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sessions() -> list[tuple[str, str]]:
    """Commands with the output printed under each."""
    lines = "".join(BLOCK.findall((ROOT / "README.md").read_text())).splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    ends = [*starts[1:], len(lines)]
    return [
        (lines[start].removeprefix("$ "), "\n".join(lines[start + 1 : end]))
        for start, end in zip(starts, ends, strict=True)
    ]


def matches(expected: str, found: str) -> bool:
    """Compare as doctest does: ``...`` stands for anything; blanks and figures are exact."""
    pattern = ".*".join(map(re.escape, expected.strip().split("...")))
    return re.fullmatch(pattern, found.strip(), re.DOTALL) is not None


def without_shares(text: str) -> str:
    """The shares of classes are those of the real labels."""
    return re.sub(r" *\d+\.\d+%.*", " ...", text)


@pytest.fixture
def folder(material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "kitti").symlink_to(material.kitti)
    (tmp_path / "kitti_labels").symlink_to(material.labels)
    scripts = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", scripts + os.pathsep + os.environ["PATH"])
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(900)  # A minute alone; many times that on a busy machine.
def test_the_commands_do_what_the_readme_shows(folder: Path, material: Material) -> None:
    assert len(sessions()) >= 6
    for command, printed in sessions():
        expected = printed if material.real else without_shares(printed)
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"$ {command}\n{done.stderr}"
        assert matches(expected, done.stdout), f"$ {command}\n{done.stdout}\nnot\n{expected}"
    made = {path.name for path in folder.iterdir()}
    assert {"kitti", "labels.zarr", "runs", "test_split.txt", "train_split.txt"} <= made
    if (ROOT / ".git").exists():
        command = ["git", "check-ignore", "--no-index", *made]
        ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert set(ignored.stdout.split()) == made


def test_files_the_readme_names_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target


def test_every_extra_has_its_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = re.findall(r"^\| `(\w+)` \| .+ \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert set(project["optional-dependencies"]) <= set(lines)
