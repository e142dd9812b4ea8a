import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xdistill.pipeline.demo import runner
from xdistill.pipeline.demo.runner import Ledger, run_stages, seconds_left
from xdistill.pipeline.demo.step import DemoError, Stage, Step

pytestmark = pytest.mark.slow


def python(code: str) -> Step:
    return Step(words=("python", "-c", code))


def stage(name: str, *codes: str, seconds: float = 1.0) -> Stage:
    return Stage(
        name=name,
        title=f"Do {name}",
        steps=tuple(python(code) for code in codes),
        seconds=seconds,
    )


def append(path: Path, word: str) -> str:
    return f"open({str(path)!r}, 'a').write({word!r})"


def test_stages_run_once_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "trace"
    stages = [stage("one", append(trace, "1")), stage("two", append(trace, "2"))]
    seconds = run_stages(stages, tmp_path)
    assert trace.read_text() == "12" and set(seconds) == {"one", "two"}
    shown = capsys.readouterr().err
    assert "[1/2] Do one" in shown and f"$ {stages[1].steps[0].text}" in shown
    assert run_stages(stages, tmp_path) == seconds
    assert trace.read_text() == "12"
    assert "[2/2] Do two: already done" in capsys.readouterr().err


def test_the_time_left_is_told_from_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "QUIET_S", 0.0)
    run_stages([stage("one", "pass", seconds=40), stage("two", "pass", seconds=80)], tmp_path)
    told = re.findall(r"about (\S+) left, (\w+)", capsys.readouterr().err)
    assert told[0] == ("02:00", "one")
    # The first took next to no time: 80 s are left, at 20 s in place of 60 s.
    assert ("00:26", "one") in told or ("00:27", "one") in told
    assert told[-1] == ("00:00", "two") and "?" not in str(told)


def test_the_time_left_follows_the_pace() -> None:
    assert seconds_left(0, 260, elapsed=0) == 260
    # Twice as slow as expected for 100 s: of 220 s in place of 120 s, 20 s are not seen.
    assert seconds_left(100, 200, elapsed=220) == 200
    assert seconds_left(200, 200, elapsed=500) == 0


def test_a_failure_is_shown_and_the_next_call_goes_on_there(tmp_path: Path) -> None:
    trace, ready = tmp_path / "trace", tmp_path / "ready"
    fragile = (
        f"import os, sys; os.path.exists({str(ready)!r}) or sys.exit('no such drive'); "
        + append(trace, "2")
    )
    stages = [stage("one", append(trace, "1")), stage("two", fragile), stage("three", "pass")]
    with pytest.raises(DemoError, match="status 1:\n    no such drive\n.*where: .*two-0.log"):
        run_stages(stages, tmp_path)
    assert not (tmp_path / "done" / "three.json").exists()
    ready.touch()
    run_stages(stages, tmp_path)
    assert trace.read_text() == "12"


