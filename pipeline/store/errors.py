"""What can be wrong with a label store, and what the operating system says of its files."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xdistill.manifests.errors import XDistillError

REPAIR = "run xd-pipeline verify --store S --repair to find what is damaged and redo only that"
FULL = {errno.ENOSPC, errno.EDQUOT}
PROTECTED = {errno.EROFS, errno.EACCES, errno.EPERM}


class LabelStoreError(XDistillError, OSError):
    """A label store that cannot be used as asked: absent, foreign, damaged, full or read-only."""


class CorruptLabelsError(LabelStoreError):
    """Bytes of a store that do not match their checksum."""


class UncommittedFrameError(LabelStoreError):
    """A frame asked for that has no labels yet."""


class NoLocksError(LabelStoreError):
    """A file system that cannot keep two writers off one shard."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell what the operating system refused while ``path`` was written.

    Raises:
        LabelStoreError: Disk full, read-only, or whatever else the system reports.
    """
    try:
        yield
    except LabelStoreError:
        raise
    except OSError as error:
        where = error.filename or path
        if error.errno in FULL:
            raise LabelStoreError(
                f"no room left on the disk: {error.strerror}",
                expected="room for one more shard",
                where=where,
                remedy="make room and run the same command again: every frame committed so far "
                "is kept and is not done again",
            ) from error
        if error.errno in PROTECTED:
            raise LabelStoreError(
                f"the store is read-only: {error.strerror}",
                expected="a store that may be written",
                where=where,
                remedy="give write permission, or copy the store to where you have it",
            ) from error
        raise LabelStoreError(
            f"the store could not be written: {error.strerror}",
            where=where,
            remedy="see to the disk and run the same command again: what is committed is kept",
        ) from error
