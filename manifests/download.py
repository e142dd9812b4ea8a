"""Published files by address and sha256: downloaded once into the cache folder, resumable."""

import fcntl
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from xdistill.manifests import environment, transfer
from xdistill.manifests.disk import PathError, as_path, open_regular
from xdistill.manifests.errors import FetchError
from xdistill.manifests.origin import TransferError
from xdistill.manifests.transfer import Watch, unusable, unwatched


def cache_folder() -> Path:
    """The folder for downloaded and derived files: XDISTILL_CACHE, else ``~/.cache/xdistill``.

    Raises:
        FetchError: None of these is known, as for a container's user without a home.
    """
    try:
        configured = environment.folder(environment.CACHE)
        if configured:
            return configured
        return (environment.folder("XDG_CACHE_HOME") or as_path("~/.cache")) / "xdistill"
    except PathError as error:
        raise FetchError(
            "there is no folder to keep downloaded and derived files in: no home folder is known",
            expected=f"{environment.CACHE} or HOME in the environment",
            remedy=f"set {environment.CACHE} to a folder that can be written",
        ) from error


def sha256_of(path: Path) -> str:
    """The file's sha256 in hexadecimal, read in blocks."""
    with os.fdopen(open_regular(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unchecked(path: Path) -> None:
    """Accept any file."""


def fetch(
    address: str,
    target: Path,
    *,
    sha256: str | None,
    record: Path | None = None,
    check: Callable[[Path], object] = unchecked,
    watch: Watch = unwatched,
) -> Path:
    """Return ``target``, downloading it from ``address`` if it is missing.

    An interrupted download leaves ``<target>.part``, and the next call resumes it, unless the
    published file has changed. The file takes its name only after it was verified. Of several
    processes that want the same file, one downloads it while the others wait; ``<target>.lock``
    stays behind.

    Args:
        address: Where the file is published (http, https or file).
        target: Where it belongs on this machine.
        sha256: The expected digest; None accepts any and prints the one found, to be recorded.
        record: The file on this machine that ``sha256`` was read from, unless it is published;
            named when the digests differ, as the record itself may be of a wrong file.
        check: Raises FetchError if a file is not what was wanted.
        watch: Follows a download, to show its progress; not called without one.

    Raises:
        FetchError: The network or the folder is not available, the download is incomplete, or
            the file is not the one wanted.
    """

    def verify(path: Path) -> None:
        _check(path, sha256, address, record)
        check(path)

    if not target.is_file():
        with locked(target):
            # Another process may have downloaded it while this one waited for the lock.
            if not target.is_file():
                part = target.with_name(f"{target.name}.part")
                try:
                    _download(address, part, sha256=sha256, verify=verify, watch=watch)
                except TransferError as error:
                    raise _unavailable(address, target, str(error)) from error
                transfer.settle(part, target)
                if sha256 is None:
                    digest = sha256_of(target)
                    print(f"{target.name}: sha256 {digest} (recorded none)", file=sys.stderr)
                return target
    verify(target)
    return target


def _download(
    address: str, part: Path, *, sha256: str | None, verify: Callable[[Path], None], watch: Watch
) -> None:
    """A verified file in ``part``; one that was continued and is wrong is begun again, once."""
    continued = transfer.receive(address, part, verified=sha256 is not None, watch=watch)
    try:
        verify(part)
    except FetchError:
        if not continued:
            raise
        transfer.discard(part)
        transfer.receive(address, part, verified=sha256 is not None, watch=watch)
        verify(part)


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold ``<target>.lock``, in a folder that is created if need be.

    Raises:
        FetchError: The folder cannot be created, or its disk has no locks.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(target.with_name(target.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise unusable(target.parent, error.strerror) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise unusable(target.parent, error.strerror) from error
        yield
    finally:
        os.close(lock)


def _check(path: Path, sha256: str | None, address: str, record: Path | None) -> None:
    found = sha256_of(path)
    if sha256 is not None and found != sha256:
        doubt = f"; if the recorded sha256 is of a wrong file, move {record} away too"
        raise FetchError(
            f"the file has sha256 {found}",
            expected=f"sha256 {sha256}",
            where=path,
            remedy=f"move this file away and run again, or replace it with the one from {address}"
            + (doubt if record else ""),
        )


def _unavailable(address: str, target: Path, reason: str) -> FetchError:
    return FetchError(
        f"{target.name} is not on this machine and could not be downloaded ({reason})",
        expected=f"the file published at {address}",
        where=target,
        remedy="run again (the part received so far is kept), or download it on a machine with a "
        f"network and put it at {target}",
    )
