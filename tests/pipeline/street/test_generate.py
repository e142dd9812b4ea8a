"""``xd-pipeline street``: layout, determinism, resuming, refusals."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from xdistill.grouping.classes import IGNORE_INDEX
from xdistill.pipeline.cli.street import street as command
from xdistill.pipeline.kitti.calibration import read_calibration
from xdistill.pipeline.kitti.frames import find_frames, image_path
from xdistill.pipeline.kitti.images import image_size, read_image
from xdistill.pipeline.kitti.oxts import FIELDS, read_record
from xdistill.pipeline.kitti.splits import read_split, require_frames
from xdistill.pipeline.kitti.velodyne import read_scan, scan_path
from xdistill.pipeline.street.errors import StreetError
from xdistill.pipeline.street.record import generate, motion, raw, rig
from xdistill.pipeline.street.record.drive import make_drive
from xdistill.pipeline.street.record.generate import (
    Settings,
    parse_size,
    prepare,
    split_drives,
    write_drive,
)

SMALL = Settings(drives=3, frames=3, size=(16, 48), seed=9)
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


def test_our_own_readers_take_it_for_kitti(street: Path, settings: Settings) -> None:
    frames = find_frames(street, drives=None, cameras=["l"])
    assert len(frames) == settings.drives * settings.frames
    for frame in frames:
        path = image_path(street, frame)
        assert image_size(path) == settings.size
        assert read_image(path).std() > 10
        assert read_record(street, frame.drive, frame.index).shape == (FIELDS,)
        points = read_scan(scan_path(street, frame))
        assert points.dtype == np.float32 and len(points) > 3000
        assert (points[:, 0] > 0).all() and (points[:, :3] ** 2).sum(axis=1).max() < 91**2
        assert points[:, 3].min() >= 0 and points[:, 3].max() < 1


def test_scans_have_rings(street: Path) -> None:
    frame = find_frames(street, drives=["0001"], cameras=["l"])[0]
    x, y, z, _ = read_scan(scan_path(street, frame)).T
    elevation = np.round(np.degrees(np.arctan2(z, np.hypot(x, y))), 1)
    assert -24.4 <= elevation.min() < -20 and 0 < elevation.max() <= 2.0
    assert 40 < len(np.unique(elevation)) <= 64


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


def test_calibration_is_that_of_the_rendered_camera(street: Path, settings: Settings) -> None:
    calibration = read_calibration(street, raw.DATE)
    assert calibration.sizes["l"] == settings.size
    np.testing.assert_allclose(calibration.imu_to_camera("l"), rig.imu_to_camera(), atol=1e-12)
    expected = rig.intrinsics(settings.size) + [[0, 0, 1], [0, 0, 1], [0, 0, 0]]
    np.testing.assert_allclose(calibration.intrinsics("l", settings.size), expected, atol=1e-9)
    text = (street / raw.DATE / "calib_cam_to_cam.txt").read_text()
    for key in ("S", "K", "D", "R", "T", "S_rect", "R_rect", "P_rect"):
        assert all(f"\n{key}_{camera}: " in text for camera in ("00", "01", "02", "03"))


def test_calibration_has_the_keys_of_kitti(shared: Path, street: Path) -> None:
    for path in sorted((shared / "kitti" / "2011_09_26").glob("calib_*.txt")):
        ours = (street / raw.DATE / path.name).read_text()
        for line in filter(str.strip, path.read_text().splitlines()):
            key, _, numbers = line.partition(":")
            own = next(own for own in ours.splitlines() if own.startswith(key + ":"))
            if key != "calib_time":
                assert len(own.split()) - 1 == len(numbers.split()), key


def test_oxts_fields_are_consistent(street: Path, settings: Settings) -> None:
    drive, name = make_drive(settings.seed, 1, frames=settings.frames), raw.drive_name(1)
    fields = dict(zip(raw.OXTS_FIELDS, read_record(street, name, 1), strict=True))
    speed = np.hypot(fields["vn"], fields["ve"])
    assert fields["vf"] == pytest.approx(speed, rel=1e-2)
    assert motion.SLOWEST_M_S - 1 < fields["vf"] < motion.FASTEST_M_S + 1
    assert np.arctan2(fields["vn"], fields["ve"]) == pytest.approx(fields["yaw"], abs=0.01)
    assert fields["lat"] == pytest.approx(49, abs=0.01)
    assert 8 < fields["az"] < 12 and 8 < fields["au"] < 12
    assert fields["wu"] == pytest.approx(drive.motion.rates[1, 2], abs=0.02)
    body = [fields[f"a{axis}"] for axis in "xyz"]
    level = [fields[f"a{axis}"] for axis in "flu"]
    assert np.linalg.norm(body) == pytest.approx(np.linalg.norm(level))


def test_timestamps_are_a_tenth_of_a_second_apart(street: Path, settings: Settings) -> None:
    for sensor in ("image_02", "oxts", "velodyne_points"):
        lines = (street / raw.drive_name(2) / sensor / "timestamps.txt").read_text().splitlines()
        assert len(lines) == settings.frames
        seconds = [float(line.rsplit(":", 1)[1]) for line in lines]
        np.testing.assert_allclose(np.diff(seconds), 0.1, atol=1e-6)


def test_labels_are_train_ids(street: Path) -> None:
    import cv2

    for path in (street / "labels").rglob("*.png"):
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert labels is not None and labels.dtype == np.uint8 and labels.ndim == 2
        assert set(np.unique(labels)) <= {*range(19), IGNORE_INDEX}


def test_same_seed_same_bytes(whole: dict[str, bytes], tmp_path: Path) -> None:
    for number in reversed(prepare(tmp_path / "again", SMALL)):
        write_drive(tmp_path / "again", SMALL, number, advance=lambda frames: None)
    assert contents(tmp_path / "again") == whole


def test_another_seed_gives_another_street(whole: dict[str, bytes], tmp_path: Path) -> None:
    other = Settings(drives=3, frames=3, size=(16, 48), seed=10)
    prepare(tmp_path, other)
    write_drive(tmp_path, other, 1, advance=lambda frames: None)
    name = f"{raw.drive_name(1)}/image_02/data/0000000000.png"
    assert (tmp_path / name).read_bytes() != whole[name]


class Killed(BaseException):
    """Ends a run where it stands."""


@pytest.mark.parametrize("moment", [1, 4, 8])
def test_a_killed_run_goes_on(
    moment: int, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, left = tmp_path / "street", [moment]
    write_frame = generate._write_frame

    def dying(*arguments: object) -> None:
        left[0] -= 1
        write_frame(*arguments)  # type: ignore[arg-type]
        if left[0] == 0:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(generate, "_write_frame", dying)
        with pytest.raises(Killed):
            for number in prepare(out, SMALL):
                write_drive(out, SMALL, number, advance=lambda frames: None)
    assert len(list(out.glob("*/*_sync"))) == (moment - 1) // 3
    result = CliRunner().invoke(command, ["--out", str(out), *ARGUMENTS])
    assert result.exit_code == 0, result.output
    assert ("goes on" in result.output) == (moment > 3)
    assert contents(out) == whole


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
        patch.setattr(generate.os, "replace", dying)
        with pytest.raises(Killed):
            write_drive(out, SMALL, 1, advance=lambda frames: None)
    assert prepare(out, SMALL) == missing
    for number in missing:
        write_drive(out, SMALL, number, advance=lambda frames: None)
    assert contents(out) == whole


def test_what_an_older_run_left_of_a_drive_is_replaced(
    whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "street"
    for number in prepare(out, SMALL):
        write_drive(out, SMALL, number, advance=lambda frames: None)
    shutil.rmtree(out / raw.drive_name(2))
    (out / "labels" / raw.drive_name(2) / "image_02" / "0000000000.png").write_bytes(b"old")
    assert prepare(out, SMALL) == [2]
    write_drive(out, SMALL, 2, advance=lambda frames: None)
    assert contents(out) == whole


def test_a_complete_street_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "street"
    for _ in range(2):
        result = CliRunner().invoke(command, ["--out", str(out), *ARGUMENTS])
    assert "nothing to do: 3 drives are complete" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "192"], "size '192'"),
        (["--size", "0x64"], "frames of 0x64 pixels"),
        (["--size", "-3x64"], "size '-3x64'"),
        (["--size", "9999x64"], "frames of 9999x64 pixels"),
        (["--drives", "2"], "2 drives"),
        (["--frames", "0"], "0 frames"),
        (["--seed", "-1"], "-1 seed"),
        (["--drives", "many"], "not a valid integer"),
    ],
)
def test_bad_numbers_are_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--out", str(tmp_path / "new"), *arguments])
    assert result.exit_code in (1, 2)
    assert message in result.output and "Traceback" not in result.output
    assert not (tmp_path / "new").exists()


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    result = CliRunner().invoke(command, ["--out", str(tmp_path), *ARGUMENTS])
    assert result.exit_code == 1
    assert "holds something else" in result.output and str(tmp_path) in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = CliRunner().invoke(command, ["--out", str(tmp_path / "file"), *ARGUMENTS])
    assert result.exit_code == 1 and "a file" in result.output


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = CliRunner().invoke(command, ["--out", str(tmp_path / "file" / "street"), *ARGUMENTS])
    assert result.exit_code == 1 and "cannot be made" in result.output


def test_a_second_run_in_one_folder_is_refused(whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "street"
    missing = prepare(out, SMALL)
    program = "from xdistill.pipeline.cli.street import street; street()"
    command_line = [sys.executable, "-c", program, "--out", str(out), *ARGUMENTS]
    partial = out / generate.PARTIAL / "begun"
    partial.mkdir(parents=True)
    second = subprocess.run(command_line, capture_output=True, text=True)
    assert second.returncode == 1 and "Traceback" not in second.stderr
    assert "another process is making a street" in second.stderr and str(out) in second.stderr
    assert partial.is_dir()
    for number in missing:
        write_drive(out, SMALL, number, advance=lambda frames: None)
    assert contents(out) == whole


def test_a_folder_is_free_again_when_its_process_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal, sys\n"
        "from xdistill.pipeline.street.record.disk import claim\n"
        "claim(pathlib.Path(sys.argv[1]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)])
    assert killed.returncode == -signal.SIGKILL
    assert prepare(tmp_path, SMALL) == [1, 2, 3]


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_locks(handle: int, operation: int) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert prepare(tmp_path, SMALL) == [1, 2, 3]
    assert "only one run" in capsys.readouterr().err


def test_a_drive_that_lost_a_frame_does_not_take_its_name(tmp_path: Path) -> None:
    prepare(tmp_path, SMALL)

    def lose(frames: int) -> None:
        (tmp_path / ".partial/depth" / raw.drive_name(1) / "image_02/0000000000.png").unlink(
            missing_ok=True
        )

    with pytest.raises(StreetError, match=r"2 files of a finished drive\n  expected: 3"):
        write_drive(tmp_path, SMALL, 1, advance=lose)
    assert prepare(tmp_path, SMALL) == [1, 2, 3]


@pytest.mark.parametrize(
    ("code", "reason"),
    [(errno.ENOSPC, "No space left on device"), (errno.EROFS, "Read-only file system")],
)
@pytest.mark.parametrize("writer", ["write_bytes", "mkdir"])
def test_what_the_disk_refuses_is_told_and_finished_drives_stay(
    code: int, reason: str, writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "street"
    prepare(out, SMALL)
    write_drive(out, SMALL, 1, advance=lambda frames: None)
    before = contents(out)

    def refusing(path: Path, *arguments: object, **options: object) -> None:
        if path != out:
            raise OSError(code, reason, str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, writer, refusing)
        with pytest.raises(StreetError, match=f"cannot be written .{reason}") as caught:
            write_drive(out, SMALL, 2, advance=lambda frames: None)
        assert "what to do: make room" in str(caught.value) and str(out) in str(caught.value)
        result = CliRunner().invoke(command, ["--out", str(out), *ARGUMENTS])
    assert result.exit_code == 1 and "cannot be written" in result.output
    assert contents(out).items() >= before.items()
    assert prepare(out, SMALL) == [2, 3]


def test_other_settings_are_refused_and_shown(tmp_path: Path) -> None:
    prepare(tmp_path, SMALL)
    with pytest.raises(StreetError) as caught:
        prepare(tmp_path, Settings(drives=3, frames=3, size=(16, 48), seed=8))
    assert '"seed": 9' in str(caught.value) and '"seed": 8' in str(caught.value)


def test_a_street_of_another_version_is_refused(tmp_path: Path) -> None:
    prepare(tmp_path, SMALL)
    record = json.loads((tmp_path / "street.json").read_text())
    (tmp_path / "street.json").write_text(json.dumps(record | {"world": "older"}))
    with pytest.raises(StreetError, match="older"):
        prepare(tmp_path, SMALL)


def test_sizes_are_width_by_height() -> None:
    assert parse_size("192x64") == (64, 192)
    for wrong in ("192", "192X64", "192x64x3", "axb", "", "192 x 64", "1.5x2"):
        with pytest.raises(StreetError):
            parse_size(wrong)


def test_without_numba_the_message_names_the_extra(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['numba'] = None\n"
        "from xdistill.pipeline.cli.street import street\n"
        f"street(['--out', {str(tmp_path / 'new')!r}])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 1
    assert "xdistill[street]" in result.stderr and "Traceback" not in result.stderr


def test_help_has_examples() -> None:
    result = CliRunner().invoke(command, ["--help"])
    assert result.exit_code == 0 and "Examples:" in result.output
    assert "xd-pipeline street --out street" in result.output
