"""Malformed inputs: what disks, editors, other programs and hands make of a good file.

Every generator takes the good content and gives the bad ones, each with a name. They are seeded,
and as many for every run.
"""

import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NUMBER = re.compile(rb"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.])")
HUGE = b"9" * 400
DEPTH = 5000
"""Levels of nesting that no parser's recursion takes."""
ZEROS = Path("/dev/zero")


@dataclass(frozen=True, slots=True)
class Malformed:
    """One bad input: its name, and what puts it in the place of the file."""

    name: str
    put: Callable[[Path], object]


def content(name: str, data: bytes) -> Malformed:
    """A file of other content."""
    return Malformed(name, lambda path: path.write_bytes(data))


def damaged(good: bytes) -> Iterator[Malformed]:
    """What a full disk, a broken copy or a wrong name leaves of any file."""
    noise = random.Random(len(good)).randbytes(max(64, min(len(good), 4096)))
    for name, data in {
        "empty": b"",
        "one byte": good[:1],
        "cut to a half": good[: len(good) // 2],
        "NUL bytes": bytes(len(good)),
        "noise": noise,
        "a PNG": b"\x89PNG\r\n\x1a\n" + noise,
        "a web page": b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n",
        "an LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n",
    }.items():
        yield content(name, data)


def no_files() -> Iterator[Malformed]:
    """What is no regular file, of which some would be waited for without end."""
    yield Malformed("missing", lambda path: None)
    yield Malformed("a folder", Path.mkdir)
    yield Malformed("a named pipe", os.mkfifo)
    yield Malformed("a device", lambda path: path.symlink_to(ZEROS))
    yield Malformed("a link to itself", lambda path: path.symlink_to(path.name))
    yield Malformed("a link to nothing", lambda path: path.symlink_to("absent"))


def encoded(good: bytes) -> Iterator[Malformed]:
    """Text as editors save it that were told another encoding."""
    text = good.decode()
    yield content("UTF-16", text.encode("utf-16"))
    yield content("UTF-16 without mark", text.encode("utf-16-le"))
    yield content("UTF-32", text.encode("utf-32"))
    yield content("Latin-1", "é".encode("latin-1") + good)
    yield content("a NUL in the first line", good[:5] + b"\0" + good[5:])
    # Harmless: the file must be read as if it had no mark, and as if its lines ended plainly.
    yield content("byte-order mark", b"\xef\xbb\xbf" + good)
    yield content("Windows line ends", good.replace(b"\n", b"\r\n"))


def numbered(good: bytes, values: Sequence[bytes], *, places: int = 2) -> Iterator[Malformed]:
    """Some numbers of a text file in place of which another stands, spread over the file."""
    found = list(NUMBER.finditer(good))
    for place in range(min(places, len(found))):
        number = found[place * (len(found) - 1) // max(1, places - 1)]
        for value in values:
            shown = value if len(value) < 20 else value[:5] + b"..."
            data = good[: number.start()] + value + good[number.end() :]
            yield content(f"number {found.index(number)} is {shown.decode()}", data)


def flipped(good: bytes, count: int) -> Iterator[Malformed]:
    """One bit flipped: for files with a checksum over every byte that matters."""
    chance = random.Random(len(good))
    for position in sorted(chance.sample(range(8 * len(good)), count)):
        data = bytearray(good)
        data[position // 8] ^= 1 << position % 8
        yield content(f"bit {position} flipped", bytes(data))


def overwritten(good: bytes, count: int) -> Iterator[Malformed]:
    """A run of bytes overwritten, as a lost block leaves it: for files with checksums."""
    chance = random.Random(count)
    for _ in range(count):
        start = chance.randrange(len(good))
        block = chance.randbytes(chance.choice((4, 64)))
        data = good[:start] + block + good[start + len(block) :]
        yield content(f"{len(block)} bytes at {start} overwritten", data)


def retyped(
    document: dict[str, Any], values: Sequence[Any], *, levels: int = 9
) -> Iterator[tuple[str, Any]]:
    """A document with one value of another type at a time, down to some level, or without it."""
    for key, value in document.items():
        yield f"without {key}", {k: v for k, v in document.items() if k != key}
        for other in values:
            if type(other) is not type(value):
                shown = json.dumps(other, default=str)[:20]
                yield f"{key} is {shown}", {**document, key: other}
        if isinstance(value, dict) and levels > 1:
            for name, inner in retyped(value, values, levels=levels - 1):
                yield f"{key}: {name}", {**document, key: inner}


def json_forms(
    good: bytes, values: Sequence[Any] = (None, [], -1), *, levels: int = 9
) -> Iterator[Malformed]:
    """JSON that is none, or not the expected document."""
    for data in (b"[]", b"null", b"7", b'"text"', b"{}", b"[" * DEPTH, b'{"a":' * DEPTH):
        yield content(f"JSON {data[:12].decode()}", data)
    yield content("JSON with a number of 5000 digits", b'{"step": ' + b"9" * 5000 + b"}")
    for name, document in retyped(json.loads(good), values, levels=levels):
        yield content(name, json.dumps(document).encode())


def toml_forms(good: bytes) -> Iterator[Malformed]:
    """TOML that is none."""
    first, _, _ = good.partition(b"\n")
    yield content("every key twice", good + b"\n" + good)
    yield content("the first key twice", first + b"\n" + good)
    yield content("nested arrays", b"deep = " + b"[" * DEPTH + b"]" * DEPTH + b"\n" + good)
    yield content("nested tables", b"deep = " + b"{a=" * DEPTH + b"1" + b"}" * DEPTH + b"\n" + good)
    yield content("dotted keys", b".".join([b"a"] * DEPTH) + b" = 1\n" + good)
    yield content("an open string", good + b'\nname = "open')
    yield content("an unknown key", b"no_such_key = 1\n" + good)
    yield content("an unknown table", good + b"\n[no_such_table]\nx = 1\n")
    yield content("a number of 400 digits", b"no_such_key = " + HUGE + b"\n" + good)
    yield content("a number of 5000 digits", b"no_such_key = " + b"9" * 5000 + b"\n" + good)
    yield content("a key without value", first + b"\nname =\n")


@contextmanager
def in_place_of(path: Path, malformed: Malformed) -> Iterator[None]:
    """Put a bad input where a good file is; the file, with its times, is back afterwards."""
    good, times = path.read_bytes(), path.stat()
    path.unlink()
    try:
        malformed.put(path)
        yield
    finally:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.write_bytes(good)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
