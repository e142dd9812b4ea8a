"""``xd-pipeline segment``: what is labelled, what is not, and what survives."""

import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import zarr
from click.testing import CliRunner, Result
from kitti_tree import DRIVE_A, DRIVE_B, Tree
from numpy.typing import NDArray

from xdistill.manifests import png
from xdistill.pipeline.cli.segment import segment
from xdistill.pipeline.store import LabelStore

SEQUENCE_A = f"{DRIVE_A}/image_02"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "labels.zarr"


def run(tree: Tree, store: Path, *more: str) -> Result:
    arguments = ["--data", str(tree.data), "--store", str(store), "--teacher", f"png:{tree.labels}"]
    return CliRunner().invoke(segment, [*arguments, *more])


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its modification time and inode."""
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*")}


def plain(store: Path, sequence: str, index: int) -> NDArray[np.uint8]:
    """A label map as zarr-python alone reads it."""
    array = zarr.open_group(store, mode="r")[f"{sequence}/classes"]
    assert isinstance(array, zarr.Array)
    return np.asarray(array[index], np.uint8)


def test_every_map_equals_its_png_when_read_by_plain_zarr(tree: Tree, store: Path) -> None:
    result = run(tree, store)
    assert result.exit_code == 0, result.output
    assert "labelled 72 frames, 0 failed" in result.stdout
    assert "next: xd-pipeline regroup" in result.stdout
    for index in (0, 4, 6, 63, 64, 69):
        assert np.array_equal(plain(store, SEQUENCE_A, index), tree.expected(DRIVE_A, index))
    assert (plain(store, SEQUENCE_A, 5) == 255).all()
    for index in range(3):
        found = plain(store, f"{DRIVE_B}/image_02", index)
        assert np.array_equal(found, tree.expected(DRIVE_B, index))
    assert f"{DRIVE_B}/image_03" not in LabelStore.open(store).sequences()


def test_a_second_run_does_nothing_says_so_and_touches_no_file(tree: Tree, store: Path) -> None:
    run(tree, store)
    before = snapshot(store)
    result = run(tree, store)
    assert result.exit_code == 0
    assert "nothing to do: all 72 frames" in result.stdout
    assert snapshot(store) == before


@pytest.mark.parametrize(("camera", "sequences"), [("r", 1), ("both", 3)])
def test_cameras(tree: Tree, store: Path, camera: str, sequences: int) -> None:
    result = run(tree, store, "--camera", camera)
    assert result.exit_code == 0, result.output
    assert len(LabelStore.open(store).sequences()) == sequences
    found = plain(store, f"{DRIVE_B}/image_03", 2)
    assert np.array_equal(found, tree.expected(DRIVE_B, 2, "image_03"))


def test_a_splits_own_camera_column_wins(tree: Tree, store: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.txt"
    split.write_text(f"{DRIVE_B} 1 r\n{DRIVE_A} 66 l\n")
    result = run(tree, store, "--split", str(split), "--camera", "l")
    assert "labelled 2 frames" in result.stdout, result.output
    array = LabelStore.open(store).array(f"{DRIVE_B}/image_03", "classes")
    assert array.committed() == [1]


def test_a_larger_request_adds_only_what_is_missing(tree: Tree, store: Path) -> None:
    run(tree, store, "--drive", "2011_09_28_drive_0002_sync")
    kept = snapshot(store / DRIVE_B)
    result = run(tree, store)
    assert "labelled 69 frames, 0 failed, 3 already done" in result.stdout
    assert snapshot(store / DRIVE_B) == kept


def test_the_plan_says_what_a_run_would_do_and_writes_nothing(tree: Tree, store: Path) -> None:
    result = run(tree, store, "--plan")
    assert "requested       72 frames in 2 sequences" in result.stdout
    assert "to do           72 frames in 3 shards" in result.stdout
    assert not store.exists()
    run(tree, store, "--drive", "0002")
    after = run(tree, store, "--plan").stdout
    assert "done             3 frames" in after and "to do           69 frames" in after


def test_frames_that_cannot_be_read_fail_alone_and_are_tried_again(tree: Tree, store: Path) -> None:
    broken = tree.image(DRIVE_A, 10)
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    result = run(tree, store)
    assert result.exit_code == 1
    assert f"failed: {DRIVE_A} 10 l" in result.stdout
    assert "labelled 71 frames, 1 failed" in result.stdout
    before = snapshot(store / SEQUENCE_A / "classes" / "c")
    assert run(tree, store).exit_code == 1
    assert snapshot(store / SEQUENCE_A / "classes" / "c") == before
    broken.write_bytes(whole)
    again = run(tree, store)
    assert again.exit_code == 0 and "labelled 1 frames, 0 failed, 71 already done" in again.stdout
    assert np.array_equal(plain(store, SEQUENCE_A, 10), tree.expected(DRIVE_A, 10))
    assert np.array_equal(plain(store, SEQUENCE_A, 11), tree.expected(DRIVE_A, 11))


def test_a_frame_without_labels_fails_alone(tree: Tree, store: Path) -> None:
    tree.label(DRIVE_A, 3).unlink()
    result = run(tree, store, "--batch-size", "4")
    assert result.exit_code == 1 and "labelled 71 frames, 1 failed" in result.stdout
    assert f"failed: {DRIVE_A} 3 l" in result.stdout


def test_an_image_is_read_whole_by_a_teacher_that_does_not_look_at_it(
    tree: Tree, store: Path
) -> None:
    # Its header alone would do for the size; the training to come needs all of it.
    for index, path in enumerate((tree.image(DRIVE_A, 10), tree.image(DRIVE_A, 11))):
        content = bytearray(path.read_bytes())
        content[-30 - index] ^= 1
        path.write_bytes(content)
    result = run(tree, store)
    assert result.exit_code == 1 and "labelled 70 frames, 2 failed" in result.stdout
    assert "0000000010.png is damaged: the checksum" in result.stdout


def test_damaged_headers_fail_alone_and_take_no_memory(tree: Tree, store: Path) -> None:
    for path in (tree.image(DRIVE_A, 0), tree.label(DRIVE_A, 1)):
        (_, header), *rest = png.read_chunks(path.read_bytes())
        chunks = [(b"IHDR", struct.pack(">II", 10**5, 10**5) + header[8:]), *rest]
        encoded = b"".join(png.encode_chunk(*chunk) for chunk in chunks)
        path.write_bytes(png.SIGNATURE + encoded)
    result = run(tree, store)
    assert result.exit_code == 1 and "labelled 70 frames, 2 failed" in result.stdout
    assert "0000000000.png declares 100000x100000 pixels" in result.stdout
    assert "the label map is 100000x100000" in result.stdout


def test_a_run_whose_frames_all_fail_for_one_reason_stops_and_says_it_once(
    tree: Tree, store: Path
) -> None:
    for path in tree.labels.rglob("*.png"):
        cv2.imwrite(str(path), np.full((12, 40), 26, np.uint8))
    result = run(tree, store, "--batch-size", "7")
    assert result.exit_code == 1
    assert "labelled 0 frames, 69 failed" in result.stdout
    assert result.stdout.count("failed: ") == result.stdout.count("the label map holds ids 26") == 1
    assert f"failed alike: {DRIVE_A} 1 l, {DRIVE_A} 2 l, " in result.stdout
    assert " and 63 other frames\n" in result.stdout
    assert "first 69 frames all failed for one reason; 3 others were not tried" in result.stdout
    assert "--ids label" in result.stdout and "fix or remove the frames" not in result.stdout


@pytest.mark.parametrize("sound", [0, 69])
def test_a_run_goes_on_while_a_frame_is_labelled_or_reasons_differ(
    tree: Tree, store: Path, sound: int
) -> None:
    for path in tree.labels.rglob("*.png"):
        cv2.imwrite(str(path), np.full((12, 40), 26, np.uint8))
    if sound == 0:
        cv2.imwrite(str(tree.label(DRIVE_A, sound)), np.full((12, 40), 1, np.uint8))
    else:
        tree.label(DRIVE_A, 63).unlink()
    result = run(tree, store)
    assert result.exit_code == 1 and "stopped" not in result.stdout
    done = int(sound == 0)
    assert f"labelled {done} frames, {72 - done} failed" in result.stdout


def test_an_image_of_another_size_within_a_drive_is_named(tree: Tree, store: Path) -> None:
    cv2.imwrite(str(tree.image(DRIVE_A, 7)), np.zeros((12, 41, 3), np.uint8))
    result = run(tree, store)
    assert result.exit_code == 1
    assert f"failed: {DRIVE_A} 7 l: the image is 41x12 pixels" in result.stdout
    assert "expected: 40x12" in result.stdout
    assert len(LabelStore.open(store).array(SEQUENCE_A, "classes").committed()) == 68


def test_a_first_frame_of_another_size_does_not_decide_for_its_drive(
    tree: Tree, store: Path
) -> None:
    cv2.imwrite(str(tree.image(DRIVE_A, 0)), np.zeros((20, 30, 3), np.uint8))
    result = run(tree, store)
    assert result.exit_code == 1
    assert f"failed: {DRIVE_A} 0 l: the image is 30x20 pixels" in result.stdout
    assert len(LabelStore.open(store).array(SEQUENCE_A, "classes").committed()) == 68


def test_another_teacher_is_refused_with_both_shown(tree: Tree, store: Path) -> None:
    run(tree, store)
    before = snapshot(store)
    result = run(tree, store, "--teacher", "bright_teacher:with_settings")
    assert result.exit_code == 1
    assert "kind: 'png' in the store, 'bright' now" in result.stderr
    assert snapshot(store) == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--drive", "0099"], "0099"),
        (["--split", "nosuch.txt"], "nosuch.txt"),
        (["--part", "3/2"], "--part 3/2"),
        (["--part", f"1/{'9' * 5000}"], "is not a share"),
        (["--teacher", "png:nowhere"], "nowhere"),
        (["--teacher", "nosuch"], "nosuch"),
    ],
)
def test_a_mistake_gets_one_message(
    tree: Tree, store: Path, arguments: list[str], named: str
) -> None:
    result = run(tree, store, *arguments)
    assert result.exit_code == 1 and named in result.stderr
    assert "what to do" in result.stderr and "Traceback" not in result.output
    assert not store.exists()


def test_parts_of_a_job_array_cover_everything_once(tree: Tree, store: Path) -> None:
    first = run(tree, store, "--part", "1/2")
    second = run(tree, store, "--part", "2/2")
    assert first.exit_code == second.exit_code == 0
    assert "nothing to do" in run(tree, store).stdout


SLOW_FACTORY = """
import time
import numpy as np
from xdistill.teachers.protocol import Prediction, fingerprint_of

