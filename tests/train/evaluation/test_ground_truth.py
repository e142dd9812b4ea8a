"""Ground truth: equal to the projection, projected once, and never silently wrong."""

import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest

from xdistill.pipeline.kitti.calibration import read_calibration
from xdistill.pipeline.kitti.errors import CalibrationError, KittiError, ScanError
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.kitti.velodyne import DepthConvention, depth_map, read_scan, scan_path
from xdistill.train.evaluation.ground_truth import prepare_ground_truth, project_scans
from xdistill.train.evaluation.truth_file import GroundTruthError, read_depth, read_source

DRIVES = ("2011_09_26/2011_09_26_drive_0001_sync", "2011_09_28/2011_09_28_drive_0002_sync")
SIZES = {"2011_09_26": (12, 40), "2011_09_28": (10, 30)}
FRAMES = [Frame(DRIVES[0], 0, "l"), Frame(DRIVES[1], 4, "r"), Frame(DRIVES[0], 7, "l")]


def write_scan(root: Path, frame: Frame, *, seed: int, points: int = 200) -> Path:
    rng = np.random.default_rng(seed)
    low, high = (1, -5, -2, 0), (60, 5, 2, 1)
    path = scan_path(root, frame)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(rng.uniform(low, high, (points, 4)).astype("<f4").tobytes())
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "kitti"
    for date, (height, width) in SIZES.items():
        camera = f"20 0 {width / 2} {{}} 0 20 {height / 2} 0 0 0 1 0"
        (root / date).mkdir(parents=True)
        (root / date / "calib_cam_to_cam.txt").write_text(
            "R_rect_00: 1 0 0 0 1 0 0 0 1\n"
            f"S_rect_02: {width} {height}\nP_rect_02: {camera.format(2)}\n"
            f"S_rect_03: {width} {height}\nP_rect_03: {camera.format(-10)}\n"
        )
        (root / date / "calib_velo_to_cam.txt").write_text("R: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 -0.25\n")
        (root / date / "calib_imu_to_velo.txt").write_text("R: 1 0 0 0 1 0 0 0 1\nT: 0 0 0\n")
    for seed, frame in enumerate(FRAMES):
        write_scan(root, frame, seed=seed)
    return root


def projected(root: Path, frame: Frame, depth: DepthConvention = "velodyne_x") -> np.ndarray:
    calibration = read_calibration(root, frame.date)
    size = calibration.size(frame.camera)
    points = read_scan(scan_path(root, frame))
    return depth_map(points, calibration, frame.camera, size=size, depth=depth)


def prepare(root: Path, frames: Sequence[Frame] = FRAMES, path: Path | None = None) -> Path:
    return prepare_ground_truth(root, frames, depth="velodyne_x", path=path)


def written(path: Path) -> tuple[int, int]:
    """Changes whenever a file takes the place of another."""
    state = path.stat()
    return state.st_ino, state.st_mtime_ns


@pytest.mark.parametrize("depth", ["velodyne_x", "camera_z"])
def test_it_holds_the_projected_scans_of_every_size(root: Path, depth: DepthConvention) -> None:
    path = prepare_ground_truth(root, FRAMES, depth=depth)
    for frame in FRAMES:
        ours = read_depth(path, frame)
        assert ours.dtype == np.float32 and ours.shape == SIZES[frame.date]
        assert np.count_nonzero(ours) > 20
        assert np.array_equal(ours, projected(root, frame, depth))


def test_its_source_is_recorded(root: Path, private_cache: Path) -> None:
    path = prepare(root)
    source = read_source(path)
    assert path.parent == private_cache / "ground_truth"
    assert source.data == str(root) and source.depth == "velodyne_x"
    assert source.frames == 3 and len(source.frames_sha256) == 64
    assert set(source.calibration_sha256) == set(SIZES)


def test_it_is_projected_once(root: Path) -> None:
    path = prepare(root)
    before = written(path)
    assert prepare(root) == path
    assert written(path) == before


def test_other_frames_or_conventions_have_a_file_of_their_own(root: Path) -> None:
    paths = {
        prepare(root),
        prepare(root, FRAMES[:2]),
        prepare(root, FRAMES[1:]),
        prepare_ground_truth(root, FRAMES, depth="camera_z"),
    }
    assert len(paths) == 4


def test_every_root_has_a_file_of_its_own(root: Path) -> None:
    copy = shutil.copytree(root, root.with_name("copy"))
    link = root.with_name("link")
    link.symlink_to(root)
    assert prepare(copy) != prepare(root) == prepare(link)


def test_a_frame_named_twice_is_stored_once(root: Path) -> None:
    path = prepare(root, [FRAMES[0], FRAMES[0]])
    assert np.array_equal(read_depth(path, FRAMES[0]), projected(root, FRAMES[0]))


@pytest.mark.parametrize("points", [200, 150])
def test_changed_scans_are_projected_anew(root: Path, points: int) -> None:
    path = prepare(root)
    write_scan(root, FRAMES[2], seed=99, points=points)
    os.utime(scan_path(root, FRAMES[2]), ns=(0, 0))
    assert prepare(root) == path
    assert np.array_equal(read_depth(path, FRAMES[2]), projected(root, FRAMES[2]))


