"""A disk that fails at the N-th file operation and loses what no fsync kept."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from xdistill.manifests import disk

Moment = Literal["before", "middle", "after"]
OPERATIONS = ("_store", "_sync", "_rename", "_make_folder", "_unlink", "_remove_folder")


class Crash(BaseException):
    """The process ends here; no handler of ours may see it."""


class FaultyDisk:
    """Stands in for the file operations of ``disk`` while it is installed.

    After the fault every further operation fails too, as for a process that is no more.
    ``lose_power`` then does to the files what an operating system may do that was not asked to
    bring them to disk: cut them short, and undo renames.
    """

    def __init__(self) -> None:
        self._real: dict[str, Callable[..., None]] = {n: getattr(disk, n) for n in OPERATIONS}
        self._countdown: int | None = None
        self._moment: Moment = "before"
        self._dead = False
        self._unsynced: dict[Path, int] = {}
        self._synced: set[Path] = set()
        self._renamed: list[tuple[Path, Path, bytes | None]] = []

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Put the disk in place of the real operations."""
        for name in OPERATIONS:
            setattr(disk, name, self._operation(name))
        try:
            yield
        finally:
            for name, real in self._real.items():
                setattr(disk, name, real)

    def arm(self, operations: int, moment: Moment) -> None:
        """Fail at the given one of the coming operations."""
        self._countdown, self._moment = operations, moment

    def revive(self) -> None:
        """Start the machine again."""
        self._countdown, self._dead = None, False
        self._unsynced.clear()
        self._synced.clear()
        self._renamed.clear()

    def lose_power(self, chance: random.Random) -> None:
        """Forget, at random, what was not brought to disk."""
        for source, target, before in reversed(self._renamed):
            if chance.random() < 0.5 and target.exists():
                target.rename(source)
                if source in self._unsynced or target in self._unsynced:
                    self._unsynced[source] = self._unsynced.pop(target, 0)
                if before is not None:
                    target.write_bytes(before)
        for path, durable in self._unsynced.items():
            if path.is_file():
                data = path.read_bytes()
                path.write_bytes(data[: chance.randint(durable, len(data))])

    def _operation(self, name: str) -> Callable[..., None]:
        def operation(*arguments: Any) -> None:
            if self._dead:
                raise Crash
            due = self._countdown == 0
            if self._countdown is not None:
                self._countdown -= 1
            if due:
                self._dead = True
                if self._moment == "middle" and name == "_store":
                    path, block = arguments
                    self._do(name, path, block[: len(block) // 2])
                if self._moment == "after":
                    self._do(name, *arguments)
                raise Crash
            self._do(name, *arguments)

        return operation

    def _do(self, name: str, *arguments: Any) -> None:
        path: Path = arguments[0]
        if name == "_rename":
            target: Path = arguments[1]
            before = target.read_bytes() if target.is_file() else None
            self._renamed.append((path, target, before))
            if path.is_file() and path not in self._synced:
                # Others than the disk may have written it: torch.save, for one.
                self._unsynced.setdefault(path, 0)
            if path in self._unsynced:
                self._unsynced[target] = self._unsynced.pop(path)
        elif name == "_store":
            self._unsynced.setdefault(path, 0)
            self._synced.discard(path)
        elif name == "_sync":
            self._unsynced.pop(path, None)
            self._synced.add(path)
            self._renamed = [r for r in self._renamed if r[1].parent != path]
        self._real[name](*arguments)