class Slow:
    record = {"kind": "module", "name": "slow"}
    fingerprint = fingerprint_of(record)
    def label(self, images, keys):
        # Slower after the first shard: whoever watches has time to stop the run there.
        time.sleep(0.5 if int(keys[0][-10:]) >= 64 else 0.005)
        value = [int(key[-2:]) % 19 for key in keys]
        shape = (len(images), *images[0].shape[:2])
        classes = np.broadcast_to(np.array(value, np.uint8)[:, None, None], shape).copy()
        return Prediction(classes=classes, confidence=None)

def make():
    return Slow()
"""


@pytest.fixture
def slow_run(tree: Tree, store: Path, tmp_path: Path) -> list[str]:
    """A command that labels the first shard quickly and then takes its time."""
    (tmp_path / "slow_teacher.py").write_text(SLOW_FACTORY)
    return [
        sys.executable, "-c", "from xdistill.pipeline.cli.main import main; main()", "segment",
        "--data", str(tree.data), "--store", str(store), "--device", "cpu",
        "--teacher", "slow_teacher:make",
    ]  # fmt: skip


def stop_when_a_shard_is_done(
    command: list[str], store: Path, *, with_signal: signal.Signals
) -> subprocess.Popen[str]:
    """Start the command, and send the signal once the first shard is committed."""
    process = subprocess.Popen(
        command, cwd=store.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if len(committed(store)) >= 63:
            break
        time.sleep(0.005)
    process.send_signal(with_signal)
    return process


def committed(store: Path) -> list[int]:
    if not (store / SEQUENCE_A / "classes" / "zarr.json").exists():
        return []
    return LabelStore.open(store).array(SEQUENCE_A, "classes").committed()


@pytest.mark.slow
def test_a_kill_in_the_middle_costs_at_most_the_open_shard(
    store: Path, slow_run: list[str]
) -> None:
    stop_when_a_shard_is_done(slow_run, store, with_signal=signal.SIGKILL).communicate()
    kept = len(committed(store))
    assert 63 <= kept < 69
    finished = subprocess.run(
        slow_run, cwd=store.parent, capture_output=True, text=True, check=True
    )
    assert f"{kept} already done" in finished.stdout
    for index in (0, 20, 63, 64, 69):
        assert (plain(store, SEQUENCE_A, index) == index % 19).all()


STOPPED_FACTORY = """
import os
import numpy as np
from xdistill.teachers.protocol import Prediction, fingerprint_of

