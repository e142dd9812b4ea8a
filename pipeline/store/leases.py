"""The right to write: kernel locks on shards, what the disk refuses, what a dead writer left.

A lease is a file ``.lease.<shard>`` in the array's folder, where zarr never looks, locked by one
process at a time and removed when the lease ends. The kernel frees the lock of a killed process
at once.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from xdistill.manifests import disk
from xdistill.manifests.disk import NO_LOCKS, close_locked, open_to_lock
from xdistill.pipeline.store.errors import LabelStoreError, NoLocksError
from xdistill.pipeline.store.format import COMMIT_SUFFIX, COUNTS_SUFFIX, DOCUMENT

LEASE_PREFIX = ".lease."
FULL = {errno.ENOSPC, errno.EDQUOT}
PROTECTED = {errno.EROFS, errno.EACCES, errno.EPERM}

Locking = Literal["required", "if available"]


def _bound() -> None:
    """Without a teacher to be bound to."""


class Leases:
    """The leases that one opened store holds; shared by its arrays and their threads."""

    def __init__(self, locking: Locking, *, require_bound: Callable[[], None] = _bound) -> None:
        """Without leases at first.

        Args:
            locking: Whether the file system must have locks.
            require_bound: Raises if the store has meanwhile become another teacher's; called under
                each new lease.
        """
        self._locking = locking
        self._require_bound = require_bound
        self._held: set[tuple[int, Path]] = set()
        self._guard = threading.Lock()

    def holds(self, folder: Path, shard: int) -> bool:
        """Whether this process holds the lease of a shard through this opened store."""
        return (os.getpid(), _lease_path(folder, shard)) in self._held

    @contextmanager
    def lease(self, folder: Path, shard: int) -> Iterator[bool]:
        """Try to lease a shard; yields whether that worked, and never waits.

        Raises:
            LabelStoreError: Locks are required and the file system has none, or it is read-only.
        """
        path = _lease_path(folder, shard)
        key = (os.getpid(), path)
        with self._guard:
            handle = None if key in self._held else self._lock(path)
            if handle is not None:
                self._held.add(key)
        if handle is None:
            yield False
            return
        try:
            self._require_bound()
            yield True
        finally:
            _release(path, handle)
            self._held.discard(key)

    @contextmanager
    def metadata(self, path: Path) -> Iterator[None]:
        """Wait for, and hold, the right to create and grow arrays.

        Args:
            path: The root's own document. It is replaced under this lock, or by a zarr user.

        Raises:
            LabelStoreError: Locks are required and the file system has none, or it is read-only;
                or the store has meanwhile become another teacher's.
        """
        handle = self._lock_current(path)
        try:
            self._require_bound()
            yield
        finally:
            close_locked(handle)

    def _lock_current(self, path: Path) -> int:
        """Wait for the lock on a file, or on the one that has meanwhile taken its name."""
        while True:
            with disk_errors(path):
                handle = open_to_lock(path, os.O_RDWR)
            try:
                self._flock(handle, fcntl.LOCK_EX, path)
            except OSError:
                close_locked(handle)
                raise
            if _is_current(path, handle):
                return handle
            close_locked(handle)

    def _lock(self, path: Path) -> int | None:
        """Lock a lease file; None if another process has it. A handle even without locks."""
        while True:
            with disk_errors(path):
                handle = open_to_lock(path, os.O_RDWR | os.O_CREAT)
            try:
                self._flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, path)
            except BlockingIOError:
                close_locked(handle)
                return None
            except OSError:
                _release(path, handle)
                raise
            if _is_current(path, handle):
                return handle
            # The previous holder removed the file between our opening and our locking it.
            close_locked(handle)

    def _flock(self, handle: int, operation: int, path: Path) -> None:
        try:
            fcntl.flock(handle, operation)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            if self._locking == "required":
                raise NoLocksError(
                    f"the file system has no locks: {error.strerror}",
                    expected="kernel file locks, which keep two writers off one shard",
                    where=path,
                    remedy="divide the work by hand: --part 1/1 for a single process, "
                    "--part i/n for the i-th of n",
                ) from error


def is_held(folder: Path, shard: int) -> bool:
    """Whether some process holds the lease of a shard, as far as a reader can know."""
    try:
        handle = open_to_lock(_lease_path(folder, shard), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        close_locked(handle)
    return False


def _lease_path(folder: Path, shard: int) -> Path:
    return folder / f"{LEASE_PREFIX}{shard}"


def _release(path: Path, handle: int) -> None:
    """Remove the file while it is still locked, then free it."""
    path.unlink(missing_ok=True)
    close_locked(handle)


def _is_current(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Report what the operating system refuses while ``path`` is written.

    Raises:
        LabelStoreError: The disk is full or read-only, or whatever else the system reports.
    """
    try:
        yield
    except LabelStoreError:
        raise
    except OSError as error:
        where = error.filename or path
        if error.errno in FULL:
            raise LabelStoreError(
                f"the disk is full: {error.strerror}",
                expected="room for one more shard",
                where=where,
                remedy="free some space and run the same command again: every frame committed "
                "so far is kept and is not labelled again",
            ) from error
        if error.errno in PROTECTED:
            raise LabelStoreError(
                f"the store is read-only: {error.strerror}",
                expected="a store with write permission",
                where=where,
                remedy="grant write permission, or copy the store to a place where you have it",
            ) from error
        raise LabelStoreError(
            f"the store could not be written: {error.strerror}",
            where=where,
            remedy="check the disk and run the same command again: every committed frame is kept",
        ) from error