def test_seconds_of_earlier_calls_count(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    slow = (
        f"import os, sys, time; os.path.exists({str(ready)!r}) or (time.sleep(1), sys.exit('no'))"
    )
    for _ in range(2):
        with pytest.raises(DemoError, match="status 1"):
            run_stages([stage("one", slow)], tmp_path)
    ready.touch()
    assert 2 < run_stages([stage("one", slow)], tmp_path)["one"] < 20


def test_seconds_of_other_settings_do_not_count(tmp_path: Path) -> None:
    ledger, one = Ledger(tmp_path), stage("one", "pass")
    ledger.stop(stage("one", "pass  # seed 1"), 1000)
    ledger.finish(one, 2)
    assert ledger.seconds(one) == 2


@pytest.mark.parametrize(
    "content",
    [None, b"", b"{", b"[]", b"3", b"[" * 100_000, b'{"record": []}', b"\xff", b'{"a": 1}'],
)
def test_a_damaged_record_is_named(content: bytes | None, tmp_path: Path) -> None:
    ledger, one = Ledger(tmp_path), stage("one", "pass")
    ledger.stop(one, 2)
    ledger.finish(one, 2)
    for kind in ("done", "begun"):
        path = tmp_path / kind / "one.json"
        path.unlink()
        os.mkfifo(path) if content is None else path.write_bytes(content)
        with pytest.raises(DemoError, match=rf"cannot be read \((?s:.*){kind}/one\.json"):
            ledger.seconds(one) if kind == "done" else ledger.stop(one, 1)


def test_when_one_command_fails_the_other_is_stopped(tmp_path: Path) -> None:
    late = tmp_path / "late"
    sleeper = f"import time; time.sleep(20); {append(late, 'x')}"
    start = time.monotonic()
    with pytest.raises(DemoError, match="status 3"):
        run_stages([stage("both", sleeper, "raise SystemExit(3)")], tmp_path)
    assert time.monotonic() - start < 15 and not late.exists()


def test_other_settings_are_refused(tmp_path: Path) -> None:
    run_stages([stage("one", "pass  # seed 1")], tmp_path)
    with pytest.raises(DemoError, match="finished with other settings"):
        run_stages([stage("one", "pass  # seed 2")], tmp_path)


def test_work_is_done_before_the_commands(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    one = Stage(
        name="one",
        title="One",
        steps=(python(append(trace, "c")),),
        seconds=1,
        work=lambda: trace.write_text("w") and None,
    )
    run_stages([one], tmp_path)
    assert trace.read_text() == "wc"


def test_a_record_cut_short_by_a_crash_is_no_record(tmp_path: Path) -> None:
    one = stage("one", "pass")
    ledger = Ledger(tmp_path)
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "one.json.partial").write_text("{")
    assert ledger.seconds(one) is None
    ledger.finish(one, 2.5)
    assert ledger.seconds(one) == 2.5


def test_commands_run_on_one_thread(tmp_path: Path) -> None:
    found = tmp_path / "found"
    code = f"import os; open({str(found)!r}, 'w').write(os.environ['OMP_NUM_THREADS'])"
    run_stages([stage("one", code)], tmp_path)
    assert found.read_text() == "1"


def stopped_demo(
    tmp_path: Path, request: signal.Signals, code: str, *, before: str = "", times: int = 1
) -> int:
    """Start a demo whose one command writes its number to ``pid`` once it is ready, send the
    request to its process group as a terminal does, and return the command's number.

    ``before`` is run first in the demo; the request is sent ``times`` times.
    """
    program = f"""
import signal
from pathlib import Path
from xdistill.manifests.stopping import stops_reported
from xdistill.pipeline.demo.step import Stage, Step
from xdistill.pipeline.demo.runner import run_stages
{before}
one = Stage(
    name="one", title="One", steps=(Step(words=("python", "-c", {code!r})),), seconds=1
)
with stops_reported("again"):
    run_stages([one], Path({str(tmp_path)!r}))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    pid = tmp_path / "pid"
    deadline = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    for _ in range(times):
        os.killpg(process.pid, request)
        time.sleep(0.5 if times > 1 else 0)
    assert process.wait(60) == 128 + request
    return int(pid.read_text())


@pytest.mark.parametrize("request_", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_demo_leaves_no_command_behind(tmp_path: Path, request_: signal.Signals) -> None:
    code = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(ProcessLookupError):
        os.kill(stopped_demo(tmp_path, request_, code), 0)


def test_a_demo_in_the_background_stops_its_commands_too(tmp_path: Path) -> None:
    """A shell hands SIGINT down as ignored to what it runs in the background."""
    code = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    start = time.monotonic()
    ignored = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    with pytest.raises(ProcessLookupError):
        os.kill(stopped_demo(tmp_path, signal.SIGTERM, code, before=ignored), 0)
    assert time.monotonic() - start < 25, "the command was killed, not asked"


def test_a_second_ctrl_c_ends_a_command_that_does_not_listen(tmp_path: Path) -> None:
    code = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open('pid', 'w').write(str(os.getpid()))
time.sleep(60)
"""
    start = time.monotonic()
    with pytest.raises(ProcessLookupError):
        os.kill(stopped_demo(tmp_path, signal.SIGINT, code, times=2), 0)
    assert time.monotonic() - start < 25, "the demo waited its time of grace"


def test_ctrl_c_reaches_the_demo_alone_and_it_asks_once(tmp_path: Path) -> None:
    # Two requests in quick succession may arrive as one, so that counting them proves nothing:
    # the terminal's must not get there at all.
    code = """
import os, signal, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
open('group', 'w').write(str(os.getpgrp()))
open('pid', 'w').write(str(os.getpid()))
while not asked:
    time.sleep(0.05)
open('asked', 'w').write('once')
"""
    pid = stopped_demo(tmp_path, signal.SIGINT, code)
    assert (tmp_path / "group").read_text() == str(pid)
    assert (tmp_path / "asked").read_text() == "once"


def test_resume_is_added_once_there_is_something_to_resume(tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    step = Step(words=("xd-train", "--out", "run"), resumable=record)
    assert "--resume" not in step.arguments()
    record.touch()
    assert step.arguments()[-1] == "--resume"
    assert step.text == "xd-train --out run"


def test_programs_are_called_by_their_entry_points() -> None:
    arguments = Step(words=("xd-eval", "--help")).arguments()
    shown = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("Usage: xd-eval ")
