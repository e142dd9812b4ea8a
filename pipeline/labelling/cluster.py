"""A labelling on Dask distributed: local processes or an existing cluster."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

from xdistill.manifests.errors import XDistillError
from xdistill.manifests.progress import Advance, unshown, usable_cores
from xdistill.pipeline.labelling.segment import Labelling
from xdistill.pipeline.labelling.shards import Outcome
from xdistill.teachers.choice.spec import TeacherSpec
from xdistill.teachers.protocol import Teacher

CONNECT_TIMEOUT = "30s"
WORKER_DEATHS = 5
"""Dead workers that a shard survives among local processes; it resumes at its last commit. An
existing cluster's scheduler sets its own limit, ``distributed.scheduler.allowed-failures``."""

_teacher_in_use = threading.Lock()
"""One shard at a time in a worker process: not every teacher is thread-safe."""


class ClusterError(XDistillError, RuntimeError):
    """Dask is missing, out of reach, or lost its workers."""


@contextmanager
def connect(at: str | int) -> Iterator[Any]:
    """A Dask client.

    Args:
        at: Address of a running scheduler, or the number of local processes to start.

    Raises:
        ClusterError: Dask is not installed, or no scheduler answers at the address.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError(
            "Dask is not installed",
            expected="the extra `cluster`",
            remedy="run pip install 'xdistill[cluster]'",
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
    """Worker processes that divide this machine's cores."""
    import dask
    from distributed import LocalCluster

    # By default Dask gives numerical libraries one thread a worker. A worker here runs one shard,
    # whose network may use its share of the cores.
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


def label_on(
    client: Any, labelling: Labelling, *, outcome: Outcome, advance: Advance = unshown
) -> None:
    """Label on a cluster; the store ends up the same as by ``Labelling.label``.

    Every worker process loads the teacher once and labels one shard at a time, whatever its
    number of threads. A worker that dies costs at most its shard: Dask gives the shard to another,
    which labels what is not committed yet. An error of the teacher or the store ends the run.

    Args:
        client: From ``connect``. Workers see the same data and store paths as this process.
        labelling: What to label; its store exists.
        outcome: Receives the counts and failures as shards finish.
        advance: Receives the number of frames just finished.

    Raises:
        ClusterError: A shard lost its worker again and again.
        XDistillError: The teacher or the store reported it on a worker.
    """
    from distributed import as_completed

    futures = {
        client.submit(_label_shard, shard, retries=0, pure=False): shard
        for shard in labelling.by_shard()
    }
    for future in as_completed(futures):
        shard = futures[future]
        outcome.add(_result(future, shard))
        advance(shard.frames)
        if outcome.hopeless:
            client.cancel(list(futures))
            break


def _result(future: Any, shard: Labelling) -> Outcome:
    from distributed import KilledWorker

    try:
        result = cast(Outcome | XDistillError, future.result())
    except KilledWorker as error:
        (task,) = shard.tasks
        raise ClusterError(
            f"the workers died on shard {task.shard} of {task.sequence}",
            expected="workers with enough memory for the teacher",
            remedy="give workers more memory or use fewer; the same command resumes",
        ) from error
    if isinstance(result, XDistillError):
        raise result
    return result


def _label_shard(shard: Labelling) -> Outcome | XDistillError:
    """One shard on a worker; an error to report is a result, for which Dask logs no traceback."""
    outcome = Outcome()
    try:
        with _teacher_in_use:
            teacher = _worker_teacher(shard.teacher)
            shard.label(shard.open_store(teacher), teacher, outcome=outcome)
    except XDistillError as error:
        return error
    return outcome


@lru_cache(maxsize=1)
def _worker_teacher(spec: TeacherSpec) -> Teacher:
    """The teacher of this worker process, loaded for its first shard under ``_teacher_in_use``."""
    return spec.load()