def test_the_same_scans_with_new_times_are_not(root: Path) -> None:
    path = prepare(root)
    before = written(path)
    for frame in FRAMES:
        os.utime(scan_path(root, frame))
    prepare(root)
    assert written(path) == before


def test_scans_of_the_recorded_size_and_time_are_not_read_again(root: Path) -> None:
    path = prepare(root)
    scan, before = scan_path(root, FRAMES[0]), written(path)
    state = scan.stat()
    scan.write_bytes(bytes(state.st_size))
    os.utime(scan, ns=(state.st_atime_ns, state.st_mtime_ns))
    prepare(root)
    assert written(path) == before


def test_without_its_scans_it_stands_on_its_own(root: Path, tmp_path: Path) -> None:
    path = prepare(root, path=tmp_path / "mine.h5")
    expected = projected(root, FRAMES[1])
    for frame in FRAMES:
        scan_path(root, frame).unlink()
    assert prepare(root, path=path) == path == prepare(tmp_path / "no root", path=path)
    assert np.array_equal(read_depth(path, FRAMES[1]), expected)
    assert prepare(root, FRAMES[1:], path=path) == path


def test_a_file_of_other_frames_is_refused(root: Path, tmp_path: Path) -> None:
    path = prepare(root, FRAMES[:1], path=tmp_path / "mine.h5")
    named = f"{DRIVES[0]} l: 7; {DRIVES[1]} r: 4"
    with pytest.raises(GroundTruthError, match=f"2 of 3 frames are not in it: {named}"):
        prepare(root, path=path)


def test_a_file_of_the_other_convention_is_refused(root: Path, tmp_path: Path) -> None:
    path = prepare(root, path=tmp_path / "mine.h5")
    with pytest.raises(
        GroundTruthError, match="the file holds depth = velodyne_x\n.*depth = camera_z"
    ):
        prepare_ground_truth(root, FRAMES, depth="camera_z", path=path)


def test_a_file_of_other_scans_is_refused_and_kept(root: Path, tmp_path: Path) -> None:
    path = prepare(root, path=tmp_path / "mine.h5")
    kept = path.read_bytes()
    write_scan(root, FRAMES[0], seed=99, points=10)
    with pytest.raises(
        GroundTruthError, match=rf"the file was projected from other scans of {DRIVES[0]} l: 0"
    ):
        prepare(root, path=path)
    assert path.read_bytes() == kept


def test_a_file_of_another_calibration_is_refused(root: Path, tmp_path: Path) -> None:
    path = prepare(root, path=tmp_path / "mine.h5")
    with (root / "2011_09_28" / "calib_velo_to_cam.txt").open("a") as file:
        file.write("delta_f: 0 0\n")
    with pytest.raises(
        GroundTruthError, match="the file was projected with another calibration of 2011_09_28"
    ):
        prepare(root, path=path)


def test_only_calibration_that_a_projection_reads_is_compared(root: Path, tmp_path: Path) -> None:
    for date in SIZES:
        (root / date / "calib_imu_to_velo.txt").unlink()
    path = prepare(root, path=tmp_path / "mine.h5")
    (root / "2011_09_28" / "calib_imu_to_velo.txt").write_text("R: x\n")
    assert prepare(root, path=path) == path
    with (root / "2011_09_28" / "calib_cam_to_cam.txt").open("a") as file:
        file.write("S_00: 1 1\n")
    with pytest.raises(GroundTruthError, match="another calibration of 2011_09_28"):
        prepare(root, path=path)


def test_frames_without_a_scan_are_named(root: Path, private_cache: Path) -> None:
    frames = [*FRAMES, Frame(DRIVES[1], 5, "l"), Frame(DRIVES[0], 1, "l"), Frame(DRIVES[0], 2, "l")]
    with pytest.raises(GroundTruthError) as caught:
        prepare(root, frames)
    message = str(caught.value)
    assert f"3 of 6 frames have no velodyne scan: {DRIVES[0]} l: 1-2; {DRIVES[1]} l: 5" in message
    assert "fetch velodyne_points" in message and "--ground-truth" in message
    assert not list(private_cache.rglob("*.h5"))


def test_a_missing_root_is_said(tmp_path: Path) -> None:
    with pytest.raises(KittiError, match="KITTI raw folder does not exist"):
        prepare(tmp_path / "none")