class Stopped:
    record = {"kind": "module", "name": "stopped"}
    fingerprint = fingerprint_of(record)
    def label(self, images, keys):
        if keys[0].endswith("67") and "SEND" in os.environ:
            os.kill(os.getpid(), int(os.environ.pop("SEND")))
        return Prediction(classes=np.zeros((len(images), *images[0].shape[:2]), np.uint8))

def make():
    return Stopped()
"""


@pytest.mark.parametrize(
    ("number", "name", "status"),
    [
        (signal.SIGINT, "Ctrl-C", 130),
        (signal.SIGTERM, "SIGTERM", 143),
        (signal.SIGHUP, "SIGHUP", 129),
    ],
)
def test_a_signal_commits_the_open_shard_and_says_what_is_kept(
    tree: Tree, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    number: int, name: str, status: int,
) -> None:  # fmt: skip
    (tmp_path / "stopped_teacher.py").write_text(STOPPED_FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEND", str(number))
    flags = ["--teacher", "stopped_teacher:make", "--device", "cpu", "--drive", DRIVE_A]
    result = run(tree, store, *flags)
    assert result.exit_code == status, result.output
    kept = committed(store)
    # Frame 5 is not on disk; frame 67 is the one that the signal came in.
    assert list(kept) == [index for index in range(67) if index != 5]
    assert f"stopped by {name}: 66 frames were labelled and are kept\n" in result.stderr
    assert f"next: segment --data {tree.data} --store {store} " in result.stderr
    assert "labelled 3 frames, 0 failed, 66 already done" in run(tree, store, *flags).stdout


CONFIDENT_FACTORY = """
import numpy as np
from xdistill.teachers.protocol import Prediction, fingerprint_of

