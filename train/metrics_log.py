"""The run's figures as JSON lines: one per optimiser step, one per validation."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

METRICS_FILE = "metrics.jsonl"
VALIDATION_FILE = "validation.jsonl"


class JsonLines:
    """A file of JSON lines that is open for appending; a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def __enter__(self) -> "JsonLines":
        # Buffered by line, so that a reader of the running log never sees half a line.
        self._file = self.path.open("a", encoding="utf-8", buffering=1)
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, values: Mapping[str, float | int | None]) -> None:
        """Append one line."""
        if self._file is None:
            raise ValueError("the log is not open")
        self._file.write(json.dumps(values) + "\n")

    def sync(self) -> None:
        """Bring the lines to disk, before a checkpoint that counts on them."""
        if self._file is not None:
            os.fsync(self._file.fileno())


def truncate(path: Path, *, step: int) -> None:
    """Drop the lines after ``step``, and one that a crash cut in the middle."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n") or json.loads(line)["step"] > step:
            break
        kept.append(line)
    aside = path.with_name(path.name + ".partial")
    aside.write_text("".join(kept), encoding="utf-8")
    aside.replace(path)
