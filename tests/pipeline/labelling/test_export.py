"""An export adds files, and takes nothing away: not through links, not half-way, not unasked."""

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from label_stores import SEQUENCE, frame, new_array, new_store

from xdistill.manifests import disk
from xdistill.manifests.errors import OutputError
from xdistill.pipeline.labelling.export import Export

FRAMES = range(4)


@pytest.fixture
def task(tmp_path: Path) -> Export:
    store = new_store(tmp_path / "store")
    new_array(store).write_shard(0, {index: frame(index) for index in FRAMES})
    return Export(store=store, array="classes", colour=False, out=tmp_path / "out")


def file(task: Export, index: int) -> Path:
    """Where a frame's file belongs; its folder exists."""
    path = task.out / SEQUENCE / f"{index:010d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def holds(path: Path, index: int) -> bool:
    return np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), frame(index))


def test_a_second_export_writes_what_is_missing(task: Export) -> None:
    assert task.frames == task.write(overwrite=False) == len(FRAMES)
    before = {index: file(task, index).stat().st_ino for index in FRAMES}
    file(task, 2).unlink()
    assert task.write(overwrite=False) == 1
    assert all(holds(file(task, index), index) for index in FRAMES)
    assert all(file(task, index).stat().st_ino == before[index] for index in FRAMES if index != 2)
    assert task.write(overwrite=True) == 0


def test_files_that_hold_something_else_are_refused_before_any_is_written(task: Export) -> None:
    file(task, 1).write_bytes(b"a label of mine")
    file(task, 3).write_bytes(b"another")
    before = contents(task.out)
    with pytest.raises(OutputError, match=r"0000000001\.png and 1 more hold") as told:
        task.write(overwrite=False)
    assert contents(task.out) == before and "--overwrite" in str(told.value)
    assert task.write(overwrite=True) == len(FRAMES)
    assert all(holds(file(task, index), index) for index in FRAMES)


@pytest.mark.parametrize("content", [None, b"a label of mine"])
def test_no_file_is_written_through_a_link(
    task: Export, content: bytes | None, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.png"
    if content is not None:
        mine.write_bytes(content)
    file(task, 0).symlink_to(mine)
    with pytest.raises(OutputError, match=r"0000000000\.png holds"):
        task.write(overwrite=False)
    assert file(task, 0).is_symlink()
    task.write(overwrite=True)
    assert holds(file(task, 0), 0) and not file(task, 0).is_symlink()
    assert (mine.read_bytes() if mine.exists() else None) == content


def test_what_is_no_file_is_not_waited_for(task: Export) -> None:
    os.mkfifo(file(task, 0))
    file(task, 1).symlink_to("/dev/zero")
    with pytest.raises(OutputError, match=r"0000000000\.png and 1 more"):
        task.write(overwrite=False)


def test_an_error_half_way_leaves_whole_files_alone(
    task: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(task, 2).write_bytes(b"old")
    store = disk._store

    def full(path: Path, block: bytes) -> None:
        if path.name.startswith("0000000002"):
            store(path, block[:9])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        store(path, block)

    monkeypatch.setattr(disk, "_store", full)
    with pytest.raises(OutputError, match="No space left on device"):
        task.write(overwrite=True)
    assert file(task, 2).read_bytes() == b"old"
    assert sorted(path.name for path in file(task, 0).parent.iterdir()) == [
        f"{index:010d}.png" for index in (0, 1, 2)
    ]
    assert holds(file(task, 0), 0) and holds(file(task, 1), 1)
