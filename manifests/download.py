"""Published files by address and sha256: downloaded once into the cache folder, resumable."""

import fcntl
import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from xdistill.manifests import environment
from xdistill.manifests.disk import PathError, as_path
from xdistill.manifests.errors import FetchError
from xdistill.manifests.progress import Advance, unshown

BLOCK_BYTES = 1 << 20
TIMEOUT_S = 30.0

Watch: TypeAlias = Callable[[int, int | None], AbstractContextManager[Advance]]
"""Called with the bytes already present and those of the whole file (None if the server does not
say); what its context gives is then called with the number of bytes of each block.
"""


@contextmanager
def unwatched(done: int, total: int | None) -> Iterator[Advance]:
    """A ``Watch`` that shows nothing."""
    yield unshown


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
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(
    address: str,
    target: Path,
    *,
    sha256: str | None,
    record: Path | None = None,
    watch: Watch = unwatched,
) -> Path:
    """Return ``target``, downloading it from ``address`` if it is missing.

    An interrupted download leaves ``<target>.part``, and the next call resumes it. The file takes
    its name only after its checksum was verified. Of several processes that want the same file,
    one downloads it while the others wait; ``<target>.lock`` stays behind.

    Args:
        address: Where the file is published (http, https or file).
        target: Where it belongs on this machine.
        sha256: The expected digest; None accepts any and prints the one found, to be recorded.
        record: The file on this machine that ``sha256`` was read from, unless it is published;
            named when the digests differ, as the record itself may be of a wrong file.
        watch: Follows a download, to show its progress; not called without one.

    Raises:
        FetchError: The network or the folder is not available, the download is incomplete, or
            the sha256 differs.
    """
    if not target.is_file():
        with locked(target):
            # Another process may have downloaded it while this one waited for the lock.
            if not target.is_file():
                part = target.with_name(target.name + ".part")
                _download(address, part, target, watch)
                _check(part, sha256, address, record)
                os.replace(part, target)
                if sha256 is None:
                    digest = sha256_of(target)
                    print(f"{target.name}: sha256 {digest} (recorded none)", file=sys.stderr)
                return target
    _check(target, sha256, address, record)
    return target


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
        raise _unusable(target.parent, error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise _unusable(target.parent, error) from error
        yield
    finally:
        os.close(lock)


def _unusable(folder: Path, error: OSError) -> FetchError:
    return FetchError(
        f"the folder for downloads cannot be created, written or locked ({error.strerror})",
        where=folder,
        remedy="set XDISTILL_CACHE to a writable folder on a disk with file locks",
    )


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


def _download(address: str, part: Path, target: Path, watch: Watch) -> None:
    offset = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address)
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            # A server that ignores Range sends the whole file: start over.
            resumed = getattr(answer, "status", None) == 206
            expected = _receive(answer, part, done=offset if resumed else 0, watch=watch)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and offset:
            # Nothing is left to send: the part is complete, or else not of this file.
            if error.headers.get("Content-Range") == f"bytes */{offset}":
                return
            part.unlink()
            return _download(address, part, target, watch)
        raise _unavailable(address, target, str(error)) from error
    except (OSError, http.client.HTTPException) as error:
        # Some of http.client's exceptions have no text.
        reason = str(error) or type(error).__name__
        raise _unavailable(address, target, reason) from error
    size = part.stat().st_size
    if expected and size != expected:
        raise FetchError(
            f"the download stopped at {size} of {expected} bytes",
            expected="the whole file",
            where=part,
            remedy="run again: the download resumes where it stopped",
        )


def _receive(answer: Any, part: Path, *, done: int, watch: Watch) -> int | None:
    """Append an answer to the part's first bytes; returns the size of the whole file, if known."""
    length = int(answer.headers.get("Content-Length") or 0)
    expected = done + length if length else None
    with watch(done, expected) as advance, part.open("ab" if done else "wb") as file:
        # read1, as read would lose the received part of an answer's last block.
        while block := answer.read1(BLOCK_BYTES):
            file.write(block)
            advance(len(block))
    return expected


def _unavailable(address: str, target: Path, reason: str) -> FetchError:
    return FetchError(
        f"{target.name} is not on this machine and could not be downloaded ({reason})",
        expected=f"the file published at {address}",
        where=target,
        remedy="run again (the part received so far is kept), or download it on a machine with a "
        f"network and put it at {target}",
    )
