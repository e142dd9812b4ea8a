"""Dask: the same store as a serial run, one model a worker, and workers that die."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from kitti_tree import DRIVE_A, Tree

from xdistill.pipeline.choice import TeacherChoice
from xdistill.pipeline.cluster import connect, segment_on
from xdistill.pipeline.kitti.frames import find_frames
from xdistill.pipeline.plan import make_plan
from xdistill.pipeline.segment import Outcome, segment
from xdistill.pipeline.segment_cli import segment as segment_command
from xdistill.pipeline.store import LabelStore
from xdistill.teachers.settings import TeacherSettings

pytestmark = pytest.mark.filterwarnings(
    # Dask's own sockets and loops are collected late when its processes are killed.
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)

TEACHER = '''
import os, pathlib, time
import numpy as np
from xdistill.teachers.protocol import Labels, fingerprint_of

class Counting:
    record = {"kind": "module", "name": "counting"}
    fingerprint = fingerprint_of(record)
    def label(self, images, keys):
        time.sleep(0.01)
        classes = np.stack([(image[..., 0] % 19) for image in images]).astype(np.uint8)
        return Labels(classes=classes)

def make():
    log = pathlib.Path(os.environ["LOADS"])
    log.mkdir(exist_ok=True)
    (log / f"{os.getpid()}-{time.monotonic_ns()}").touch()
    return Counting()
'''


@pytest.fixture
def choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TeacherChoice:
    (tmp_path / "counting_teacher.py").write_text(TEACHER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOADS", str(tmp_path / "loads"))
    # Workers are new processes: they find the module where this one would.
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return TeacherChoice(
        spec="counting_teacher:make", device="cpu", ids="train", settings=TeacherSettings()
    )


@pytest.fixture
def serial(tree: Tree, tmp_path: Path, choice: TeacherChoice) -> Path:
    """The store that a serial run makes, left in the layout the cluster must reproduce."""
    store = tmp_path / "serial.zarr"
    teacher = choice.load()
    opened = LabelStore.open_for_writing(
        store, teacher=teacher.record, fingerprint=teacher.fingerprint
    )
    frames = find_frames(tree.data, drives=None, cameras=("l", "r"))
    tasks = make_plan(tree.data, frames, store=opened).tasks
    segment(tree.data, opened, teacher=teacher, tasks=tasks, outcome=Outcome())
    return store


def content(store: Path) -> dict[str, bytes]:
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def empty(tmp_path: Path, choice: TeacherChoice) -> Iterator[Path]:
    teacher = choice.load()
    store = tmp_path / "cluster.zarr"
    LabelStore.create(store, teacher=teacher.record, fingerprint=teacher.fingerprint)
    for log in (tmp_path / "loads").iterdir():
        log.unlink()
    yield store


def run_on_cluster(
    tree: Tree, store: Path, choice: TeacherChoice, *, kill_one: bool
) -> tuple[Outcome, int]:
    frames = find_frames(tree.data, drives=None, cameras=("l", "r"))
    tasks = make_plan(tree.data, frames, store=LabelStore.open(store)).tasks
    outcome = Outcome()
    advanced: list[int] = []
    killed: list[int] = []
    with connect(address=None, workers=2) as client:
        if kill_one:
            threading.Thread(target=kill_a_busy_worker, args=(client, killed)).start()
        segment_on(
            client,
            tree.data,
            store,
            teacher=choice,
            tasks=tasks,
            outcome=outcome,
            advance=advanced.append,
        )
    assert len(killed) == kill_one
    return outcome, sum(advanced)


def kill_a_busy_worker(client: object, killed: list[int]) -> None:
    """SIGKILL the first worker seen with a task."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        busy = [address for address, keys in client.processing().items() if keys]  # type: ignore[attr-defined]
        if busy:
            time.sleep(0.2)
            pid = client.run(os.getpid, workers=busy[:1])[busy[0]]  # type: ignore[attr-defined]
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
            return
        time.sleep(0.01)


def test_two_workers_make_the_serial_store_byte_for_byte(
    tree: Tree, serial: Path, empty: Path, choice: TeacherChoice, tmp_path: Path
) -> None:
    outcome, advanced = run_on_cluster(tree, empty, choice, kill_one=False)
    assert outcome.labelled == advanced == 75 and not outcome.failures
    assert content(empty) == content(serial)
    loads = [log.name.split("-")[0] for log in (tmp_path / "loads").iterdir()]
    assert len(loads) == len(set(loads)) <= 2


def test_a_killed_worker_costs_at_most_its_shard(
    tree: Tree, serial: Path, empty: Path, choice: TeacherChoice
) -> None:
    outcome, advanced = run_on_cluster(tree, empty, choice, kill_one=True)
    assert advanced == 75 and not outcome.failures
    assert content(empty) == content(serial)


def test_failures_come_back_from_the_workers(tree: Tree, tmp_path: Path) -> None:
    tree.label(DRIVE_A, 8).unlink()
    store = tmp_path / "labels.zarr"
    command = ["--data", str(tree.data), "--store", str(store), "--teacher", f"png:{tree.labels}"]
    result = CliRunner().invoke(segment_command, [*command, "--dask-workers", "1"])
    assert result.exit_code == 1, result.output
    assert f"failed: {DRIVE_A} 8 l" in result.stdout and "labelled 71 frames" in result.stdout


def test_no_scheduler_is_said_so() -> None:
    code = (
        "from xdistill.pipeline.cluster import connect\n"
        "import xdistill.pipeline.cluster as c\n"
        "c.CONNECT_TIMEOUT = '1s'\n"
        "with connect(address='tcp://127.0.0.1:9', workers=None): pass"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ClusterError: no Dask scheduler answers" in done.stderr
