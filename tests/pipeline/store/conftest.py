"""Stores of these tests lie in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from label_stores import scratch_folder


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder of the test's own."""
    with scratch_folder() as folder:
        yield Path(folder)
