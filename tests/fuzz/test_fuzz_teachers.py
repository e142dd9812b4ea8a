"""Malformed manifests and configs of teachers, and answers of publishers' servers."""

import hashlib
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from fuzzing import Report, fuzz, invoke, judge, must_hold
from malformed import content, damaged, encoded, no_files, retyped, toml_forms

from xdistill.manifests.download import fetch
from xdistill.pipeline.cli.main import main as pipeline
from xdistill.teachers.mmseg.config import PACKAGED

pytestmark = pytest.mark.slow

Record = Callable[[str, Any], None]


def test_manifests(tmp_path: Path, record_property: Record) -> None:
    path = tmp_path / "mine.toml"
    manifest: dict[str, Any] = {
        "config": "street_ocrnet.py",
        "input_size": "384",
        "miou": 67.9,
        "miou_on": "a street",
        "training_data": "a street",
        "licence": "Apache-2.0",
        "source": "docs/street.md",
        "attention_scales": [0.5, 1.0],
        "weights": {
            "file": "street_ocrnet.pth",
            "address": "package:street_ocrnet.pth",
            "sha256": hashlib.sha256((PACKAGED / "street_ocrnet.pth").read_bytes()).hexdigest(),
        },
    }
    path.write_text(tomli_w.dumps(manifest))
    data = path.read_bytes()
    inputs = [*damaged(data), *encoded(data), *no_files(), *toml_forms(data)]
    for name, document in retyped(manifest, [[], {}, True, float("nan"), "x", 7]):
        # What has a default may be left out.
        if name not in ("without attention_scales", "weights: without sha256"):
            inputs.append(content(name, tomli_w.dumps(document).encode()))
    for name, weights in {
        "a sha256 of another file": {"sha256": "0" * 64},
        "a sha256 of 3 digits": {"sha256": "abc"},
        "an address that is none": {"address": "nowhere"},
        "an address of another kind": {"address": "gopher://127.0.0.1:9/x"},
        "an address with a blank": {"address": "http://127.0.0.1:9/a b\n"},
        "a file that is a path": {"file": "../../x.pth", "address": "http://127.0.0.1:9/x"},
    }.items():
        changed = {**manifest, "weights": {**manifest["weights"], **weights}}
        inputs.append(content(name, tomli_w.dumps(changed).encode()))
    action = lambda: invoke(pipeline, "teachers", "fetch", path)  # noqa: E731
    must_hold(fuzz("teacher manifest", path, inputs, action), record=record_property, at_least=90)


CONFIGS = {
    "a syntax error": "model = dict(",
    "a wrong indent": "  model = 1\n x = 2",
    "an unknown name": "model = absent",
    "an import that fails": "import absent_module",
    "a division by zero": "x = 1 / 0",
    "an exit": "import sys; sys.exit(3)",
    "a base that is not there": "_base_ = 'absent.py'",
    "a base that is itself": "_base_ = 'mine.py'",
    "a base of a number": "_base_ = 3",
    "a model that is a number": "model = 3\ntest_pipeline = []",
    "a model without type": "model = dict(a=1)\ntest_pipeline = [dict(type='PackSegInputs')]",
    "a model of an unknown type": "model = dict(type='Nope')\ntest_pipeline = [dict(type='X')]",
    "a pipeline that is a number": "model = dict(type='EncoderDecoder')\ntest_pipeline = 3",
    "a pipeline of numbers": "model = dict(type='EncoderDecoder')\ntest_pipeline = [3]",
    "an empty pipeline": "model = dict(type='EncoderDecoder')\ntest_pipeline = []",
    "a pipeline without types": "model = dict(type='EncoderDecoder')\ntest_pipeline = [dict()]",
    "no backbone": "model = dict(type='EncoderDecoder')\ntest_pipeline = "
    "[dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]",
    "the form of mmsegmentation 0.x": "model = dict(type='EncoderDecoder')\ntest_pipeline = "
    "[dict(type='LoadImageFromFile'), dict(type='MultiScaleFlipAug', img_scale=(2048, 1024), "
    "flip=False, transforms=[dict(type='Resize', keep_ratio=True)])]",
    "a transform of the user's own": "model = dict(type='EncoderDecoder')\ntest_pipeline = "
    "[dict(type='LoadImageFromFile'), dict(type='MyOwnTransform')]",
    "custom imports": "custom_imports = dict(imports=['absent_module'])\nmodel = dict(type='X')\n"
    "test_pipeline = [dict(type='LoadImageFromFile')]",
    "JSON": "{}",
}


