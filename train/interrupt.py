"""Ctrl-C and SIGTERM as a wish to stop after the step in hand."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self) -> bool:
        return self.requested


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Note the first Ctrl-C or SIGTERM instead of dying of it; the second one acts as ever.

    Outside the main thread, where Python allows no handlers, signals act as ever.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        request.requested = True
        signal.signal(number, before[signal.Signals(number)])

    try:
        for number in SIGNALS:
            signal.signal(number, handle)
        yield request
    finally:
        for number in SIGNALS:
            signal.signal(number, before[number])
