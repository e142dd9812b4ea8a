"""Dask: the same store as a serial run, one model a worker, and workers that die."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from distributed import Client, LocalCluster
from kitti_tree import DRIVE_A, Tree

from xdistill.pipeline.cli.segment import segment as segment_command
from xdistill.pipeline.kitti.frames import find_frames
from xdistill.pipeline.labelling import cluster
from xdistill.pipeline.labelling.cluster import ClusterError, connect, label_on
from xdistill.pipeline.labelling.plan import make_plan
from xdistill.pipeline.labelling.segment import Labelling, segment
from xdistill.pipeline.labelling.shards import Outcome
from xdistill.pipeline.store import SHARD_FRAMES, LabelStore
from xdistill.teachers.choice.spec import TeacherSpec
from xdistill.teachers.protocol import TeacherError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        # Dask's own sockets and loops are collected late when its processes are killed.
        "ignore::ResourceWarning",
        "ignore::pytest.PytestUnraisableExceptionWarning",
    ),
]

TEACHER = """
import errno, fcntl, multiprocessing, os, pathlib, signal, threading, time
import numpy as np
from xdistill.teachers.protocol import Prediction, TeacherError, fingerprint_of

def log_calls(keys):
    with open(pathlib.Path(os.environ["LOADS"]).with_name("calls"), "a") as log:
        log.writelines(f"{os.getpid()} {key}\\n" for key in keys)

class Counting:
    record = {"kind": "module", "name": "counting"}
    fingerprint = fingerprint_of(record)
    def __init__(self):
        self.busy = threading.Lock()
    def label(self, images, keys):
        assert self.busy.acquire(blocking=False), "two threads in one teacher"
        log_calls(keys)
        time.sleep(0.01)
        classes = np.stack([(image[..., 0] % 19) for image in images]).astype(np.uint8)
        self.busy.release()
        return Prediction(classes=classes)

def make():
    log = pathlib.Path(os.environ["LOADS"])
    log.mkdir(exist_ok=True)
    (log / f"{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(0.2)
    return Counting()

class Broken(Counting):
    def label(self, images, keys):
        log_calls(keys)
        raise TeacherError("the network is broken")

class Defective(Counting):
    def label(self, images, keys):
        log_calls(keys)
        raise ValueError("a defect")

class Deadly(Counting):
    def label(self, images, keys):
        os.kill(os.getpid(), signal.SIGKILL)

def no_locks(handle, operation):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

def make_without_locks():
    if multiprocessing.parent_process() is not None:
        fcntl.flock = no_locks
    return Counting()
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TeacherSpec:
    (tmp_path / "counting_teacher.py").write_text(TEACHER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOADS", str(tmp_path / "loads"))
    # Workers are new processes: they find the module where this one would.
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return TeacherSpec.parse("counting_teacher:make", device="cpu")


@pytest.fixture
def serial(tree: Tree, tmp_path: Path, spec: TeacherSpec) -> Path:
    """The store that a serial run makes, left in the layout the cluster must reproduce."""
    store = tmp_path / "serial.zarr"
    teacher = spec.load()
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
def empty(tmp_path: Path, spec: TeacherSpec) -> Iterator[Path]:
    teacher = spec.load()
    store = tmp_path / "cluster.zarr"
    LabelStore.open_for_writing(store, teacher=teacher.record, fingerprint=teacher.fingerprint)
    for log in (tmp_path / "loads").iterdir():
        log.unlink()
    (tmp_path / "calls").unlink(missing_ok=True)
    yield store


def everything(tree: Tree, store: Path, spec: TeacherSpec) -> Labelling:
    frames = find_frames(tree.data, drives=None, cameras=("l", "r"))
    tasks = make_plan(tree.data, frames, store=LabelStore.open(store)).tasks
    return Labelling(data=tree.data, store=store, teacher=spec, tasks=tasks)


def run_on_cluster(
    client: Client, tree: Tree, store: Path, spec: TeacherSpec
) -> tuple[Outcome, int]:
    """What a run of everything did, and the frames it advanced by."""
    outcome = Outcome()
    advanced: list[int] = []
    label_on(client, everything(tree, store, spec), outcome=outcome, advance=advanced.append)
    return outcome, sum(advanced)


def calls(folder: Path) -> list[tuple[int, str]]:
    """Process and key of every frame that a teacher was shown."""
    log = folder / "calls"
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(pid), key) for pid, key in (line.split() for line in lines)]


def kill_a_busy_worker(client: Client, folder: Path) -> int:
    """SIGKILL the worker that is in the middle of drive A's first shard; its process number."""
    addresses = {pid: address for address, pid in client.run(os.getpid).items()}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        shard = {f"{DRIVE_A}/image_02/{index:010d}" for index in range(SHARD_FRAMES)}
        seen = [pid for pid, key in calls(folder) if key in shard]
        if len(seen) >= 3:
            pid = seen[0]
            assert client.processing()[addresses[pid]], "the worker had nothing to do"
            os.kill(pid, signal.SIGKILL)
            assert is_gone(pid)
            return pid
        time.sleep(0.005)
    raise AssertionError("no worker was seen with the first shard")