def sweep(path: Path, locking: Locking) -> None:
    """Remove what dead writers left in a store and beside it; living writers keep theirs.

    Raises:
        LabelStoreError: The store is read-only; or the file system has no locks to tell the
            living from the dead, and they are required.
    """
    # A store being created this moment under its aside name fails its rename and finds this one.
    for beside in path.absolute().parent.glob(f"*{disk.PARTIAL}"):
        if disk.final_name(beside.name) == path.name:
            disk.discard(beside)
    try:
        _sweep_inside(path, Leases("required"))
    except NoLocksError:
        if locking == "required":
            raise


def _sweep_inside(path: Path, leases: Leases) -> None:
    of_shards: dict[tuple[Path, int], list[Path]] = {}
    of_metadata = []
    for orphan in orphans(path):
        owner = shard_of(orphan)
        if owner is None:
            of_metadata.append(orphan)
        else:
            of_shards.setdefault(owner, []).append(orphan)
    for (folder, shard), files in of_shards.items():
        with leases.lease(folder, shard) as held:
            for orphan in files if held else ():
                disk.discard(orphan)
    if of_metadata:
        with leases.metadata(path / DOCUMENT):
            for orphan in of_metadata:
                disk.discard(orphan)


def orphans(path: Path) -> Iterator[Path]:
    """Unfinished files and folders, and lease files, held or not."""
    for folder, names, files in os.walk(path):
        for name in (*names, *files):
            if is_orphan(name):
                yield Path(folder, name)
        names[:] = [name for name in names if not disk.final_name(name)]


def is_orphan(name: str) -> bool:
    """Whether a file or folder of this name is unfinished, or a lease."""
    return disk.final_name(name) is not None or name.startswith(LEASE_PREFIX)


def shard_of(orphan: Path) -> tuple[Path, int] | None:
    """The label array's folder and the shard whose lease covers this file; None for metadata."""
    name = orphan.name.removeprefix(LEASE_PREFIX).removeprefix("c.")
    if name == orphan.name or not name.split(".")[0].isdecimal():
        return None
    folder = orphan.parent
    array = folder.name.removesuffix(COMMIT_SUFFIX).removesuffix(COUNTS_SUFFIX)
    return folder.with_name(array), int(name.split(".")[0])
