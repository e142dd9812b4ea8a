"""Where a result cannot be written, that is said before the work for it is done."""

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from xdistill.manifests.atomic import require_writable
from xdistill.manifests.errors import OutputError


def test_a_file_that_can_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    require_writable(tmp_path / "new.json", option="--json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "reason"), [(".", "a folder"), ("absent/x.json", "No such file or directory")]
)
def test_a_folder_and_an_absent_folder_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    out = tmp_path / name
    with pytest.raises(OutputError, match="what to do: create the folder") as told:
        require_writable(out, option="--json")
    assert f"--json {out} cannot be written ({reason})" in str(told.value)


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(OutputError, match="No space left on device"):
        require_writable(tmp_path / "new.json", option="--json")
