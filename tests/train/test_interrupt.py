import os
import signal
import threading

import pytest

from xdistill.train.interrupt import stop_on_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_wish(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signal() as stopped:
        assert not stopped()
        os.kill(os.getpid(), number)
        assert stopped()
    assert signal.getsignal(number) is before


def test_the_second_ctrl_c_acts_as_ever() -> None:
    with stop_on_signal():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    found = []

    def enter() -> None:
        with stop_on_signal() as stopped:
            found.append(stopped())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [False]
