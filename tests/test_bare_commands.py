"""README's bare commands, with the files printed there, end with the table."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from material import Material

pytestmark = pytest.mark.slow

README = (Path(__file__).parents[1] / "README.md").read_text()
RECIPE, DEFAULTS = re.findall(r"^```toml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SPLITS = re.findall(r"^\$ (for .* > \w+_split\.txt)$", README, re.MULTILINE)
(CHAIN,) = re.findall(r"^(xd-pipeline .* && xd-eval)$", README, re.MULTILINE)


def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    scripts = str(Path(sys.executable).parent)
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"PATH": scripts + os.pathsep + os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(material: Material, tmp_path: Path) -> Path:
    (tmp_path / "kitti").symlink_to(material.kitti)
    (tmp_path / "kitti_labels").symlink_to(material.labels)
    (tmp_path / "small.toml").write_text(RECIPE)
    (tmp_path / "xdistill.toml").write_text(DEFAULTS)
    for command in SPLITS:
        assert run(tmp_path, command).returncode == 0
    return tmp_path


def test_the_printed_chain_with_the_printed_files(folder: Path) -> None:
    assert len((folder / "train_split.txt").read_text().splitlines()) == 7
    assert len((folder / "test_split.txt").read_text().splitlines()) == 11
    segment, regroup, train, evaluate = (run(folder, part) for part in CHAIN.split(" && "))
    for result in (segment, regroup, train, evaluate):
        assert result.returncode == 0, result.stderr
        assert "assumed:" in result.stderr
    assert "labelled 82 frames" in segment.stdout
    assert "wrote groups_4 for 82 frames to labels.zarr" in regroup.stdout
    assert "--recipe small.toml (xdistill.toml)" in train.stderr
    assert "7 triplets" in train.stderr
    assert (folder / "runs" / "small-1" / "checkpoint.pt").is_file()
    assert "Monodepth2" in evaluate.stdout and "abs_rel" in evaluate.stdout
    assert "split:  test_split.txt, 11 images" in evaluate.stdout


def test_without_anything_the_first_message_says_what_is_missing(tmp_path: Path) -> None:
    result = run(tmp_path, "xd-pipeline segment")
    assert result.returncode == 1
    assert "kitti" in result.stderr and "what to do" in result.stderr
    assert "Traceback" not in result.stderr
