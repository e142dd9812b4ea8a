"""Full and read-only disks, and file systems without locks: a clear message, and nothing lost."""

import errno
import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from label_stores import SEQUENCE, frame, new_array, new_store

from xdistill.manifests import disk
from xdistill.pipeline.store import LabelReader, LabelStore, LabelStoreError, NoLocksError
from xdistill.pipeline.store.verify import verify_store

BIG = (150, 200)
"""Of random labels, so that a shard takes 1 MB."""
SMALL_DISK_BYTES = 4 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A separate file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = f"size={SMALL_DISK_BYTES}"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("mount is not on this machine")
    if done.returncode:
        pytest.skip(f"may not mount a small disk here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> int:
    """Label until done; returns the number of shards."""
    array = new_array(new_store(path), length=64 * 4, size=BIG)
    for shard in range(array.shards):
        array.write_shard(shard, {shard * 64 + i: frame(i, size=BIG) for i in range(64)})
    return array.shards


def test_a_full_disk(small_disk: Path) -> None:
    path = small_disk / "s"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(SMALL_DISK_BYTES // 2))
    with pytest.raises(LabelStoreError, match=r"the disk is full(.*\n)*.*committed so far"):
        fill(path)
    report = verify_store(path)
    assert report.ok and not report.orphans, "what is not finished must not keep the room"
    before = LabelStore.open(path).array(SEQUENCE, "classes").committed()
    assert 0 < len(before) < 64 * 4
    np.testing.assert_array_equal(
        LabelReader(path, "classes").read(SEQUENCE, 5), frame(5, size=BIG)
    )

    ballast.unlink()
    with pytest.raises(LabelStoreError, match="the disk is full"):
        fill(path)
    after = LabelStore.open(path).array(SEQUENCE, "classes").committed()
    assert set(after) > set(before)
    assert verify_store(path).ok


def test_a_disk_mounted_read_only(small_disk: Path) -> None:
    path = small_disk / "s"
    new_array(new_store(path)).write_shard(0, {0: frame(0)})
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True, capture_output=True)
    np.testing.assert_array_equal(LabelReader(path, "classes").read(SEQUENCE, 0), frame(0))
    assert verify_store(path).ok
    store = new_store(path)
    array = new_array(store)
    with pytest.raises(LabelStoreError, match="the store is read-only"):
        array.write_shard(0, {1: frame(1)})
    with pytest.raises(LabelStoreError, match="the store is read-only"):
        new_array(store, length=500)
    with pytest.raises(LabelStoreError, match="the store is read-only"):
        new_store(small_disk / "another")


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EROFS, "the store is read-only"),
        (errno.EIO, "could not be written"),
    ],
)
@pytest.mark.parametrize("operation", ["_store", "_sync", "_rename"])
def test_an_error_at_every_operation(
    tmp_path: Path,
    operation: str,
    number: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    array = new_array(new_store(tmp_path / "s"))
    array.write_shard(0, {0: frame(0)})
    real = getattr(disk, operation)
    done = False
    for failing in range(20):
        calls = [0]

        def limited(*arguments: object, calls: list[int] = calls, at: int = failing) -> None:
            calls[0] += 1
            if calls[0] - 1 == at:
                raise OSError(number, os.strerror(number))
            real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(disk, operation, limited)
            try:
                array.write_shard(0, {1: frame(1)})
                done = True
            except LabelStoreError as error:
                assert message in str(error)
        report = verify_store(tmp_path / "s")
        assert report.ok and not report.orphans
        np.testing.assert_array_equal(array.read(0), frame(0))
        if done or 1 in array.committed():
            break
    assert failing, "the first operation never failed"
    array.write_shard(0, {1: frame(1)})
    np.testing.assert_array_equal(array.read(1), frame(1))


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What some network file systems answer."""

    def flock(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_file_system_without_locks(tmp_path: Path, no_locks: None) -> None:
    with pytest.raises(NoLocksError, match=r"no locks: (.*\n)*.*--part"):
        new_array(new_store(tmp_path / "s"))


def test_work_divided_by_hand_needs_no_locks(tmp_path: Path, no_locks: None) -> None:
    store = LabelStore.open_for_writing(
        tmp_path / "s", teacher={}, fingerprint="f1", locking="if available"
    )
    array = new_array(store)
    # Without locks nobody can tell whether these are a dead writer's.
    left = array.folder / "c.1.0.0.12-0123abcd.partial"
    left.write_bytes(b"x")
    LabelStore.open_for_writing(
        tmp_path / "s", teacher={}, fingerprint="f1", locking="if available"
    )
    assert left.exists()
    with array.lease(0) as held:
        assert held
        array.write_shard(0, {0: frame(0)})
    np.testing.assert_array_equal(array.read(0), frame(0))
    with pytest.raises(NoLocksError):
        new_store(tmp_path / "s")