@pytest.mark.filterwarnings(
    # mmengine leaves the copy of a config that it cannot read open.
    "ignore:unclosed file:ResourceWarning",
    "ignore:Exception ignored in.*FileIO:pytest.PytestUnraisableExceptionWarning",
)
def test_configs(
    good: Path, fresh: Callable[[str], Path], tmp_path: Path, record_property: Record
) -> None:
    pytest.importorskip("mmseg")
    path = tmp_path / "mine.py"
    path.write_bytes((PACKAGED / "street_ocrnet.py").read_bytes())
    teacher = f"mmseg:{path},{PACKAGED / 'street_ocrnet.pth'}"

    def plan() -> object:
        where = ("--data", good / "kitti", "--store", fresh(".zarr"), "--teacher", teacher)
        return invoke(pipeline, "segment", *where, "--device", "cpu").replace("out-", "")[:300]

    data = path.read_bytes()
    inputs = [*damaged(data), *encoded(data), *no_files()]
    inputs = [one for one in inputs if one.name not in ("byte-order mark", "Windows line ends")]
    inputs += [content(name, text.encode()) for name, text in CONFIGS.items()]
    report = fuzz("mmsegmentation config", path, inputs, plan)
    must_hold(report, record=record_property, at_least=38)


BODY = bytes(range(256)) * 64
SHA256 = hashlib.sha256(BODY).hexdigest()
PART = 1000
"""Bytes that an earlier download has left."""
REST = len(BODY) - PART


def answer(status: str, headers: str, body: bytes) -> bytes:
    """A raw answer of HTTP."""
    return f"HTTP/1.1 {status}\r\n{headers}\r\n".encode("latin-1") + body


def lengths() -> Iterator[tuple[str, bytes]]:
    for text in ("-5", "x", "1.5", "9" * 400, "9" * 5000, "", "0", "5, 5", "0x10", "٣", "16 384"):
        shown = text.encode("utf-8").decode("latin-1")
        yield f"a length of {text[:10]!r}", answer("200 OK", f"Content-Length: {shown}\r\n", BODY)
    yield "a length too long", answer("200 OK", f"Content-Length: {len(BODY) + 9}\r\n", BODY)
    yield "a length too short", answer("200 OK", "Content-Length: 9\r\n", BODY)
    two = f"Content-Length: 9\r\nContent-Length: {len(BODY)}\r\n"
    yield "two lengths", answer("200 OK", two, BODY)


def ranges() -> Iterator[tuple[str, bytes]]:
    for text in (
        *("bytes 0-9/10", "bytes */9", "bytes 1000-999/16384", "bytes 5-16383/16384", "x", ""),
        *(f"bytes {PART}-{len(BODY) - 1}/{'9' * 5000}", f"bytes {PART}-x/y", "items 1-2/3"),
        *(f"bytes {PART}-{len(BODY) - 1}/99999", f"bytes {PART + 1}-{len(BODY) - 1}/{len(BODY)}"),
    ):
        headers = f"Content-Length: {REST}\r\nContent-Range: {text}\r\n"
        yield f"a range of {text[:30]!r}", answer("206 Partial", headers, BODY[PART:])
    yield "a part without range", answer("206 Partial", f"Content-Length: {REST}\r\n", BODY[PART:])
    whole = f"Content-Length: {len(BODY)}\r\nContent-Range: bytes {PART}-16383/16384\r\n"
    yield "the whole as a part", answer("206 Partial", whole, BODY)
    changed = bytes(reversed(BODY))[PART:]
    right = f"Content-Length: {REST}\r\nContent-Range: bytes {PART}-{len(BODY) - 1}/{len(BODY)}\r\n"
    yield "the rest of another file", answer("206 Partial", right, changed)
    for text in ("", f"Content-Range: bytes */{PART - 1}\r\n", "Content-Range: bytes */x\r\n"):
        yield f"416 with {text!r}", answer("416 Range", text + "Content-Length: 0\r\n", b"")


