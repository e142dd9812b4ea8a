"""kill -9 at random moments: nothing committed is lost, nothing is half done, nothing is wrong."""

import multiprocessing
import random
import re
import signal
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pytest
from label_stores import SEQUENCE, frame, write_all

from xdistill.pipeline.store import LabelStore
from xdistill.pipeline.store.verify import verify_store

pytestmark = pytest.mark.slow

LENGTH = 64 * 1000
"""More frames than the writers can do before the last kill."""
SIZE = (24, 80)
KILLS = 30
WRITERS = 2
LONGEST_LIFE_S = 0.1
LOST = re.compile("missing from its shard|no shard file")
"""What verification says of a frame that is committed without its pixels."""


def start(path: Path, *, eager: bool) -> ForkServerProcess:
    """A writer at work, forked from a server that has imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["numpy.random", "xdistill.pipeline.store"])
    begun = context.Event()
    arguments = {"length": LENGTH, "size": SIZE, "eager": eager, "begun": begun}
    writer = context.Process(target=write_all, args=(path,), kwargs=arguments)
    writer.start()
    assert begun.wait(60)
    return writer


def committed_frames(path: Path) -> set[int]:
    """Frames that the store says it has."""
    store = LabelStore.open(path) if path.exists() else None
    if store is None or not store.has(SEQUENCE, "classes"):
        return set()
    return set(store.array(SEQUENCE, "classes").committed())


def check(path: Path) -> None:
    """Everything there is, is right."""
    report = verify_store(path)
    assert report.ok, "\n".join(report.lines())
    array = LabelStore.open(path).array(SEQUENCE, "classes")
    for index in committed_frames(path):
        np.testing.assert_array_equal(array.read(index), frame(index, size=SIZE))


def kill_at_random(path: Path, *, eager: bool) -> int:
    """Kill a random one of two writers 30 times; returns how often that left unfinished files."""
    chance = random.Random(4)
    writers = [start(path, eager=eager) for _ in range(WRITERS)]
    committed: set[int] = set()
    torn = 0
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.0, LONGEST_LIFE_S))
        victim = writers.pop(chance.randrange(WRITERS))
        victim.kill()
        victim.join()
        if victim.exitcode != -signal.SIGKILL:
            # The negative control stops by itself on what it broke before: that is enough.
            assert eager, "the writer had finished"
            break
        torn += any(path.rglob("*.partial"))
        assert committed <= (committed := committed_frames(path))
        writers.append(start(path, eager=eager))
    for writer in writers:
        writer.kill()
        writer.join()
    return torn


def test_thirty_kills_with_two_writers(tmp_path: Path) -> None:
    torn = kill_at_random(tmp_path / "s", eager=False)
    check(tmp_path / "s")
    committed = committed_frames(tmp_path / "s")
    print(f"{len(committed)} frames after {KILLS} kills, {torn} left unfinished files")
    assert torn and committed
    length = max(committed) + 65
    write_all(tmp_path / "s", length=length, size=SIZE, eager=False)
    check(tmp_path / "s")
    assert committed_frames(tmp_path / "s") == set(range(length))
    assert not verify_store(tmp_path / "s").orphans


def test_commit_before_data_would_be_found(tmp_path: Path) -> None:
    kill_at_random(tmp_path / "s", eager=True)
    with pytest.raises(AssertionError, match=LOST):
        check(tmp_path / "s")