@pytest.mark.parametrize("broken", ["scan", "calibration"])
def test_bad_input_leaves_no_file(root: Path, private_cache: Path, broken: str) -> None:
    if broken == "scan":
        scan_path(root, FRAMES[2]).write_bytes(bytes(17))
    else:
        (root / "2011_09_28" / "calib_velo_to_cam.txt").unlink()
    with pytest.raises(ScanError if broken == "scan" else CalibrationError):
        prepare(root)
    assert not [path for path in private_cache.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_every_flipped_bit_is_harmless_or_noticed(root: Path, tmp_path: Path) -> None:
    whole = prepare(root, FRAMES[:2], path=tmp_path / "whole.h5").read_bytes()
    expected = [projected(root, frame) for frame in FRAMES[:2]]
    source = read_source(tmp_path / "whole.h5")
    path = tmp_path / "flipped.h5"
    rng = np.random.default_rng(7)
    noticed = 0
    # The beginning holds the records, the rest mostly pixels.
    for position in [*rng.integers(0, 1500, 200), *rng.integers(0, len(whole), 200)]:
        data = bytearray(whole)
        data[position] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            prepare(root, FRAMES[:2], path=path)
            assert read_source(path) == source
            for frame, depth in zip(FRAMES, expected, strict=False):
                assert np.array_equal(read_depth(path, frame), depth)
        except GroundTruthError:
            noticed += 1
    assert noticed > 100


def test_changed_values_are_noticed_and_the_frame_named(root: Path, tmp_path: Path) -> None:
    path = prepare(root, path=tmp_path / "mine.h5")
    with h5py.File(path, "r+") as file:
        file[FRAMES[1].key]["depth"][3] += 1
    named = f"the checksum of frame {FRAMES[1]} fails"
    with pytest.raises(GroundTruthError, match=named) as caught:
        read_depth(path, FRAMES[1])
    assert "move this file away" in str(caught.value) and str(path) in str(caught.value)
    assert np.array_equal(read_depth(path, FRAMES[0]), projected(root, FRAMES[0]))


def test_a_frame_that_is_not_in_it_is_named(root: Path) -> None:
    path = prepare(root, FRAMES[:1])
    with pytest.raises(GroundTruthError, match=f"the depth of frame {FRAMES[2]} is not readable"):
        read_depth(path, FRAMES[2])


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_truncated_file_is_refused(root: Path, tmp_path: Path, share: float) -> None:
    path = prepare(root, path=tmp_path / "mine.h5")
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(GroundTruthError, match="is not readable|is not an HDF5 file"):
        prepare(root, path=path)


def test_a_damaged_file_in_the_cache_is_replaced(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = prepare(root)
    os.truncate(path, 0)
    assert prepare(root) == path
    assert "the scans are projected again: the ground truth is not" in capsys.readouterr().err
    assert np.array_equal(read_depth(path, FRAMES[0]), projected(root, FRAMES[0]))


def test_a_full_disk_ends_in_a_message_and_gives_the_room_back(root: Path, tmp_path: Path) -> None:
    # A limit on files fails their writing as a full disk does.
    path = tmp_path / "truth" / "mine.h5"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(GroundTruthError, match=r"cannot be written \(File too large\)"):
            prepare(root, path=path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(path.parent.iterdir())
    assert prepare(root, path=path).stat().st_size > 5000


def test_no_lock_is_asked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A network file system may have none.
    opened = []

    def recorded(name: object, mode: str, **options: object) -> h5py.File:
        opened.append(mode)
        assert options.get("driver") == "core" or options["locking"] is False
        return File(name, mode, **options)

    File = h5py.File
    monkeypatch.setattr(h5py, "File", recorded)
    read_depth(prepare(root), FRAMES[0])
    prepare(root)
    assert set(opened) == {"w", "r"}


def test_a_file_of_another_kind_is_refused(root: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file.attrs["source"] = json.dumps({})
    with pytest.raises(GroundTruthError, match="the file has format None"):
        prepare(root, path=tmp_path / "mine.h5")


def start(root: Path, path: Path, count: int = 1) -> list[multiprocessing.process.BaseProcess]:
    context = multiprocessing.get_context("spawn")
    arguments = (root, FRAMES, path)
    options = {"depth": "velodyne_x"}
    processes = [
        context.Process(target=project_scans, args=arguments, kwargs=options) for _ in range(count)
    ]
    for process in processes:
        process.start()
    return list(processes)


@pytest.mark.slow
def test_two_processes_at_once_do_no_harm(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "truth" / "mine.h5"
    for process in start(root, path, count=2):
        process.join()
        assert process.exitcode == 0
    assert [entry.name for entry in path.parent.iterdir()] == ["mine.h5"]
    assert np.array_equal(read_depth(path, FRAMES[0]), projected(root, FRAMES[0]))


KILLED = """
import os, signal, sys
from pathlib import Path
from xdistill.manifests import disk
from xdistill.pipeline.kitti.frames import Frame
from xdistill.train.evaluation.ground_truth import project_scans

disk._sync = lambda path: os.kill(os.getpid(), signal.SIGKILL)
root, path, *lines = sys.argv[1:]
project_scans(Path(root), list(map(Frame.parse, lines)), Path(path), depth="velodyne_x")
"""
"""Projects scans, and dies by SIGKILL when the file is written but does not have its name yet."""


@pytest.mark.slow
def test_a_kill_leaves_nothing_under_the_name(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "truth" / "mine.h5"
    done = subprocess.run([sys.executable, "-c", KILLED, root, path, *map(str, FRAMES)])
    assert done.returncode == -signal.SIGKILL
    (orphan,) = path.parent.iterdir()
    assert orphan.name.endswith(".partial")
    os.utime(orphan, (0, 0))
    prepare(root, path=path)
    assert [entry.name for entry in path.parent.iterdir()] == ["mine.h5"]
