"""What a server says of a published file, in the headers of its answer."""

import re
from dataclasses import asdict, dataclass
from typing import Any

from xdistill.manifests.errors import FetchError


class TransferError(FetchError):
    """A download that did not end with the whole file; the message says why in a few words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What a server says of a file; None is what it does not say."""

    address: str
    etag: str | None
    """Without weak tags, which do not promise the same bytes."""
    modified: str | None
    size: int | None
    """Bytes of the whole file."""

    @property
    def validator(self) -> str | None:
        """What a server compares before it sends the rest of a file (If-Range)."""
        return self.etag or self.modified

    def agrees(self, other: "Origin") -> bool:
        """Whether both may be of the same file: whatever both say is the same."""
        pairs = zip(asdict(self).values(), asdict(other).values(), strict=True)
        return all(a == b for a, b in pairs if a is not None and b is not None)


def status_of(answer: Any) -> int:
    """The HTTP status; a file on this machine has none."""
    return getattr(answer, "status", None) or 200


def origin_of(answer: Any, address: str) -> Origin:
    """What an answer says of the whole file.

    Raises:
        TransferError: Its headers make no sense, or its bytes are not the file's own.
    """
    headers = answer.headers
    encoding = headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise TransferError(f"the server sends the file encoded: {encoding}")
    etag = headers.get("ETag")
    return Origin(
        address=address,
        etag=None if etag is None or etag.startswith("W/") else etag,
        modified=headers.get("Last-Modified"),
        size=_range(answer)[1] if status_of(answer) == 206 else length_of(answer),
    )


def length_of(answer: Any) -> int | None:
    """Bytes that the answer promises; None if it does not say."""
    told = answer.headers.get("Content-Length")
    if told is None or answer.headers.get("Transfer-Encoding", "").lower() == "chunked":
        return None
    if not re.fullmatch(r"[0-9]{1,18}", told.strip()):
        raise TransferError(f"the server promises {told!r} bytes (Content-Length)")
    return int(told)


def _range(answer: Any) -> tuple[int | None, int | None]:
    """First byte of a partial answer, and bytes of the whole file; None if it does not say."""
    told = answer.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]+/([0-9]{1,18}|\*)", told.strip())
    if found is None:
        return None, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


def continues(answer: Any, found: Origin, before: Origin | None, *, offset: int) -> bool:
    """Whether a partial answer is the rest of the part."""
    first, total = _range(answer)
    length = length_of(answer)
    fits = total is None or length is None or offset + length == total
    return first == offset and fits and (before is None or before.agrees(found))
