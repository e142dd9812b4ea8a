"""Print the files of xdistill that a command runs through, in the order in which it enters them.

    python docs/walk.py xd-pipeline segment --data kitti --store labels.zarr
    python docs/walk.py xd-train --steps 1 --out runs/walk

A file counts when one of its functions runs. What runs while a module is imported does not count,
nor do other processes: give xd-train ``--set num_workers=0``.
"""

import sys
import threading
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from types import FrameType
from typing import Any

import xdistill

PACKAGE = Path(xdistill.__file__).parent


def files_run_through(call: Callable[[], object]) -> list[str]:
    """Files of xdistill in which a function runs during ``call``, by first entry."""
    found: dict[str, None] = {}
    imports = threading.local()

    def follow(frame: FrameType, event: str, argument: Any) -> None:
        if event not in ("call", "return"):
            return
        code = frame.f_code
        if code.co_name == "<module>":
            imports.depth = getattr(imports, "depth", 0) + (1 if event == "call" else -1)
        elif event == "call" and not getattr(imports, "depth", 0):
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


def main(arguments: list[str]) -> int:
    """Run a command of xdistill and print its files; returns the command's exit status."""
    command, *rest = arguments
    (entry,) = entry_points(group="console_scripts", name=command)
    function, status = entry.load(), 0

    def call() -> None:
        nonlocal status
        try:
            function(rest, prog_name=command)
        except SystemExit as end:
            status = int(end.code or 0)

    files = files_run_through(call)
    print(f"{len(files)} files", *files, sep="\n  ")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