def is_gone(pid: int) -> bool:
    """Whether a killed process has ended, and its nanny has taken note."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_two_workers_make_the_serial_store_byte_for_byte(
    tree: Tree, serial: Path, empty: Path, spec: TeacherSpec, tmp_path: Path
) -> None:
    with connect(2) as client:
        outcome, advanced = run_on_cluster(client, tree, empty, spec)
    assert outcome.labelled == advanced == 75 and not outcome.failures
    assert content(empty) == content(serial)
    assert len(calls(tmp_path)) == 75
    assert len(loads(tmp_path)) == len(set(loads(tmp_path))) <= 2


def loads(folder: Path) -> list[str]:
    """Process of every time that the teacher was loaded."""
    return [log.name.split("-")[0] for log in (folder / "loads").iterdir()]


def test_a_killed_worker_costs_at_most_its_shard(
    tree: Tree, serial: Path, empty: Path, spec: TeacherSpec, tmp_path: Path
) -> None:
    with connect(2) as client, ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill_a_busy_worker, client, tmp_path)
        outcome, advanced = run_on_cluster(client, tree, empty, spec)
        killed = killing.result()
    assert advanced == 75 and not outcome.failures
    assert content(empty) == content(serial)
    again = Counter(key for _, key in calls(tmp_path))
    lost = {key for key, times in again.items() if times > 1}
    assert 3 <= len(lost) <= SHARD_FRAMES and max(again.values()) == 2
    assert lost <= {key for pid, key in calls(tmp_path) if pid == killed}


def test_threads_of_a_worker_share_one_teacher_and_take_turns(
    tree: Tree, empty: Path, spec: TeacherSpec, tmp_path: Path
) -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=4, dashboard_address=None) as local,
        Client(local) as client,
    ):
        outcome, _ = run_on_cluster(client, tree, empty, spec)
    assert outcome.labelled == 75 and not outcome.failures
    assert len(loads(tmp_path)) == 1


def test_local_workers_divide_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(cluster, "usable_cores", lambda: 6)
    with connect(2) as client:
        for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            assert list(client.run(os.getenv, variable).values()) == ["3", "3"]


def test_a_teachers_error_ends_the_run_at_once_without_a_traceback(
    tree: Tree,
    empty: Path,
    spec: TeacherSpec,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    broken = replace(spec, name="counting_teacher:Broken")
    with connect(1) as client, pytest.raises(TeacherError, match="the network is broken"):
        run_first_shard(client, tree, empty, broken)
    assert len(calls(tmp_path)) == 1
    assert "Traceback" not in capfd.readouterr().err


def run_first_shard(client: Client, tree: Tree, store: Path, spec: TeacherSpec) -> None:
    labelling = everything(tree, store, spec)
    label_on(client, replace(labelling, tasks=labelling.tasks[:1]), outcome=Outcome())


def test_a_defect_is_raised_once_and_not_tried_again(
    tree: Tree, empty: Path, spec: TeacherSpec, tmp_path: Path
) -> None:
    defective = replace(spec, name="counting_teacher:Defective")
    with connect(1) as client, pytest.raises(ValueError, match="a defect"):
        run_first_shard(client, tree, empty, defective)
    assert len(calls(tmp_path)) == 1


def test_a_shard_that_kills_its_workers_is_given_up(
    tree: Tree, empty: Path, spec: TeacherSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "WORKER_DEATHS", 0)
    deadly = replace(spec, name="counting_teacher:Deadly")
    message = r"workers died on shard [01] of"
    with connect(1) as client, pytest.raises(ClusterError, match=message) as told:
        run_on_cluster(client, tree, empty, deadly)
    assert "on 1 different workers" in str(told.value.__cause__)


def test_relative_paths_are_those_of_the_client(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    paths = ["--data", "kitti", "--store", "labels.zarr", "--teacher", f"png:{tree.labels.name}"]
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as local:
        with Client(local) as client:
            client.run(os.chdir, str(tmp_path / "elsewhere"))
        address = local.scheduler_address
        result = CliRunner().invoke(segment_command, [*paths, "--dask", address])
    assert result.exit_code == 0, result.output
    assert "labelled 72 frames" in result.stdout


def test_a_part_on_a_cluster_can_do_without_locks(
    tree: Tree, tmp_path: Path, spec: TeacherSpec
) -> None:
    command = ["--data", str(tree.data), "--store", str(tmp_path / "labels.zarr")]
    command += ["--teacher", "counting_teacher:make_without_locks", "--device", "cpu"]
    refused = CliRunner().invoke(segment_command, [*command, "--dask-workers", "1"])
    assert refused.exit_code == 1 and "the file system has no locks" in refused.stderr
    done = CliRunner().invoke(segment_command, [*command, "--dask-workers", "1", "--part", "1/1"])
    assert done.exit_code == 0, done.output
    assert "labelled 72 frames" in done.stdout


def test_failures_come_back_from_the_workers(tree: Tree, tmp_path: Path) -> None:
    tree.label(DRIVE_A, 8).unlink()
    store = tmp_path / "labels.zarr"
    command = ["--data", str(tree.data), "--store", str(store), "--teacher", f"png:{tree.labels}"]
    result = CliRunner().invoke(segment_command, [*command, "--dask-workers", "1"])
    assert result.exit_code == 1, result.output
    assert f"failed: {DRIVE_A} 8 l" in result.stdout and "labelled 71 frames" in result.stdout


def test_no_scheduler_is_said_so() -> None:
    code = (
        "from xdistill.pipeline.labelling.cluster import connect\n"
        "import xdistill.pipeline.labelling.cluster as c\n"
        "c.CONNECT_TIMEOUT = '1s'\n"
        "with connect('tcp://127.0.0.1:9'): pass"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ClusterError: no Dask scheduler answers" in done.stderr
