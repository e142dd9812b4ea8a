"""Leases: a kernel lock per shard, so that one process at a time writes it.

The kernel frees the lock of a killed process at once. A lease is a file ``.lease.<shard>`` in the
array's folder, where zarr never looks; it goes when the lease ends.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from xdistill.pipeline.store.errors import NoLocksError, writing

LEASE_PREFIX = ".lease."
UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""What file systems without locks answer."""

Locking = Literal["required", "if available"]

_open_handles: set[int] = set()


def _forget_inherited() -> None:
    """A forked child must not keep its parent's locks alive after the parent was killed."""
    for handle in _open_handles:
        os.close(handle)
    _open_handles.clear()


os.register_at_fork(after_in_child=_forget_inherited)


class Leases:
    """The leases that one opened store holds; shared by its arrays and their threads."""

    def __init__(self, locking: Locking) -> None:
        self._locking = locking
        self._held: set[tuple[int, Path]] = set()
        self._guard = threading.Lock()

    def holds(self, folder: Path, shard: int) -> bool:
        """Whether this process holds the lease of a shard through this opened store."""
        return (os.getpid(), _lease_path(folder, shard)) in self._held

    @contextmanager
    def lease(self, folder: Path, shard: int) -> Iterator[bool]:
        """Try to get a shard for oneself; yields whether that worked, and never waits.

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
            yield True
        finally:
            _release(path, handle)
            self._held.discard(key)

    @contextmanager
    def metadata(self, path: Path) -> Iterator[None]:
        """Wait for, and hold, the right to create and to grow arrays.

        Args:
            path: The root's own document, which is never replaced while a store is in use.

        Raises:
            LabelStoreError: Locks are required and the file system has none, or it is read-only.
        """
        with writing(path):
            handle = _open(path, os.O_RDWR)
        try:
            self._flock(handle, fcntl.LOCK_EX, path)
            yield
        finally:
            _close(handle)

    def _lock(self, path: Path) -> int | None:
        """Lock a lease file; None if another process has it. A handle even without locks."""
        while True:
            with writing(path):
                handle = _open(path, os.O_RDWR | os.O_CREAT)
            try:
                self._flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, path)
            except BlockingIOError:
                _close(handle)
                return None
            except OSError:
                _release(path, handle)
                raise
            if _is_current(path, handle):
                return handle
            # The holder before removed the file between our opening and our locking it.
            _close(handle)

    def _flock(self, handle: int, operation: int, path: Path) -> None:
        try:
            fcntl.flock(handle, operation)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno not in UNSUPPORTED:
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
    """Whether some process holds the lease of a shard, as far as is known without writing."""
    try:
        handle = _open(_lease_path(folder, shard), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        _close(handle)
    return False


def _lease_path(folder: Path, shard: int) -> Path:
    return folder / f"{LEASE_PREFIX}{shard}"


def _open(path: Path, flags: int) -> int:
    handle = os.open(path, flags, 0o666)
    _open_handles.add(handle)
    return handle


def _close(handle: int) -> None:
    _open_handles.discard(handle)
    os.close(handle)


def _release(path: Path, handle: int) -> None:
    """Remove the file while it is still locked, then free it."""
    path.unlink(missing_ok=True)
    _close(handle)


def _is_current(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
