"""The shard tasks of ``segment`` on Dask distributed: local processes or an existing cluster."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from xdistill.manifests.errors import XDistillError
from xdistill.manifests.progress import Advance, unshown, usable_cores
from xdistill.pipeline.labelling.plan import Task
from xdistill.pipeline.labelling.segment import Outcome, segment
from xdistill.pipeline.store import LabelStore
from xdistill.pipeline.store.leases import Locking
from xdistill.teachers.protocol import Teacher
from xdistill.teachers.spec import TeacherSpec

CONNECT_TIMEOUT = "30s"
WORKER_DEATHS = 5
"""Dead workers that a shard survives among local processes; it resumes at its last commit. The
scheduler of an existing cluster has its own bound, ``distributed.scheduler.allowed-failures``."""

_teacher_in_use = threading.Lock()
"""One task at a time in a worker process: a teacher need not bear several threads."""


class ClusterError(XDistillError, RuntimeError):
    """Dask is missing, cannot be reached, or lost its workers."""


@contextmanager
def connect(at: str | int) -> Iterator[Any]:
    """A Dask client.

    Args:
        at: Address of a running scheduler, or the number of local processes to start.

    Raises:
        ClusterError: Dask is not installed, or nobody answers at the address.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError(
            "Dask is not installed",
            expected="the extra `cluster`",
            remedy="pip install 'xdistill[cluster]'",
        ) from error
    if isinstance(at, int):
        with _local_cluster(at) as local, Client(local) as client:
            yield client
        return
    try:
        client = Client(at, timeout=CONNECT_TIMEOUT)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no Dask scheduler answers ({error})",
            expected="a running scheduler, such as tcp://10.0.0.1:8786",
            where=at,
            remedy="start one with `dask scheduler`, or use --dask-workers N on this machine",
        ) from error
    with client:
        yield client


@contextmanager
def _local_cluster(workers: int) -> Iterator[Any]:
    """Worker processes that divide the cores among them."""
    import dask
    from distributed import LocalCluster

    # Dask starts workers with a single thread for numerical libraries, unless told otherwise
    # before they start; a worker here runs one task, whose network may use its share of cores.
    threads = max(1, usable_cores() // workers)
    environ = "distributed.nanny.pre-spawn-environ"
    settings = {
        f"{environ}.OMP_NUM_THREADS": threads,
        f"{environ}.MKL_NUM_THREADS": threads,
        "distributed.scheduler.allowed-failures": WORKER_DEATHS,
    }
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as local,
    ):
        yield local


def segment_on(
    client: Any,
    root: Path,
    store: Path,
    *,
    teacher: TeacherSpec,
    tasks: Sequence[Task],
    outcome: Outcome,
    batch_size: int = 1,
    locking: Locking = "required",
    advance: Advance = unshown,
) -> None:
    """Label the tasks on a cluster; the store ends up the same as by ``segment``.

    Every worker process loads the teacher once and labels one shard at a time, whatever its
    number of threads. A worker that dies costs at most its shard: Dask hands the task to another,
    which does what is not committed yet. What a teacher or store reports ends the run at once.

    Args:
        client: From ``connect``. Workers see the same data and store paths as this process.
        root: KITTI raw root.
        store: Path of the store, created already.
        teacher: What to load on the workers, which may have been started in another folder.
        tasks: From ``plan.make_plan``.
        outcome: Receives the counts and failures as tasks finish.
        batch_size: Frames the teacher sees at once.
        locking: As in ``LabelStore.open_for_writing``.
        advance: Called with the number of frames finished, for progress.

    Raises:
        ClusterError: A task lost its worker again and again.
        XDistillError: What the teacher or the store reported on a worker.
    """
    from distributed import as_completed

    same = root.absolute(), store.absolute(), teacher.absolute(), batch_size, locking
    futures = {client.submit(_run_task, task, *same, retries=0, pure=False): task for task in tasks}
    for future in as_completed(futures):
        _merge(outcome, _result(future, futures[future]))
        advance(len(futures[future].frames))


def _result(future: Any, task: Task) -> Outcome:
    from distributed import KilledWorker

    try:
        result = cast(Outcome | XDistillError, future.result())
    except KilledWorker as error:
        raise ClusterError(
            f"the workers died on shard {task.shard} of {task.sequence}",
            expected="workers with enough memory for the teacher",
            remedy="give workers more memory or use fewer; the same command goes on",
        ) from error
    if isinstance(result, XDistillError):
        raise result
    return result


def _merge(outcome: Outcome, part: Outcome) -> None:
    outcome.labelled += part.labelled
    outcome.failures |= part.failures
    outcome.left_to_others += part.left_to_others


def _run_task(
    task: Task,
    root: Path,
    store: Path,
    spec: TeacherSpec,
    batch_size: int,
    locking: Locking,
) -> Outcome | XDistillError:
    """One shard on a worker; an error to report is a result, which Dask logs no traceback of."""
    outcome = Outcome()
    try:
        with _teacher_in_use:
            teacher = _worker_teacher(spec)
            labels = LabelStore.open_for_writing(
                store, teacher=teacher.record, fingerprint=teacher.fingerprint, locking=locking
            )
            segment(
                root, labels, teacher=teacher, tasks=[task], outcome=outcome, batch_size=batch_size
            )
    except XDistillError as error:
        return error
    return outcome


@lru_cache(maxsize=1)
def _worker_teacher(spec: TeacherSpec) -> Teacher:
    """The teacher of this worker process, loaded by its first task under ``_teacher_in_use``."""
    return spec.load()
