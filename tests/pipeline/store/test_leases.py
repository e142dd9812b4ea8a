"""One writer a shard: leases, and what is swept when a writer is gone."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from label_stores import SEQUENCE, TEACHER, frame, hold_lease, new_array, new_store

from xdistill.pipeline.store import LabelStore, LabelStoreError, leases

Holder = tuple[ForkServerProcess, Connection]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    """Another process that holds shard 0; it lets go on a message, or when killed."""
    new_array(new_store(tmp_path / "s"))
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe()
    process = context.Process(target=hold_lease, args=(tmp_path / "s", there))
    process.start()
    assert here.recv() == "held"
    yield process, here
    process.kill()
    process.join()


def test_a_lease_keeps_others_off(tmp_path: Path) -> None:
    array, other = new_array(new_store(tmp_path / "s")), new_array(new_store(tmp_path / "s"))
    with array.lease(0) as held:
        assert held
        with other.lease(0) as again, other.lease(1) as beside:
            assert not again and beside
        with pytest.raises(LabelStoreError, match="another process is writing shard 0"):
            other.write_shard(0, {0: frame(0)})
        array.write_shard(0, {0: frame(0)})
    with other.lease(0) as held:
        assert held
    assert not list((tmp_path / "s").rglob(".lease*"))


def test_a_lease_is_of_the_opened_store(tmp_path: Path) -> None:
    store = new_store(tmp_path / "s")
    with new_array(store).lease(0) as held, new_array(store).lease(0) as again:
        assert held and not again
        writer = threading.Thread(
            target=new_array(store).write_shard, args=(0, {0: frame(0)}), name="writer"
        )
        writer.start()
        writer.join()
        assert new_array(store).committed() == [0]


def test_a_lease_of_another_process(tmp_path: Path, holder: Holder) -> None:
    array = new_array(new_store(tmp_path / "s"))
    with array.lease(0) as held:
        assert not held
    holder[1].send("let go")
    assert holder[1].recv() == "free"
    with array.lease(0) as held:
        assert held


def test_a_killed_holder_frees_its_lease_at_once(tmp_path: Path, holder: Holder) -> None:
    array = new_array(new_store(tmp_path / "s"))
    holder[0].kill()
    holder[0].join()
    with array.lease(0) as held:
        assert held


def test_the_sweep_spares_what_is_held(tmp_path: Path, holder: Holder) -> None:
    folder = tmp_path / "s" / SEQUENCE
    living = [
        folder / "classes" / "c.0.0.0.12-0123abcd.partial",
        folder / "classes_commit" / "c.0.12-0123abcd.partial",
        folder / "classes_counts" / "c.0.0.12-0123abcd.partial",
    ]
    dead = [
        folder / "classes" / "c.1.0.0.12-0123abcd.partial",
        folder / "classes" / "zarr.json.12-0123abcd.partial",
        folder / "classes" / ".lease.1",
        tmp_path / "s.12-0123abcd.partial" / "zarr.json",
        tmp_path / "s" / "2011_09_28.12-0123abcd.partial" / "zarr.json",
    ]
    for path in living + dead:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    others = [tmp_path / "s2.12-0123abcd.partial", tmp_path / "s.old.12-0123abcd.partial"]
    for path in others:
        path.write_bytes(b"x")
    new_store(tmp_path / "s")
    assert all(path.exists() for path in living)
    assert not any(
        path.exists() or path.parent.name.endswith("partial") and path.parent.exists()
        for path in dead
    )
    assert all(path.exists() for path in others)
    holder[1].send("let go")
    assert holder[1].recv() == "free"
    new_store(tmp_path / "s")
    assert not any(path.exists() for path in living)


def test_a_child_of_a_killed_holder_does_not_keep_its_lease(tmp_path: Path) -> None:
    array = new_array(new_store(tmp_path / "s"))
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe()
    holder = context.Process(
        target=hold_lease, args=(tmp_path / "s", there), kwargs={"forks": True}
    )
    holder.start()
    child = here.recv()
    try:
        with array.lease(0) as held:
            assert not held
        holder.kill()
        holder.join()
        with array.lease(0) as held:
            assert held
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_lease_file_removed_by_the_holder_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder before lets go between our opening of its file and our locking of it."""
    array, other = new_array(new_store(tmp_path / "s")), new_array(new_store(tmp_path / "s"))
    opened = leases.open_to_lock

    def late(path: Path, flags: int) -> int:
        handle = opened(path, flags)
        monkeypatch.setattr(leases, "open_to_lock", opened)
        path.unlink()
        return handle

    monkeypatch.setattr(leases, "open_to_lock", late)
    with array.lease(0) as held, other.lease(0) as again:
        assert held and not again


def test_two_processes_create_one_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower of two creators finds the other's store and uses it."""
    from xdistill.manifests import disk

    rename = disk._rename

    def beaten(source: Path, target: Path) -> None:
        monkeypatch.setattr(disk, "_rename", rename)
        new_array(new_store(tmp_path / "s")).write_shard(0, {0: frame(0)})
        rename(source, target)

    monkeypatch.setattr(disk, "_rename", beaten)
    store = LabelStore.open_for_writing(tmp_path / "s", teacher=TEACHER, fingerprint="f1")
    assert store.array(SEQUENCE, "classes").committed() == [0]
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