class Confident:
    record = {"kind": "module", "name": "confident"}
    fingerprint = fingerprint_of(record)
    def __init__(self, settings):
        self.settings = settings
    def label(self, images, keys):
        classes = np.stack([image[..., 0] % 19 for image in images]).astype(np.uint8)
        levels = np.stack([image[..., 1] % 16 for image in images]).astype(np.uint8)
        return Prediction(classes=classes, confidence=levels if self.settings.confidence else None)

def make(settings):
    return Confident(settings)
"""


def test_confidence_can_be_added_later_and_changes_no_label(
    tree: Tree, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "confident_teacher.py").write_text(CONFIDENT_FACTORY)
    monkeypatch.chdir(tmp_path)
    teacher = ["--teacher", "confident_teacher:make", "--device", "cpu"]
    assert "labelled 72 frames" in run(tree, store, *teacher).stdout
    before = snapshot(store / SEQUENCE_A / "classes")
    added = run(tree, store, *teacher, "--confidence")
    assert "labelled 72 frames, 0 failed, 0 already done" in added.stdout, added.output
    assert snapshot(store / SEQUENCE_A / "classes") == before
    image = cv2.imread(str(tree.image(DRIVE_A, 66)))
    levels = LabelStore.open(store).array(SEQUENCE_A, "confidence").read(66)
    assert np.array_equal(levels, image[..., 1] % 16)
    assert "nothing to do" in run(tree, store, *teacher, "--confidence").stdout
    assert "nothing to do" in run(tree, store, *teacher).stdout
