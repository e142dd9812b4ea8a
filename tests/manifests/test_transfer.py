"""Downloads from servers of every kind: the right file, or a message; never a mixture of two."""

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from xdistill.manifests import transfer
from xdistill.manifests.download import fetch
from xdistill.manifests.errors import FetchError

OLD = bytes(range(256)) * 1024
NEW = bytes(reversed(OLD))
HALF = len(OLD) // 2
PAGE = b"<!DOCTYPE html><title>Sign in</title>" + bytes(500)


class Publisher(BaseHTTPRequestHandler):
    """Serves one file; what each test changes is in the class."""

    protocol_version = "HTTP/1.1"
    content: bytes
    headers_sent: dict[str, str]
    """Headers beside the length; a length in here replaces the true one."""
    breaks_after: int | None
    ignores: set[str]
    """Headers of requests that the server does not know."""
    asked: list[tuple[str | None, str | None]]
    """Range and If-Range of each request."""
    script: list[Callable[["Publisher"], object]]
    """What to do at the next requests, in place of serving the file."""

    @classmethod
    def reset(cls) -> None:
        cls.content, cls.headers_sent, cls.breaks_after = OLD, {}, None
        cls.ignores, cls.asked, cls.script = set(), [], []

    def known(self, name: str) -> str | None:
        value: str | None = self.headers.get(name)
        return None if name in self.ignores else value

    def do_GET(self) -> None:
        self.close_connection = True
        self.asked.append((self.headers.get("Range"), self.headers.get("If-Range")))
        if self.script:
            self.script.pop(0)(self)
            return
        condition = self.known("If-Range")
        mine = (self.headers_sent.get("ETag"), self.headers_sent.get("Last-Modified"))
        wanted = self.known("Range") if condition is None or condition in mine else None
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if start >= len(self.content):
            self.answer(416, b"", {"Content-Range": f"bytes */{len(self.content)}"})
            return
        whole = len(self.content)
        part = {"Content-Range": f"bytes {start}-{whole - 1}/{whole}"} if wanted else {}
        self.answer(206 if wanted else 200, self.content[start:], self.headers_sent | part)

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if self.breaks_after is None else body[: self.breaks_after])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/file.bin"
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    Publisher.reset()
    return tmp_path / "file.bin"


def broken_off(server: str, target: Path, **headers: str) -> None:
    """Leave the first half of the old file as a part."""
    Publisher.headers_sent, Publisher.breaks_after = headers, HALF
    with pytest.raises(FetchError, match=f"stopped at {HALF} of {len(OLD)} bytes"):
        fetch(server, target, sha256=None)
    Publisher.breaks_after = None
    Publisher.asked.clear()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


VALIDATORS = [
    ({"ETag": '"old"'}, {"ETag": '"new"'}),
    (
        {"Last-Modified": "Fri, 01 Jan 2021 00:00:00 GMT"},
        {"Last-Modified": "Fri, 01 Jan 2021 00:00:01 GMT"},
    ),
    # Neither promises the same bytes.
    ({"ETag": 'W/"same"'}, {"ETag": 'W/"same"'}),
    ({}, {}),
]


@pytest.mark.parametrize("ignores", [set(), {"If-Range"}, {"Range"}])
@pytest.mark.parametrize(("before", "after"), VALIDATORS)
@pytest.mark.parametrize("content", [NEW, NEW + b"longer", NEW[: HALF + 5], NEW[: HALF - 5]])
@pytest.mark.parametrize("known", [True, False])
def test_a_file_that_changed_is_begun_again(
    server: str,
    target: Path,
    before: dict[str, str],
    after: dict[str, str],
    ignores: set[str],
    content: bytes,
    known: bool,
) -> None:
    broken_off(server, target, **before)
    Publisher.content, Publisher.headers_sent, Publisher.ignores = content, after, ignores
    fetch(server, target, sha256=digest(content) if known else None)
    assert target.read_bytes() == content
    assert sorted(path.name for path in target.parent.iterdir()) == ["file.bin", "file.bin.lock"]


@pytest.mark.parametrize(("validator", "_"), VALIDATORS[:2])
def test_a_file_that_did_not_change_is_continued(
    server: str, target: Path, validator: dict[str, str], _: object
) -> None:
    broken_off(server, target, **validator)
    fetch(server, target, sha256=None)
    assert Publisher.asked == [(f"bytes={HALF}-", next(iter(validator.values())))]
    assert target.read_bytes() == OLD


def test_without_a_validator_a_digest_allows_to_continue(server: str, target: Path) -> None:
    broken_off(server, target)
    fetch(server, target, sha256=digest(OLD))
    assert Publisher.asked == [(f"bytes={HALF}-", None)] and target.read_bytes() == OLD


def test_the_rest_from_another_address_is_asked_without_condition(
    server: str, target: Path
) -> None:
    broken_off(server, target, ETag='"old"')
    fetch(f"{server}?mirror", target, sha256=digest(OLD))
    assert Publisher.asked == [(f"bytes={HALF}-", None)] and target.read_bytes() == OLD


@pytest.mark.parametrize(
    "told", ["bytes 0-99/262144", "bytes 131072-", "", "bytes 131072-262143/999", "items 1-2/3"]
)
def test_a_part_that_was_not_asked_for_is_not_appended(
    server: str, target: Path, told: str
) -> None:
    broken_off(server, target, ETag='"old"')
    Publisher.script = [lambda it: it.answer(206, NEW[HALF:], {"Content-Range": told})]
    fetch(server, target, sha256=None)
    assert target.read_bytes() == OLD and len(Publisher.asked) == 2


