"""Readers: deaf to signals, gone with their trainer, never waited for without end."""

import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from torch.utils.data import _utils
from training_tree import DRIVE, FRAMES

from xdistill.pipeline.kitti.frames import Frame
from xdistill.train.data import readers
from xdistill.train.data.dataset import Batch, TripletDataset, plain_keys
from xdistill.train.data.readers import (
    ReaderError,
    needed_shared_memory,
    read_batches,
    shared_memory_is_short,
)
from xdistill.train.recipe.recipe import Recipe

CPU = torch.device("cpu")
TARGETS = [Frame(DRIVE, index, "l") for index in range(1, FRAMES - 1)]
RECIPE = Recipe(name="test", width=96, height=64, num_workers=1, batch_size=2)


@pytest.fixture
def dataset(data: Path) -> TripletDataset:
    return TripletDataset(data, TARGETS, recipe=RECIPE, labels=None)


def batches(dataset: TripletDataset) -> Iterator[Batch]:
    return read_batches(dataset, plain_keys(8, batch_size=1), device=CPU)


def ends(pid: int) -> bool:
    """Whether a process that is no child of this one ends within some seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            # A zombie, whom nobody has waited for, has ended too.
            if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z"):
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_readers_leave_signals_to_the_trainer(dataset: TripletDataset, name: str) -> None:
    found = batches(dataset)
    read = [next(found)]
    (reader,) = multiprocessing.active_children()
    # From another process, as a batch system or a shell does it.
    subprocess.run(["kill", f"-{name}", str(reader.pid)], check=True)
    read += found
    assert [batch.frames for batch in read] == [(str(frame),) for frame in TARGETS]
    assert not reader.is_alive()


def test_readers_end_at_once_when_the_trainer_stops_early(dataset: TripletDataset) -> None:
    start = time.monotonic()
    with closing(read_batches(dataset, plain_keys(8, batch_size=1), device=CPU)) as found:
        next(found)
    assert multiprocessing.active_children() == [] and time.monotonic() - start < 5


def train_until_killed(dataset: TripletDataset, told: Connection) -> None:
    found = batches(dataset)
    next(found)
    told.send([child.pid for child in multiprocessing.active_children()])
    signal.pause()


@pytest.mark.slow
def test_readers_do_not_outlive_a_trainer_that_is_killed(dataset: TripletDataset) -> None:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    trainer = context.Process(target=train_until_killed, args=(dataset, there))
    trainer.start()
    (reader,) = here.recv()
    trainer.kill()
    trainer.join()
    assert ends(reader)


class Stuck(TripletDataset):
    """A disk that does not answer."""

    def __getitem__(self, key: object) -> Batch:
        time.sleep(600)
        raise AssertionError


@pytest.mark.slow
def test_a_reader_that_does_not_answer_is_reported_and_ended(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "PATIENCE_S", 0.5)
    # What PyTorch waits before it ends one that does not listen.
    monkeypatch.setattr(_utils, "MP_STATUS_CHECK_INTERVAL", 0.5)
    with pytest.raises(ReaderError, match=r"no batch came for 0\.5 s(?s:.*)num_workers=0"):
        list(batches(Stuck(data, TARGETS, recipe=RECIPE, labels=None)))
    assert multiprocessing.active_children() == []


def test_a_reader_that_dies_is_reported(dataset: TripletDataset) -> None:
    found = batches(dataset)
    with pytest.raises(ReaderError, match=r"a process that reads images died(?s:.*)--resume"):
        next(found)
        (reader,) = multiprocessing.active_children()
        os.kill(reader.pid or 0, signal.SIGKILL)
        list(found)
    assert multiprocessing.active_children() == []


def test_a_defect_in_a_reader_keeps_its_traceback(data: Path) -> None:
    class Defect(TripletDataset):
        def __getitem__(self, key: object) -> Batch:
            raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="Caught RuntimeError in DataLoader worker") as caught:
        list(batches(Defect(data, TARGETS, recipe=RECIPE, labels=None)))
    assert not isinstance(caught.value, ReaderError)


def test_where_shared_memory_is_short_batches_come_without_it(
    dataset: TripletDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = list(batches(dataset))
    assert all(batch.originals.is_shared() for batch in shared)
    monkeypatch.setattr(readers, "free_shared_memory", lambda: needed_shared_memory(RECIPE) - 1)
    assert shared_memory_is_short(RECIPE)
    plain = list(batches(dataset))
    for first, second in zip(shared, plain, strict=True):
        assert not second.originals.is_shared() and not second.intrinsics.is_shared()
        assert torch.equal(first.originals, second.originals)
        assert torch.equal(first.intrinsics, second.intrinsics)


def test_needed_shared_memory_is_that_of_the_batches_under_way(
    dataset: TripletDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A triplet has six images of three channels and a label map; one batch more is in use."""
    monkeypatch.setattr(readers, "usable_cores", lambda: 4)
    published = Recipe(name="test", num_workers=2)
    assert needed_shared_memory(published) == 12 * 640 * 192 * (6 * 3 + 1) * (2 * 2 + 1)
    assert needed_shared_memory(replace(published, num_workers=0)) == 0
    monkeypatch.setattr(readers, "SHARED_MEMORY", "/absent")
    assert shared_memory_is_short(published)
    assert not shared_memory_is_short(replace(published, num_workers=0))


def test_a_system_that_gives_no_processes_is_reported(
    dataset: TripletDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*values: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(multiprocessing, "Lock", refuse)
    with pytest.raises(ReaderError, match=r"No space left(?s:.*)num_workers=0"):
        next(batches(dataset))
