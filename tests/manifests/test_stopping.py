"""Signals as requests to stop, in this process: every test sends itself real ones."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from xdistill.manifests.stopping import SIGNALS, Stopped, deferred, stoppable


@pytest.fixture(autouse=True)
def dispositions() -> Iterator[None]:
    """Signals as an interactive shell hands them down, and afterwards as they were."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "name", "status"),
    [
        (signal.SIGINT, "Ctrl-C", 130),
        (signal.SIGTERM, "SIGTERM", 143),
        (signal.SIGHUP, "SIGHUP", 129),
    ],
)
def test_a_signal_stops_what_is_under_way_and_says_so_at_once(
    number: signal.Signals, name: str, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as caught, stoppable():
        send(number)
    assert (caught.value.name, caught.value.status) == (name, status)
    assert f"\n{name}: stopping (once more ends it at once)\n" == capfd.readouterr().err
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", SIGNALS)
def test_what_is_ignored_stays_ignored(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_IGN)
    with stoppable():
        send(number)
    assert signal.getsignal(number) is signal.SIG_IGN


@pytest.mark.parametrize("number", SIGNALS)
def test_deferred_work_is_finished_and_the_user_reads_so_before(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    done = []
    with pytest.raises(Stopped), stoppable():
        with deferred("stopping after this step"):
            send(number)
            assert "stopping after this step" in capfd.readouterr().err
            done.append("the step")
        done.append("never reached")
    assert done == ["the step"]


def test_the_second_signal_breaks_deferred_work_off_but_never_an_update() -> None:
    done = []
    with pytest.raises(Stopped) as caught, stoppable(), deferred("stopping after this step"):
        send(signal.SIGTERM)
        with deferred():
            send(signal.SIGINT)
            send(signal.SIGINT)
            done.append("the update")
        done.append("never reached")
    assert done == ["the update"] and caught.value.number == signal.SIGINT


def test_the_first_signal_lets_the_outer_work_finish_whatever_is_inside() -> None:
    done = []
    with pytest.raises(Stopped), stoppable(), deferred("stopping after this step"):
        with deferred():
            send(signal.SIGTERM)
        done.append("the rest of the step")
    assert done == ["the rest of the step"]


def test_an_error_in_deferred_work_is_not_hidden_by_the_signal() -> None:
    with pytest.raises(ValueError, match="ours"), stoppable(), deferred("stopping"):
        send(signal.SIGTERM)
        raise ValueError("ours")
    with pytest.raises(Stopped), stoppable():
        send(signal.SIGTERM)


def test_a_terminal_that_is_gone_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    """It gives EIO; so does a pipe without a reader, by another number."""
    reader, writer = os.pipe()
    os.close(reader)
    kept = os.dup(2)
    os.dup2(writer, 2)
    try:
        with pytest.raises(Stopped), stoppable():
            send(signal.SIGHUP)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(writer)


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    found: list[object] = []

    def work() -> None:
        with stoppable(), deferred("stopping"):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]
