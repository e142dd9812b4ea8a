"""Downloads: checksum, resume, wrong file, no network; against a server on the loopback."""

import fcntl
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from xdistill.manifests.download import cache_folder, fetch
from xdistill.manifests.errors import FetchError

CONTENT = bytes(range(256)) * 4096
CUT = 300_001
"""Bytes that /chunked sends."""
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT; /short breaks off half way, /plain ignores Range, /slow pauses.

    /chunked breaks off within a chunk, /endless tells no length, /foreign is not HTTP.
    """

    protocol_version = "HTTP/1.1"
    requests: list[str] = []

    def do_GET(self) -> None:
        start = 0
        asked = self.headers.get("Range")
        self.close_connection = True
        self.requests.append(f"{self.path} {asked}")
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/foreign":
            self.wfile.write(b"SSH-2.0-other\r\n")
            return
        if self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(f"{len(CONTENT):x}\r\n".encode() + CONTENT[:CUT])
            return
        if asked and self.path != "/plain":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(CONTENT):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
                self.end_headers()
                return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        if start:
            last = len(CONTENT) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(CONTENT)}")
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = len(body) // 2
        self.wfile.write(body[:half])
        if self.path == "/slow":
            time.sleep(0.3)
        if self.path != "/short":
            self.wfile.write(body[half:])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


def test_fetched_once(server: str, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.bin"
    Handler.requests.clear()
    assert fetch(f"{server}/whole", target, sha256=SHA256) == target
    assert target.read_bytes() == CONTENT
    fetch(f"{server}/whole", target, sha256=SHA256)
    assert len(Handler.requests) == 1


def test_of_several_at_once_one_downloads(server: str, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    Handler.requests.clear()
    with ThreadPoolExecutor(3) as pool:
        paths = pool.map(lambda _: fetch(f"{server}/slow", target, sha256=SHA256), range(3))
    assert list(paths) == [target] * 3
    assert target.read_bytes() == CONTENT
    assert Handler.requests == ["/slow None"]


def test_a_disk_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(FetchError, match=r"(?s)Function not implemented.*XDISTILL_CACHE"):
        fetch("http://127.0.0.1:9/x", tmp_path / "file.bin", sha256=SHA256)


@pytest.mark.parametrize("path", ["whole", "plain"])
def test_a_broken_download_is_continued(server: str, tmp_path: Path, path: str) -> None:
    target = tmp_path / "file.bin"
    with pytest.raises(FetchError, match="stopped at") as caught:
        fetch(f"{server}/short", target, sha256=SHA256)
    assert "run again" in str(caught.value)
    assert not target.exists()
    Handler.requests.clear()
    fetch(f"{server}/{path}", target, sha256=SHA256)
    assert Handler.requests == [f"/{path} bytes={len(CONTENT) // 2}-"]
    assert target.read_bytes() == CONTENT


def test_a_watch_is_told_where_a_download_goes_on(server: str, tmp_path: Path) -> None:
    told: list[object] = []

    @contextmanager
    def watch(done: int, total: int | None) -> Iterator[Callable[[int], object]]:
        blocks: list[int] = []
        yield blocks.append
        told.append((done, total, sum(blocks)))

    target = tmp_path / "file.bin"
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:CUT])
    for _ in range(2):
        fetch(f"{server}/whole", target, sha256=SHA256, watch=watch)
    assert told == [(CUT, len(CONTENT), len(CONTENT) - CUT)]
    fetch(f"{server}/endless", tmp_path / "other.bin", sha256=SHA256, watch=watch)
    assert told[1:] == [(0, None, len(CONTENT))]


def test_an_answer_of_untold_length_is_continued(server: str, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:CUT])
    assert fetch(f"{server}/endless", target, sha256=SHA256).read_bytes() == CONTENT


def test_a_cut_chunked_answer_is_continued(server: str, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    with pytest.raises(FetchError, match=r"(?s)IncompleteRead.*run again"):
        fetch(f"{server}/chunked", target, sha256=SHA256)
    assert not target.exists()
    Handler.requests.clear()
    fetch(f"{server}/whole", target, sha256=SHA256)
    assert Handler.requests == [f"/whole bytes={CUT}-"]
    assert target.read_bytes() == CONTENT


def test_an_answer_that_is_not_http(server: str, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    part = tmp_path / "file.bin.part"
    part.write_bytes(CONTENT[:CUT])
    with pytest.raises(FetchError, match="SSH-2.0-other"):
        fetch(f"{server}/foreign", target, sha256=SHA256)
    assert part.read_bytes() == CONTENT[:CUT]


def test_a_whole_part_needs_no_more_bytes(server: str, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    Handler.requests.clear()
    assert fetch(f"{server}/whole", target, sha256=SHA256).read_bytes() == CONTENT
    assert Handler.requests == [f"/whole bytes={len(CONTENT)}-"]


def test_a_part_longer_than_the_file_is_discarded(server: str, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(f"{server}/whole", target, sha256=SHA256).read_bytes() == CONTENT


def test_wrong_content_never_takes_the_name(server: str, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    with pytest.raises(FetchError) as caught:
        fetch(f"{server}/whole", target, sha256="0" * 64)
    assert SHA256 in str(caught.value) and "0" * 64 in str(caught.value)
    assert not target.exists()


def test_a_file_put_there_by_hand_is_checked(tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    target.write_bytes(b"not it")
    with pytest.raises(FetchError, match="sha256"):
        fetch("http://127.0.0.1:9/x", target, sha256=SHA256)
    assert target.read_bytes() == b"not it"


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/file.bin", "{server}/missing"])
def test_offline_says_which_file_to_put_where(server: str, tmp_path: Path, address: str) -> None:
    target = tmp_path / "file.bin"
    address = address.format(server=server)
    with pytest.raises(FetchError) as caught:
        fetch(address, target, sha256=SHA256)
    assert address in str(caught.value) and f"put it at {target}" in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "weights" / "file.bin"
    with pytest.raises(FetchError, match="XDISTILL_CACHE") as caught:
        fetch("http://127.0.0.1:9/x", target, sha256=SHA256)
    assert str(target.parent) in str(caught.value)


def test_cache_folder_follows_the_environment(private_cache: Path) -> None:
    assert cache_folder() == private_cache
