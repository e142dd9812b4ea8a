"""Drives on disk: determinism, resuming, and what the disk refuses."""

import errno
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from xdistill.grouping.classes import IGNORE_INDEX
from xdistill.manifests.progress import unshown
from xdistill.pipeline.cli.street import street as command
from xdistill.pipeline.street.record import raw, recording
from xdistill.pipeline.street.record.drive import make_drive
from xdistill.pipeline.street.record.folder import (
    PARTIAL,
    StreetError,
    StreetSettings,
    prepare,
)
from xdistill.pipeline.street.record.recording import write_drive

SMALL = StreetSettings(drives=3, frames=3, size=(16, 48), seed=9)
ARGUMENTS = ["--drives", "3", "--frames", "3", "--size", "48x16", "--seed", "9"]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every byte of a street that was made in one go."""
    out = tmp_path_factory.mktemp("whole") / "street"
    result = CliRunner().invoke(command, ["--out", str(out), *ARGUMENTS])
    assert result.exit_code == 0, result.output
    assert f"wrote 3 drives of 3 frames to {out}" in result.output
    assert "next: xd-pipeline segment" in result.output
    return contents(out)


@pytest.fixture
def drawn_once(whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """The worlds of the three drives are drawn for all tests together; frames are rendered anew."""
    monkeypatch.setattr(recording, "make_drive", known_drive)


known_drive = cache(make_drive)


def test_labels_are_train_ids(street: Path) -> None:
    for path in (street / "labels").rglob("*.png"):
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert labels is not None and labels.dtype == np.uint8 and labels.ndim == 2
        assert set(np.unique(labels)) <= {*range(19), IGNORE_INDEX}


@pytest.mark.slow
def test_same_seed_same_bytes(whole: dict[str, bytes], tmp_path: Path) -> None:
    for number in reversed(prepare(tmp_path / "again", SMALL)):
        write_drive(tmp_path / "again", SMALL, number, advance=unshown)
    assert contents(tmp_path / "again") == whole


def test_another_seed_gives_another_street(whole: dict[str, bytes], tmp_path: Path) -> None:
    other = StreetSettings(drives=3, frames=3, size=(16, 48), seed=10)
    prepare(tmp_path, other)
    write_drive(tmp_path, other, 1, advance=unshown)
    name = f"{raw.drive_name(1)}/image_02/data/0000000000.png"
    assert (tmp_path / name).read_bytes() != whole[name]


class Killed(BaseException):
    """Ends a run where it stands."""


@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize("moment", [1, 4, 8])
def test_a_killed_run_resumes(
    moment: int, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, left = tmp_path / "street", [moment]
    write_frame = recording._write_frame

    def dying(*arguments: object) -> None:
        left[0] -= 1
        write_frame(*arguments)  # type: ignore[arg-type]
        if left[0] == 0:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(recording, "_write_frame", dying)
        with pytest.raises(Killed):
            for number in prepare(out, SMALL):
                write_drive(out, SMALL, number, advance=unshown)
    assert len(list(out.glob("*/*_sync"))) == (moment - 1) // 3
    result = CliRunner().invoke(command, ["--out", str(out), *ARGUMENTS])
    assert result.exit_code == 0, result.output
    assert ("resuming" in result.output) == (moment > 3)
    assert contents(out) == whole


@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize("moves", [0, 1, 2])
def test_a_kill_while_a_drive_takes_its_name(
    moves: int, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels and depth are moved before the drive: where it is, they are too."""
    out, left, replace = tmp_path / "street", [moves], os.replace

    def dying(source: Path, target: Path) -> None:
        if source.is_dir():
            left[0] -= 1
            if left[0] < 0:
                raise Killed
        replace(source, target)

    missing = prepare(out, SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(recording.os, "replace", dying)
        with pytest.raises(Killed):
            write_drive(out, SMALL, 1, advance=unshown)
    assert prepare(out, SMALL) == missing
    for number in missing:
        write_drive(out, SMALL, number, advance=unshown)
    assert contents(out) == whole


@pytest.mark.usefixtures("drawn_once")
def test_what_an_older_run_left_of_a_drive_is_replaced(
    whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "street"
    for number in prepare(out, SMALL):
        write_drive(out, SMALL, number, advance=unshown)
    shutil.rmtree(out / raw.drive_name(2))
    (out / "labels" / raw.drive_name(2) / "image_02" / "0000000000.png").write_bytes(b"old")
    assert prepare(out, SMALL) == [2]
    write_drive(out, SMALL, 2, advance=unshown)
    assert contents(out) == whole


@pytest.mark.slow
@pytest.mark.usefixtures("drawn_once")
def test_a_second_run_in_one_folder_is_refused(whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "street"
    missing = prepare(out, SMALL)
    program = "from xdistill.pipeline.cli.street import street; street()"
    command_line = [sys.executable, "-c", program, "--out", str(out), *ARGUMENTS]
    partial = out / PARTIAL / "begun"
    partial.mkdir(parents=True)
    second = subprocess.run(command_line, capture_output=True, text=True)
    assert second.returncode == 1 and "Traceback" not in second.stderr
    assert "another process is making a street" in second.stderr and str(out) in second.stderr
    assert partial.is_dir()
    for number in missing:
        write_drive(out, SMALL, number, advance=unshown)
    assert contents(out) == whole


@pytest.mark.usefixtures("drawn_once")
def test_a_drive_that_lost_a_frame_does_not_take_its_name(tmp_path: Path) -> None:
    prepare(tmp_path, SMALL)

    def lose(frames: int) -> None:
        (tmp_path / ".partial/depth" / raw.drive_name(1) / "image_02/0000000000.png").unlink(
            missing_ok=True
        )

    with pytest.raises(
        StreetError, match=r"a finished drive has 2 files in depth/.*\n  expected: 3"
    ):
        write_drive(tmp_path, SMALL, 1, advance=lose)
    assert prepare(tmp_path, SMALL) == [1, 2, 3]


@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize(
    ("code", "reason"),
    [(errno.ENOSPC, "No space left on device"), (errno.EROFS, "Read-only file system")],
)
@pytest.mark.parametrize("writer", ["write_bytes", "mkdir"])
def test_what_the_disk_refuses_is_reported_and_finished_drives_stay(
    code: int, reason: str, writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "street"
    prepare(out, SMALL)
    write_drive(out, SMALL, 1, advance=unshown)
    before = contents(out)

    def refusing(path: Path, *arguments: object, **options: object) -> None:
        if path != out:
            raise OSError(code, reason, str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, writer, refusing)
        with pytest.raises(StreetError, match=f"cannot be written .{reason}") as caught:
            write_drive(out, SMALL, 2, advance=unshown)
        assert "what to do: make room" in str(caught.value) and str(out) in str(caught.value)
        result = CliRunner().invoke(command, ["--out", str(out), *ARGUMENTS])
    assert result.exit_code == 1 and "cannot be written" in result.output
    assert contents(out).items() >= before.items()
    assert prepare(out, SMALL) == [2, 3]
