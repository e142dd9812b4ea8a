"""Which files of the package a call runs through, in the order in which it reaches them."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import xdistill

PACKAGE = Path(xdistill.__file__).parent


def files_run_through(call: Callable[[], object]) -> list[str]:
    """Files of xdistill in which a function runs during ``call``, by first entry.

    What runs when a module is imported (its body, class bodies, decorators) does not count: it is
    no part of the walk. Threads of this process are followed, other processes are not.
    """
    found: dict[str, None] = {}
    importing = threading.local()

    def follow(frame: FrameType, event: str, argument: Any) -> None:
        if event not in ("call", "return"):
            return
        code = frame.f_code
        if code.co_name == "<module>":
            importing.depth = getattr(importing, "depth", 0) + (1 if event == "call" else -1)
        elif event == "call" and not getattr(importing, "depth", 0):
            path = Path(code.co_filename)
            if path.is_relative_to(PACKAGE):
                found.setdefault(str(path.relative_to(PACKAGE)))

    threading.setprofile(follow)
    sys.setprofile(follow)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return list(found)