def stall(it: Publisher) -> None:
    """Send a little, then nothing for longer than the client waits."""
    it.send_response(200)
    it.send_header("Content-Length", str(len(OLD)))
    it.end_headers()
    it.wfile.write(OLD[:1000])
    time.sleep(0.6)


def trickle(it: Publisher) -> None:
    """Send a byte at a time, for as long as the client takes it."""
    it.send_response(200)
    it.send_header("Content-Length", str(len(OLD)))
    it.end_headers()
    try:
        for number in range(100):
            it.wfile.write(OLD[number : number + 1])
            time.sleep(0.02)
    except OSError:
        return


def silent(it: Publisher) -> None:
    time.sleep(0.6)


STRANGE: dict[str, tuple[Callable[[Publisher], object], str]] = {
    "no number": (lambda it: it.answer(200, OLD, {"Content-Length": "many"}), "promises 'many' by"),
    "negative": (lambda it: it.answer(200, OLD, {"Content-Length": "-5"}), "promises '-5' bytes"),
    "two": (lambda it: it.answer(200, OLD, {"Content-Length": "9, 9"}), "promises '9, 9' bytes"),
    "beyond any disk": (
        lambda it: it.answer(200, OLD, {"Content-Length": "9" * 18}),
        r"(?s)9 bytes to receive, room for \d+.*what to do: make room there",
    ),
    "empty": (lambda it: it.answer(200, b"", {}), "the server sent an empty file"),
    "page": (lambda it: it.answer(200, PAGE, {}), "sent a web page in place of the file"),
    "no content": (lambda it: it.answer(204, b"", {}), "the server answers 204"),
    "part unasked": (lambda it: it.answer(206, OLD, {}), "sent a part of the file in place"),
    "encoded": (lambda it: it.answer(200, OLD, {"Content-Encoding": "gzip"}), "encoded: gzip"),
    "range unasked": (lambda it: it.answer(416, b"", {}), "HTTP Error 416"),
    "server error": (lambda it: it.answer(503, b"", {}), "HTTP Error 503"),
    "stalled": (stall, "timed out"),
    "silent": (silent, "timed out"),
    "trickling": (trickle, r"the connection brought \d+ bytes in 0.1 s"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_a_strange_answer_ends_in_a_message(
    server: str, target: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(transfer, "PACE_S", 0.1)
    act, told = STRANGE[kind]
    Publisher.script = [act]
    with pytest.raises(FetchError, match=told) as caught:
        fetch(server, target, sha256=None)
    assert "what to do: " in str(caught.value) and not target.exists()
    fetch(server, target, sha256=None)
    assert target.read_bytes() == OLD


def chunked(it: Publisher) -> None:
    it.send_response(200)
    it.send_header("Transfer-Encoding", "chunked")
    it.end_headers()
    for block in (OLD[:7], OLD[7:]):
        it.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
    it.wfile.write(b"0\r\n\r\n")


def moved(times: int) -> Callable[[Publisher], None]:
    def act(it: Publisher) -> None:
        if times > 1:
            it.script.insert(0, moved(times - 1))
        it.answer(302, b"", {"Location": f"/elsewhere-{times}"})

    return act


@pytest.mark.parametrize(
    "act",
    [chunked, moved(3), lambda it: it.answer(200, OLD, {"Content-Length": ""})],
    ids=["chunked", "moved", "without a length"],
)
def test_other_ways_to_send_the_file(
    server: str, target: Path, act: Callable[[Publisher], None]
) -> None:
    Publisher.script = [act]
    fetch(server, target, sha256=None)
    assert target.read_bytes() == OLD


def test_a_server_that_sends_in_circles(server: str, target: Path) -> None:
    Publisher.script = [moved(99)]
    with pytest.raises(FetchError, match="redirect"):
        fetch(server, target, sha256=None)


def test_the_rest_is_asked_where_the_file_moved(server: str, target: Path) -> None:
    broken_off(server, target, ETag='"old"')
    Publisher.script = [moved(1)]
    fetch(server, target, sha256=None)
    assert Publisher.asked == [(f"bytes={HALF}-", '"old"')] * 2
    assert target.read_bytes() == OLD


def test_a_wrong_file_never_takes_the_name(server: str, target: Path) -> None:
    def refuse(path: Path) -> None:
        if path.read_bytes() != NEW:
            raise FetchError("not it", where=path)

    for _ in range(2):
        with pytest.raises(FetchError, match="not it"):
            fetch(server, target, sha256=None, check=refuse)
        assert not target.exists()
    Publisher.content = NEW
    assert fetch(server, target, sha256=None, check=refuse).read_bytes() == NEW
    target.write_bytes(OLD)
    with pytest.raises(FetchError, match="not it"):
        fetch(server, target, sha256=None, check=refuse)


def test_a_full_disk_is_not_the_networks_fault(
    server: str, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(FetchError, match=r"(?s)No space left.*make room there, or set") as seen:
            fetch(server, target, sha256=None)
    assert "network" not in str(seen.value)
    usage = shutil.disk_usage(target.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(FetchError, match=f"{len(OLD)} bytes to receive, room for 1000"):
        fetch(server, target, sha256=None)


def test_a_pipe_in_place_of_a_published_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FetchError, match="it is a named pipe, not a file"):
        fetch((tmp_path / "pipe").as_uri(), tmp_path / "file.bin", sha256=None)


def test_an_address_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="unknown url type: 'weights.pth'"):
        fetch("weights.pth", tmp_path / "file.bin", sha256=None)