def answers() -> Iterator[tuple[str, bytes]]:
    """What servers, proxies and sign-in pages send in place of a file."""
    yield from lengths()
    yield from ranges()
    page = b"<html>Sign in</html>"
    yield "a sign-in page", answer("200 OK", f"Content-Length: {len(page)}\r\n", page)
    yield "nothing", b""
    yield "half a status line", b"HTTP/1."
    yield "no HTTP", b"SSH-2.0-x\r\n"
    yield "a status that is no number", answer("abc OK", "", BODY)
    yield "a status of 999", answer("999 Odd", "Content-Length: 0\r\n", b"")
    yield "headers without end", answer("200 OK", "A: b\r\n" * 200, b"")[:-2]
    yield "a header of 100 kB", answer("200 OK", f"A: {'b' * 100_000}\r\n", BODY)
    yield "NUL bytes", bytes(1000)
    for status in ("204 No Content", "301 Moved", "304 Not Modified", "401 No", "500 Error"):
        yield status, answer(status, "Content-Length: 0\r\n", b"")
    loop = "Location: /loop\r\nContent-Length: 0\r\n"
    yield "a redirection to itself", answer("302 Found", loop, b"")
    away = "Location: ftp://127.0.0.1:9/x\r\nContent-Length: 0\r\n"
    yield "a redirection elsewhere", answer("302 Found", away, b"")
    odd = "Location: file:///etc/passwd\r\nContent-Length: 0\r\n"
    yield "a redirection to a file", answer("302 Found", odd, b"")
    chunked = "Transfer-Encoding: chunked\r\n"
    for size in (b"zz", b"-5", b"9" * 5000, b"FFFFFFFFFFFFFFFF", b""):
        body = size + b"\r\n" + BODY
        yield f"a chunk of {size[:16].decode()}", answer("200 OK", chunked, body)
    packed = "Content-Encoding: gzip\r\nContent-Length: 9\r\n"
    yield "a packed answer", answer("200 OK", packed, b"\x1f\x8b" + bytes(7))


class Server(socketserver.ThreadingTCPServer):
    """Answers every request with the same bytes."""

    daemon_threads = True
    raw = b""


class Answer(socketserver.StreamRequestHandler):
    """Reads a request's head, and closes the connection after the answer."""

    timeout = 5

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        try:
            self.wfile.write(self.server.raw)  # type: ignore[attr-defined]
        except OSError:
            # Whoever has seen enough hangs up.
            return


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Answer) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.mark.parametrize("begun", [False, True])
def test_answers(
    server: Server,
    fresh: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Record,
    begun: bool,
) -> None:
    monkeypatch.setenv("no_proxy", "*")

    def download() -> object:
        target = fresh(".pth")
        if begun:
            target.with_name(f"{target.name}.part").write_bytes(BODY[:PART])
        try:
            address = f"http://127.0.0.1:{server.server_address[1]}/file.pth"
            return fetch(address, target, sha256=SHA256).read_bytes()
        finally:
            if target.exists():
                assert target.read_bytes() == BODY, "a wrong file has taken the name"

    report = Report(kind="download, resumed" if begun else "download")
    for name, raw in answers():
        server.raw = raw
        judge(report, name, download, expected=BODY)
    must_hold(report, record=record_property, at_least=50)


def test_a_right_answer_is_taken(server: Server, tmp_path: Path) -> None:
    server.raw = answer("200 OK", f"Content-Length: {len(BODY)}\r\n", BODY)
    address = f"http://127.0.0.1:{server.server_address[1]}/file.pth"
    assert fetch(address, tmp_path / "x", sha256=SHA256).read_bytes() == BODY
