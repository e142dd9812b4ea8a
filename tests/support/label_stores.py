"""Small label stores, and writer processes on them; importable in worker processes."""

import hashlib
import os
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xdistill.manifests import disk
from xdistill.pipeline.store import SHARD_FRAMES, LabelArray, LabelReader, LabelStore, chunks

SEQUENCE = "2011_09_26/2011_09_26_drive_0013_sync/image_02"
TEACHER = {"kind": "png", "weights": "abc", "size": (4, 6)}
SIZE = (4, 6)


SYNC_S = 0.001
"""What bringing a file to disk takes at least in a writer that is to be killed."""
BETWEEN_COMMIT_AND_DATA_S = 0.2
"""How long the negative control leaves a commit without its data."""
MEMORY = Path("/dev/shm")


def scratch_folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder in memory where that is possible: on a busy disk each fsync waits."""
    usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    return tempfile.TemporaryDirectory(prefix="xd-", dir=MEMORY if usable else None)


def new_store(path: Path) -> LabelStore:
    """A store for the test's teacher."""
    return LabelStore.open_for_writing(path, teacher=TEACHER, fingerprint="f1")


def new_array(
    store: LabelStore, *, length: int = 70, name: str = "classes", size: tuple[int, int] = SIZE
) -> LabelArray:
    """A small array of 19 values."""
    return store.ensure_array(
        SEQUENCE, name, length=length, size=size, values=19, attributes={"table": [1, 2]}
    )


def frame(seed: int, *, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Labels that no other seed gives, a tenth of them ignored."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 19, size, np.uint8)
    labels[rng.random(size) < 0.1] = 255
    return labels


def snapshot(path: Path) -> dict[str, tuple[str, int]]:
    """Digest and time of change of every file."""
    return {
        str(file.relative_to(path)): (
            hashlib.sha256(file.read_bytes()).hexdigest(),
            file.stat().st_mtime_ns,
        )
        for file in path.rglob("*")
        if file.is_file()
    }


class FrameData:
    """Readers as a data set, for worker processes."""

    def __init__(self, sequence: str, items: Sequence[tuple[LabelReader, int]]) -> None:
        self.sequence, self.items = sequence, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int) -> NDArray[np.uint8]:
        reader, index = self.items[position]
        return reader.read(self.sequence, index)


class EagerArray(LabelArray):
    """The negative control: commits before the data is there."""

    def _commit(
        self,
        index: int,
        words: chunks.Words,
        new: Mapping[int, NDArray[np.uint8]],
        *,
        failed: object,
    ) -> None:
        eager = words.copy()
        for slot, labels in new.items():
            eager[slot] = chunks.done_word(labels)
        chunks.write_words(self._words_folder, index, eager)
        # Longer than the rest of the work, so that kills fall here however busy the machine is.
        time.sleep(BETWEEN_COMMIT_AND_DATA_S)
        super()._commit(index, words, new, failed=())


sync = disk._sync


def slow_sync(path: Path) -> None:
    """Bring a file to disk as slowly as a disk does."""
    time.sleep(SYNC_S)
    sync(path)


def write_all(
    path: Path,
    *,
    length: int,
    size: tuple[int, int],
    eager: bool,
    begun: Event | None = None,
) -> None:
    """Label every frame that is not committed, as ``segment`` does; run by several processes."""
    if begun is not None:
        begun.set()
        # Memory is too fast for a kill to hit a file that is not finished.
        disk._sync = slow_sync
    array = new_array(new_store(path), length=length, size=size)
    if eager:
        array.__class__ = EagerArray
    before = set(array.committed())
    for shard in range(-(-length // SHARD_FRAMES)):
        frames = range(shard * SHARD_FRAMES, min(length, (shard + 1) * SHARD_FRAMES))
        if before.issuperset(frames):
            continue
        with array.lease(shard) as held:
            if held:
                committed = array.committed_in(shard)
                todo = [index for index in frames if index not in committed]
                # In two halves, so that a shard is also rewritten.
                for part in (todo[: len(todo) // 2], todo[len(todo) // 2 :]):
                    array.write_shard(shard, {i: frame(i, size=size) for i in part})


def hold_lease(path: Path, parent: Connection, *, forks: bool = False) -> None:
    """Hold shard 0 until a message lets it go; runs in its own process."""
    with new_array(new_store(path)).lease(0) as held:
        # A child of the holder, such as a worker that decodes, may outlive it.
        if forks and os.fork() == 0:
            parent.send(os.getpid())
            signal.pause()
        if not forks:
            parent.send("held" if held else "busy")
        parent.recv()
    parent.send("free")
    parent.recv()
