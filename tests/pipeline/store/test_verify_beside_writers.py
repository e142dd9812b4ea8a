"""Verification and repair beside writers at work: nothing of theirs is taken for damage."""

import fcntl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from label_stores import SEQUENCE, frame, new_array, new_store

from xdistill.manifests import disk
from xdistill.pipeline.store import LabelStore, chunks, witness
from xdistill.pipeline.store.repair import repair_metadata
from xdistill.pipeline.store.verify import verify_store


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    """One array with two shards."""
    store = new_store(tmp_path / "s")
    array = new_array(store, length=80)
    for shard, index in ((0, 0), (1, 70)):
        array.write_shard(shard, {index: frame(index)})
    return store


def test_a_writer_that_grows_an_array_is_no_damage(
    store: LabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was read so far, the array grows and a frame is committed at its new end."""
    lengths = [80]
    idle = [True]

    def grow() -> None:
        length = lengths[-1] + 64
        lengths.append(length)
        array = new_array(new_store(store.path), length=length)
        array.write_shard((length - 1) // 64, {length - 1: frame(length)})

    for module, name in ((witness, "read_document"), (chunks, "read_words")):
        real = getattr(module, name)

        def growing(*arguments: Any, real: Callable[..., Any] = real) -> Any:
            if idle and arguments[0].name.startswith("classes"):
                idle.clear()
                grow()
                idle.append(True)
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(module, name, growing)
            report = verify_store(store.path)
        assert report.ok, "\n".join(report.lines())
    assert len(lengths) > 6


def test_what_a_living_writer_owns_is_not_left_over(store: LabelStore) -> None:
    array = store.array(SEQUENCE, "classes")
    other = array.folder / "c.1.0.0.12-0123abcd.partial"
    with array.lease(0) as held:
        assert held
        own = array.folder / "c.0.0.0.12-0123abcd.partial"
        for path in (own, other):
            path.write_bytes(b"x")
        report = verify_store(store.path)
        assert report.orphans == (other,) and not report.strays
    assert set(verify_store(store.path).orphans) == {own, other}


def test_metadata_is_restored_under_its_lock(
    store: LabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (store.path, store.path / "2011_09_26"):
        (folder / "zarr.json").write_bytes(b"x")
    write = disk.write
    busy: dict[Path, bool] = {}

    def watched(path: Path, blocks: Iterable[bytes]) -> None:
        with (store.path / "zarr.json").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                busy[path.parent] = False
            except BlockingIOError:
                busy[path.parent] = True
        write(path, blocks)

    monkeypatch.setattr(disk, "write", watched)
    repair_metadata(store.path, verify_store(store.path))
    # The root's own document is what is locked, and nobody opens a store without it.
    assert busy == {store.path: False, store.path / "2011_09_26": True}
    assert verify_store(store.path).ok
