"""The shard tasks of ``segment`` on Dask distributed: local processes or an existing cluster."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.choice import TeacherChoice
from xdistill.pipeline.plan import Task
from xdistill.pipeline.segment import Outcome, segment
from xdistill.pipeline.store import LabelStore
from xdistill.teachers.protocol import Teacher

CONNECT_TIMEOUT = "30s"
RETRIES = 5
"""Times a shard is tried again after its worker died; it resumes at its last commit."""


class ClusterError(XDistillError, RuntimeError):
    """Dask is missing, cannot be reached, or lost its workers."""


@contextmanager
def connect(*, address: str | None, workers: int | None) -> Iterator[Any]:
    """A Dask client: of the scheduler at ``address``, or of ``workers`` local processes.

    Raises:
        ClusterError: Dask is not installed, or nobody answers at the address.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ClusterError(
            "Dask is not installed",
            expected="the extra `cluster`",
            remedy="pip install 'xdistill[cluster]'",
        ) from error
    if address is None:
        # One thread a process: the teacher's own threads share the cores already.
        local = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
        with local, Client(local) as client:
            yield client
        return
    try:
        client = Client(address, timeout=CONNECT_TIMEOUT)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no Dask scheduler answers ({error})",
            expected="a running scheduler, such as tcp://10.0.0.1:8786",
            where=address,
            remedy="start one with `dask scheduler`, or use --dask-workers N on this machine",
        ) from error
    with client:
        yield client


def segment_on(
    client: Any,
    root: Path,
    store: Path,
    *,
    teacher: TeacherChoice,
    tasks: Sequence[Task],
    outcome: Outcome,
    batch_size: int = 1,
    advance: Callable[[int], object] = lambda count: None,
) -> None:
    """Label the tasks on a cluster; the store ends up the same as by ``segment``.

    Every worker process loads the teacher once. A worker that dies costs at most its shard: Dask
    hands the task to another, which does what is not committed yet.

    Args:
        client: From ``connect``. Workers see the same data and store paths as this process.
        root: KITTI raw root.
        store: Path of the store, created already.
        teacher: What to load on the workers.
        tasks: From ``plan.make_plan``.
        outcome: Receives the counts and failures as tasks finish.
        batch_size: Frames the teacher sees at once.
        advance: Called with the number of frames finished, for progress.

    Raises:
        ClusterError: A task lost its worker again and again.
        XDistillError: What the teacher or the store reported on a worker.
    """
    from distributed import as_completed

    place = root.absolute(), store.absolute(), teacher
    options = {"retries": RETRIES, "pure": False}
    futures = {client.submit(_run_task, *place, t, batch_size, **options): t for t in tasks}
    for future in as_completed(futures):
        _merge(outcome, _result(future, futures[future]))
        advance(len(futures[future].frames))


def _result(future: Any, task: Task) -> Outcome:
    from distributed import KilledWorker

    try:
        return cast(Outcome, future.result())
    except KilledWorker as error:
        raise ClusterError(
            f"the workers died on shard {task.shard} of {task.sequence}",
            expected="workers with enough memory for the teacher",
            remedy="give workers more memory or use fewer; the same command goes on",
        ) from error


def _merge(outcome: Outcome, part: Outcome) -> None:
    outcome.labelled += part.labelled
    outcome.failures |= part.failures
    outcome.left_to_others += part.left_to_others


def _run_task(
    root: Path, store: Path, choice: TeacherChoice, task: Task, batch_size: int
) -> Outcome:
    """One shard on a worker."""
    teacher = _worker_teacher(choice)
    labels = LabelStore.open_for_writing(
        store, teacher=teacher.record, fingerprint=teacher.fingerprint
    )
    outcome = Outcome()
    segment(root, labels, teacher=teacher, tasks=[task], outcome=outcome, batch_size=batch_size)
    return outcome


@lru_cache(maxsize=1)
def _worker_teacher(choice: TeacherChoice) -> Teacher:
    """The teacher of this worker process, loaded by its first task."""
    return choice.load()
