"""A street's folder: settings, splits, versions, and one process at a time."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from faulty_disk import Crash, FaultyDisk

from xdistill.pipeline.kitti.missing import require_frames
from xdistill.pipeline.kitti.splits import read_split
from xdistill.pipeline.street.record.folder import (
    WORLD_VERSION,
    StreetError,
    StreetSettings,
    parse_size,
    prepare,
    split_drives,
)

SMALL = StreetSettings(drives=3, frames=3, size=(16, 48), seed=9)


def test_splits_share_no_drive(street: Path) -> None:
    splits = {name: read_split(street / "splits" / f"{name}.txt") for name in split_drives(3)}
    for frames in splits.values():
        require_frames(street, [f.neighbour(k) for f in frames for k in (-1, 0, 1)])
    drives = [{frame.drive for frame in frames} for frames in splits.values()]
    assert sum(map(len, drives)) == len(set().union(*drives)) == 3


@pytest.mark.parametrize("drives", [3, 4, 7, 12, 40])
def test_every_drive_is_in_one_split(drives: int) -> None:
    numbers = [n for split in split_drives(drives).values() for n in split]
    assert numbers == list(range(1, drives + 1))
    assert all(split_drives(drives).values())


def test_a_folder_is_free_again_when_its_process_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal, sys\n"
        "from xdistill.pipeline.street.record.folder import claim\n"
        "claim(pathlib.Path(sys.argv[1]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)])
    assert killed.returncode == -signal.SIGKILL
    assert prepare(tmp_path, SMALL) == [1, 2, 3]


def test_a_file_system_without_locks_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_locks(handle: int, operation: int) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert prepare(tmp_path, SMALL) == [1, 2, 3]
    assert "only one run" in capsys.readouterr().err


def test_other_settings_are_refused_and_shown(tmp_path: Path) -> None:
    prepare(tmp_path, SMALL)
    with pytest.raises(StreetError) as caught:
        prepare(tmp_path, StreetSettings(drives=3, frames=3, size=(16, 48), seed=8))
    assert '"seed": 9' in str(caught.value) and '"seed": 8' in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"[" * 100_000, b"\xff", b"[]"])
def test_a_record_that_is_none_is_not_ours(content: bytes | None, tmp_path: Path) -> None:
    prepare(tmp_path, SMALL)
    record = tmp_path / "street.json"
    record.unlink()
    os.mkfifo(record) if content is None else record.write_bytes(content)
    with pytest.raises(StreetError, match="holds something other than a street"):
        prepare(tmp_path, SMALL)


def test_a_street_of_another_version_is_refused(tmp_path: Path) -> None:
    prepare(tmp_path, SMALL)
    record = json.loads((tmp_path / "street.json").read_text())
    assert record.pop("world") == WORLD_VERSION
    # Before worlds were numbered, the text of the sources stood here.
    for world in ({"world": "d3728eb27f80106e"}, {"world": WORLD_VERSION + 1}, {}):
        (tmp_path / "street.json").write_text(json.dumps(record | world))
        with pytest.raises(StreetError) as caught:
            prepare(tmp_path, SMALL)
        assert f"another world version, {world.get('world')!r}" in str(caught.value)
        assert f"expected: world version {WORLD_VERSION}" in str(caught.value)
        assert json.loads((tmp_path / "street.json").read_text()) == record | world


def test_sizes_are_width_by_height() -> None:
    assert parse_size("192x64") == (64, 192)
    for wrong in ("192", "192X64", "192x64x3", "axb", "", "192 x 64", "1.5x2"):
        with pytest.raises(StreetError):
            parse_size(wrong)


def test_what_a_crash_leaves_at_any_moment_is_taken_up(tmp_path: Path) -> None:
    crashes = 0
    while True:
        out = tmp_path / str(crashes)
        disk = FaultyDisk()
        with disk.installed():
            disk.arm(crashes, "middle")
            try:
                prepare(out, SMALL)
            except Crash:
                crashes += 1
            else:
                break
        assert prepare(out, SMALL) == [1, 2, 3]
        assert not list(out.rglob("*.partial"))
    assert crashes > 20
