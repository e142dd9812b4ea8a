"""One published file over HTTP, received into a part that a later call goes on with.

What the server says of the file is kept beside the part. A part is continued only with bytes of the
same file: a mixture of two versions would look whole.
"""

import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from xdistill.manifests import disk
from xdistill.manifests.errors import FetchError
from xdistill.manifests.origin import (
    Origin,
    TransferError,
    continues,
    length_of,
    origin_of,
    status_of,
)
from xdistill.manifests.progress import Advance, unshown

BLOCK_BYTES = 1 << 20
TIMEOUT_S = 30.0
"""Without a byte for so long, a connection has stalled."""
PACE_S, PACE_BYTES = 60.0, 1 << 14
"""A connection that brings fewer bytes in this time has stalled too."""
PAGE = re.compile(rb"\s*(<!--|<\?xml|<!doctype html|<html)", re.IGNORECASE)
"""How a web page begins, which some servers send in place of a file."""

Watch: TypeAlias = Callable[[int, int | None], AbstractContextManager[Advance]]
"""Called with the bytes already present and those of the whole file (None if the server does not
say); what its context gives is then called with the number of bytes of each block.
"""


@contextmanager
def unwatched(done: int, total: int | None) -> Iterator[Advance]:
    """A ``Watch`` that shows nothing."""
    yield unshown


def receive(address: str, part: Path, *, verified: bool, watch: Watch = unwatched) -> bool:
    """Download a file, or what its part lacks.

    Args:
        address: Where the file is published (http, https or file).
        part: Where it is received; what the server says of it is kept beside it.
        verified: Whether a digest is compared afterwards, so that the rest may be asked of a server
            that does not tell one version of a file from another.
        watch: Follows the download.

    Returns:
        Whether earlier bytes were continued.

    Raises:
        TransferError: The file is not available, or its download is incomplete.
        FetchError: The part cannot be written.
    """
    offset = _resumable(address, part, verified=verified)
    before = _kept(part, address)
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    if offset and before and before.validator:
        headers["If-Range"] = before.validator
    try:
        with _asked(address, headers) as answer:
            found = origin_of(answer, address)
            continued = status_of(answer) == 206
            if not continued or (offset and continues(answer, found, before, offset=offset)):
                _append(answer, part, found, done=offset if continued else 0, watch=watch)
                return continued
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or not offset:
            raise TransferError(str(error)) from error
        # Nothing is left to send: the part is whole, or else not of this file.
        if error.headers.get("Content-Range") == f"bytes */{offset}":
            return True
    if not offset:
        raise TransferError("the server sent a part of the file in place of all of it")
    discard(part)
    return receive(address, part, verified=verified, watch=watch)


def discard(part: Path) -> None:
    """Remove a part, and what is known of it."""
    for path in (part, _beside(part)):
        path.unlink(missing_ok=True)


def settle(part: Path, target: Path) -> None:
    """Give a whole part its name."""
    os.replace(part, target)
    _beside(part).unlink(missing_ok=True)


def _beside(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _kept(part: Path, address: str) -> Origin | None:
    """What this server said when the part was begun; None if that is not known."""
    try:
        kept = Origin(**json.loads(disk.read_bytes(_beside(part))))
    except (OSError, ValueError, TypeError):
        return None
    return kept if kept.address == address else None


def _resumable(address: str, part: Path, *, verified: bool) -> int:
    """Bytes of the part that may be continued."""
    before = _kept(part, address)
    told = before is not None and before.validator is not None
    return part.stat().st_size if part.exists() and (told or verified) else 0


@contextmanager
def _asked(address: str, headers: Mapping[str, str]) -> Iterator[Any]:
    """The server's answer; what the network does becomes a TransferError."""
    try:
        request = urllib.request.Request(address, headers=dict(headers))
        if request.type == "file":
            os.close(disk.open_regular(Path(urllib.request.url2pathname(request.selector))))
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            if status_of(answer) not in (200, 206):
                raise TransferError(f"the server answers {status_of(answer)}")
            yield answer
    except (urllib.error.HTTPError, FetchError):
        raise
    # urllib has ValueError for an address that is none.
    except (OSError, http.client.HTTPException, ValueError) as error:
        # Some of http.client's exceptions have no text.
        raise TransferError(str(error) or type(error).__name__) from error


def _append(answer: Any, part: Path, found: Origin, *, done: int, watch: Watch) -> None:
    """Receive an answer behind the part's first bytes."""
    length = length_of(answer)
    expected = found.size if length is None else done + length
    _require_room(part, (expected or 0) - done)
    with watch(done, expected) as advance, _open(part, found, done=done) as write:
        for number, block in enumerate(_blocks(answer)):
            if not done and not number and PAGE.match(block):
                raise TransferError("the server sent a web page in place of the file")
            write(block)
            advance(len(block))
    size = part.stat().st_size
    if not size:
        raise TransferError("the server sent an empty file")
    if expected is not None and size != expected:
        raise TransferError(f"the download stopped at {size} of {expected} bytes")


def _blocks(answer: Any) -> Iterator[bytes]:
    """The blocks of an answer, for as long as they keep a pace."""
    since, received = time.monotonic(), 0
    # read1, as read would lose the received part of an answer's last block.
    while block := answer.read1(BLOCK_BYTES):
        yield block
        received += len(block)
        if (now := time.monotonic()) - since > PACE_S:
            if received < PACE_BYTES:
                raise TransferError(f"the connection brought {received} bytes in {PACE_S:g} s")
            since, received = now, 0


@contextmanager
def _open(part: Path, found: Origin, *, done: int) -> Iterator[Callable[[bytes], object]]:
    """The part, to write blocks to; what was refused by the disk is not the network's fault."""

    def write(block: bytes) -> None:
        with _on_disk(part):
            view = memoryview(block)
            while view:
                view = view[file.write(view) :]

    with _on_disk(part):
        file = part.open("ab" if done else "wb", buffering=0)
    with file:
        if not done:
            # Once the part is empty: what is kept is then never of other bytes.
            with _on_disk(part):
                text = json.dumps(asdict(found), allow_nan=False)
                disk.write(_beside(part), [text.encode()])
        yield write
        with _on_disk(part):
            os.fsync(file.fileno())


@contextmanager
def _on_disk(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unusable(part.parent, error.strerror) from error


def _require_room(part: Path, wanted: int) -> None:
    """Refuse a file that does not fit before it fills the disk."""
    with _on_disk(part):
        free = shutil.disk_usage(part.parent).free
    if wanted > free:
        raise unusable(part.parent, f"{wanted} bytes to receive, room for {free}")


def unusable(folder: Path, reason: str | None) -> FetchError:
    """The error of a folder that cannot take a download."""
    return FetchError(
        f"the folder for downloads cannot be created, written or locked ({reason})",
        where=folder,
        remedy="make room there, or set XDISTILL_CACHE to a writable folder on a disk with file "
        "locks",
    )
