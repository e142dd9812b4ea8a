"""A store written and read again: by its own code and by plain zarr-python; what it refuses."""

import errno
import fcntl
import os
import random
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from faulty_disk import Crash, FaultyDisk, Moment
from label_stores import SEQUENCE, SIZE, TEACHER, frame, new_array, new_store, snapshot

from xdistill.manifests import disk
from xdistill.pipeline.store import (
    CorruptLabelsError,
    LabelReader,
    LabelStore,
    LabelStoreError,
    UncommittedFrameError,
    chunks,
    leases,
)
from xdistill.pipeline.store.verify import verify_store


def test_round_trip(tmp_path: Path) -> None:
    array = new_array(new_store(tmp_path / "s"))
    array.write_shard(0, {3: frame(3), 63: frame(63)}, failed=[5])
    array.write_shard(1, {64: frame(64)})
    again = LabelStore.open(tmp_path / "s").array(SEQUENCE, "classes")
    reader = LabelReader(tmp_path / "s", "classes")
    for index in (3, 63, 64):
        np.testing.assert_array_equal(again.read(index), frame(index))
        np.testing.assert_array_equal(reader.read(SEQUENCE, index), frame(index))
    assert again.committed() == [3, 63, 64]
    assert again.failed() == [5]
    counts = again.counts(0)
    assert counts.shape == (64, 20)
    expected = np.bincount(frame(63).ravel(), minlength=256)
    assert counts[63].tolist() == [*expected[:19].tolist(), expected[255]]
    assert counts.sum() == 2 * 4 * 6
    by_hand = [np.bincount(frame(i).ravel(), minlength=256)[[*range(19), 255]] for i in (3, 63, 64)]
    assert again.totals().tolist() == np.sum(by_hand, axis=0).tolist()


def test_plain_zarr_reads_it(tmp_path: Path) -> None:
    array = new_array(new_store(tmp_path / "s"))
    array.write_shard(0, {3: frame(3)})
    group = zarr.open_group(tmp_path / "s", mode="r")
    assert group.attrs["fingerprint"] == "f1"
    assert group.attrs["teacher"] == {"kind": "png", "weights": "abc", "size": [4, 6]}
    assert [name for name, _ in group.groups()] == ["2011_09_26"]
    labels = zarr.open_array(tmp_path / "s" / SEQUENCE / "classes", mode="r")
    assert labels.shape == (70, 4, 6) and labels.shards == (64, 4, 6)
    assert labels.chunks == (1, 4, 6) and labels.attrs["table"] == [1, 2]
    np.testing.assert_array_equal(np.asarray(labels[3]), frame(3))
    assert (np.asarray(labels[2]) == 255).all()
    members = {name for name, _ in zarr.open_group(tmp_path / "s" / SEQUENCE, mode="r").arrays()}
    assert members == {"classes", "classes_commit", "classes_counts"}


def test_commit_words_are_as_documented(tmp_path: Path) -> None:
    import google_crc32c

    array = new_array(new_store(tmp_path / "s"))
    array.write_shard(0, {3: frame(3)}, failed=[4])
    words = zarr.open_array(tmp_path / "s" / SEQUENCE / "classes_commit", mode="r")
    assert words.dtype == np.uint64 and words.chunks == (64,)
    assert int(np.asarray(words[3])) == google_crc32c.value(frame(3).tobytes()) | 1 << 32
    assert int(np.asarray(words[4])) == 1 << 33
    assert int(np.asarray(words[5])) == 0


def test_a_frame_that_is_all_ignore_is_stored(tmp_path: Path) -> None:
    array = new_array(new_store(tmp_path / "s"))
    blank = np.full(SIZE, 255, np.uint8)
    array.write_shard(0, {0: blank})
    np.testing.assert_array_equal(array.read(0), blank)


def test_later_frames_leave_committed_ones_alone(tmp_path: Path) -> None:
    array = new_array(new_store(tmp_path / "s"))
    array.write_shard(0, {3: frame(3)}, failed=[5])
    array.write_shard(0, {3: frame(99), 4: frame(4), 5: frame(5)}, failed=[3])
    for index in (3, 4, 5):
        np.testing.assert_array_equal(array.read(index), frame(index))
    assert not array.failed()


@pytest.mark.parametrize("failed", [[], [5]])
def test_nothing_new_touches_no_file(tmp_path: Path, failed: list[int]) -> None:
    array = new_array(new_store(tmp_path / "s"))
    array.write_shard(0, {3: frame(3)}, failed=[5])
    before = snapshot(tmp_path / "s")
    again = new_array(new_store(tmp_path / "s"))
    again.write_shard(0, {3: frame(3)}, failed=failed)
    assert snapshot(tmp_path / "s") == before


def test_growth_keeps_frames(tmp_path: Path) -> None:
    store = new_store(tmp_path / "s")
    new_array(store, length=70).write_shard(1, {69: frame(69)})
    grown = new_array(store, length=300)
    assert (grown.length, grown.shards) == (300, 5)
    np.testing.assert_array_equal(grown.read(69), frame(69))
    grown.write_shard(4, {299: frame(299)})
    assert new_array(store, length=10).length == 300
    labels = zarr.open_array(tmp_path / "s" / SEQUENCE / "classes", mode="r")
    np.testing.assert_array_equal(np.asarray(labels[299]), frame(299))


@pytest.mark.parametrize("stopped_after", [1, 2])
def test_growth_cut_short_is_completed(
    tmp_path: Path, stopped_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(tmp_path / "s")
    new_array(store, length=70).write_shard(1, {69: frame(69)})
    rename, calls = disk._rename, []

    def failing(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) > stopped_after:
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    with monkeypatch.context() as patch, pytest.raises(LabelStoreError, match="written"):
        patch.setattr(disk, "_rename", failing)
        new_array(store, length=300)
    half = LabelStore.open(tmp_path / "s").array(SEQUENCE, "classes")
    assert half.length == 70
    np.testing.assert_array_equal(half.read(69), frame(69))
    assert new_array(new_store(tmp_path / "s"), length=300).length == 300


def test_sequences_and_arrays(tmp_path: Path) -> None:
    store = new_store(tmp_path / "s")
    assert store.sequences() == []
    new_array(store)
    new_array(store, name="groups_4")
    assert store.sequences() == [SEQUENCE]
    assert store.arrays(SEQUENCE) == ["classes", "groups_4"]
    assert store.has(SEQUENCE, "classes") and not store.has(SEQUENCE, "confidence")
    assert not store.has("2011_09_26/other/image_02", "classes")
    assert store.array(SEQUENCE, "groups_4").attributes == {"table": [1, 2]}


def refusals(store: LabelStore, tmp_path: Path) -> dict[str, Callable[[], object]]:
    """Every mistake, by a part of its message."""
    array = new_array(store)
    array.write_shard(0, {40: frame(40)})
    reading = LabelStore.open(tmp_path / "s").array(SEQUENCE, "classes")
    (tmp_path / "other").mkdir()
    zarr.open_group(tmp_path / "foreign", mode="w")
    return {
        "the label store does not exist": lambda: LabelStore.open(tmp_path / "absent"),
        "no label store here": lambda: LabelStore.open(tmp_path / "other"),
        "or a damaged one": lambda: LabelStore.open(tmp_path / "foreign"),
        "fingerprint f2\n.*f1\n.*weights: 'abc' in the store, 'xyz' now": (
            lambda: LabelStore.open_for_writing(
                tmp_path / "s", teacher={**TEACHER, "weights": "xyz"}, fingerprint="f2"
            )
        ),
        r"frame 2 of classes is 5x6 uint8\n.*4x6": lambda: array.write_shard(
            0, {2: np.zeros((5, 6), np.uint8)}
        ),
        r"is 4x6 int64": lambda: array.write_shard(0, {2: np.zeros(SIZE, np.int64)}),
        r"frame 2 of classes has label value 19\n.*0 to 18": lambda: array.write_shard(
            0, {2: np.full(SIZE, 19, np.uint8)}
        ),
        r"\(4, 7\)\n.*\(4, 6\), as the array was created": lambda: store.ensure_array(
            SEQUENCE, "classes", length=500, size=(4, 7), values=19, attributes={"table": [1, 2]}
        ),
        "record is .*\n.*as the array was": lambda: store.ensure_array(
            SEQUENCE, "classes", length=1, size=SIZE, values=19, attributes={"table": [2, 1]}
        ),
        "image_02 has no array groups_4\n(.*\n)*.*regroup --scheme 4": lambda: store.array(
            SEQUENCE, "groups_4"
        ),
        "opened for reading": lambda: reading.write_shard(0, {1: frame(1)}),
        "frame 70 of classes is outside": lambda: array.write_shard(1, {70: frame(1)}),
    }


@pytest.mark.parametrize("number", range(12))
def test_refusals(tmp_path: Path, number: int) -> None:
    store = new_store(tmp_path / "s")
    message, mistake = list(refusals(store, tmp_path).items())[number]
    before = snapshot(tmp_path / "s")
    with pytest.raises(LabelStoreError, match=message) as caught:
        mistake()
    assert isinstance(caught.value, OSError)
    assert snapshot(tmp_path / "s") == before


def test_a_frame_of_another_shard_is_a_defect(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frame 64 is not in shard 0"):
        new_array(new_store(tmp_path / "s")).write_shard(0, {64: frame(1)})


def test_frames_without_labels_name_the_command(tmp_path: Path) -> None:
    store = new_store(tmp_path / "s")
    new_array(store).write_shard(0, {0: frame(0)}, failed=[1])
    for index in (1, 2, 70, -1):
        with pytest.raises(UncommittedFrameError, match=f"frame {index} .*\n(.*\n)*.*segment"):
            LabelReader(tmp_path / "s", "classes").read(SEQUENCE, index)
    groups = LabelReader(tmp_path / "s", "groups_4")
    with pytest.raises(UncommittedFrameError, match=r"regroup --scheme 4"):
        groups.read(SEQUENCE, 0)


def test_a_reader_sees_frames_committed_since(tmp_path: Path) -> None:
    array = new_array(new_store(tmp_path / "s"))
    array.write_shard(0, {0: frame(0)})
    reader = LabelReader(tmp_path / "s", "classes")
    assert reader.has(SEQUENCE, 0) and not reader.has(SEQUENCE, 1)
    array.write_shard(0, {1: frame(1)})
    np.testing.assert_array_equal(reader.read(SEQUENCE, 1), frame(1))
    array.retract([0])
    array.write_shard(0, {0: frame(100)})
    np.testing.assert_array_equal(reader.read(SEQUENCE, 0), frame(100))


def test_a_newer_format_is_named(tmp_path: Path) -> None:
    new_store(tmp_path / "s")
    path = tmp_path / "s" / "zarr.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(LabelStoreError, match="version 2\n.*version 1 at most"):
        LabelStore.open(tmp_path / "s")


def test_retracted_frames_are_done_again(tmp_path: Path) -> None:
    array = new_array(new_store(tmp_path / "s"))
    array.write_shard(0, {0: frame(0), 1: frame(1)})
    array.retract([1])
    assert array.committed() == [0]
    assert array.counts(0)[1].sum() == 0
    array.write_shard(0, {1: frame(11)})
    np.testing.assert_array_equal(array.read(0), frame(0))
    np.testing.assert_array_equal(array.read(1), frame(11))


def test_a_shard_without_its_commit_record_is_a_loss(tmp_path: Path) -> None:
    array = new_array(new_store(tmp_path / "s"))
    array.write_shard(0, {0: frame(0)})
    (array.folder.with_name("classes_commit") / "c.0").unlink()
    reader = LabelReader(tmp_path / "s", "classes")
    for action in (
        array.committed,
        lambda: array.read(0),
        lambda: array.write_shard(0, {1: frame(1)}),
        lambda: reader.has(SEQUENCE, 0),
    ):
        with pytest.raises(CorruptLabelsError, match=r"commit record is missing(.*\n)*.*--repair"):
            action()
    array.retract([0])
    array.write_shard(0, {0: frame(0)})
    np.testing.assert_array_equal(reader.read(SEQUENCE, 0), frame(0))


def test_a_record_written_while_one_looks_is_no_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer's first shard appears between two looks of a reader."""
    array = new_array(new_store(tmp_path / "s"))
    read = chunks._read_record

    def late(path: Path, size: int) -> bytes | None:
        body = read(path, size)
        monkeypatch.setattr(chunks, "_read_record", read)
        array.write_shard(0, {0: frame(0)})
        return body

    monkeypatch.setattr(chunks, "_read_record", late)
    assert array.committed_in(0) == [0]


def test_frames_committed_while_one_counts_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = new_array(new_store(tmp_path / "s"))
    array.write_shard(0, {0: frame(0)})
    for function in ("read_counts", "read_words"):
        read = getattr(chunks, function)

        def beside(*arguments: Any, read: Callable[..., Any] = read, **more: Any) -> Any:
            found = read(*arguments, **more)
            monkeypatch.undo()
            array.write_shard(0, {len(array.committed()): frame(1)})
            return found

        monkeypatch.setattr(chunks, function, beside)
        assert array.totals().sum() % (SIZE[0] * SIZE[1]) == 0
    assert array.committed() == [0, 1, 2]


@pytest.mark.parametrize("exact", [1 << 24, 1])
def test_counts_of_every_value(exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "EXACT_PIXELS", exact)
    labels = np.repeat(np.arange(256, dtype=np.uint8), np.arange(256)).reshape(-1, 15)
    assert chunks.histogram(labels, values=255).tolist() == list(range(256))
    assert chunks.histogram(labels[labels < 19], values=19).tolist() == [*range(19), 0]
    with pytest.raises(ValueError, match="label value 19"):
        chunks.histogram(labels, values=19)


OTHER = {"kind": "png", "weights": "def", "size": [4, 6]}


def open_for(path: Path, teacher: dict[str, object], fingerprint: str) -> LabelStore:
    """As ``segment`` does."""
    with suppress(LabelStoreError):
        return LabelStore.open_for_writing(path, teacher=teacher, fingerprint=fingerprint)
    LabelStore.open(path).give_to(teacher=teacher, fingerprint=fingerprint)
    return LabelStore.open_for_writing(path, teacher=teacher, fingerprint=fingerprint)


def test_a_store_without_a_frame_belongs_to_nobody(tmp_path: Path) -> None:
    array = new_array(new_store(tmp_path / "s"))
    array.write_shard(0, {}, failed=[3, 5])
    open_for(tmp_path / "s", OTHER, "f2")
    again = LabelStore.open(tmp_path / "s")
    assert again.fingerprint == "f2" and again.teacher == OTHER
    assert again.array(SEQUENCE, "classes").failed() == [3, 5]
    groups = [tmp_path / "s", *list((tmp_path / "s" / SEQUENCE).parents)[:2]]
    for group in (*groups, tmp_path / "s" / SEQUENCE):
        assert zarr.open_group(group, mode="r").attrs["fingerprint"] == "f2"


def test_a_store_with_one_frame_keeps_its_teacher(tmp_path: Path) -> None:
    array = new_array(new_store(tmp_path / "s"))
    array.write_shard(0, {3: frame(3)})
    before = snapshot(tmp_path / "s")
    with pytest.raises(LabelStoreError, match="the teacher has fingerprint f2"):
        open_for(tmp_path / "s", OTHER, "f2")
    assert snapshot(tmp_path / "s") == before


def test_a_writer_before_its_first_frame_keeps_the_store(tmp_path: Path) -> None:
    array = new_array(new_store(tmp_path / "s"))
    with array.lease(0) as held:
        assert held
        with pytest.raises(LabelStoreError, match="the teacher has fingerprint f2"):
            open_for(tmp_path / "s", OTHER, "f2")
    assert LabelStore.open(tmp_path / "s").fingerprint == "f1"


def test_a_writer_between_two_looks_gets_the_store_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = new_array(new_store(tmp_path / "s"))
    looks = iter([True, False])
    monkeypatch.setattr(LabelStore, "belongs_to_nobody", lambda self: next(looks))
    with pytest.raises(LabelStoreError, match="the teacher has fingerprint f2"):
        open_for(tmp_path / "s", OTHER, "f2")
    assert LabelStore.open(tmp_path / "s").fingerprint == "f1"
    array.write_shard(0, {3: frame(3)})
    assert array.committed() == [3]


def test_a_writer_whose_store_went_to_another_teacher_stops(tmp_path: Path) -> None:
    array = new_array(new_store(tmp_path / "s"))
    open_for(tmp_path / "s", OTHER, "f2")
    with pytest.raises(LabelStoreError, match="the teacher has fingerprint f1"):
        array.write_shard(0, {3: frame(3)})
    assert LabelStore.open(tmp_path / "s").array(SEQUENCE, "classes").committed() == []


def test_a_stale_writer_creates_nothing_in_a_store_given_away(tmp_path: Path) -> None:
    stale = new_store(tmp_path / "s")
    open_for(tmp_path / "s", OTHER, "f2")
    before = snapshot(tmp_path / "s")
    with pytest.raises(LabelStoreError, match="the teacher has fingerprint f1"):
        new_array(stale)
    assert snapshot(tmp_path / "s") == before


def test_a_store_is_not_given_away_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_array(new_store(tmp_path / "s"))

    def flock(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(LabelStoreError, match="the teacher has fingerprint f2"):
        open_for(tmp_path / "s", OTHER, "f2")


@pytest.mark.parametrize("moment", ["before", "middle"])
@pytest.mark.parametrize("power", [False, True])
def test_a_crash_while_a_store_is_given_away(tmp_path: Path, moment: Moment, power: bool) -> None:
    crashes = 0
    while True:
        path = tmp_path / str(crashes)
        new_array(new_store(path)).write_shard(0, {}, failed=[3])
        disk = FaultyDisk()
        with disk.installed():
            disk.arm(crashes, moment)
            try:
                open_for(path, OTHER, "f2")
            except Crash:
                crashes += 1
            else:
                break
        if power:
            disk.lose_power(random.Random(crashes))
        # Whoever comes next, the same teacher or the former one: it has the store whole.
        teacher, fingerprint = ((OTHER, "f2"), (TEACHER, "f1"))[crashes % 2]
        array = new_array(open_for(path, teacher, fingerprint))
        array.write_shard(0, {3: frame(3)})
        report = verify_store(path)
        assert report.ok and not report.orphans, "\n".join(report.lines())
        assert LabelStore.open(path).fingerprint == fingerprint
    assert crashes > 8


def test_the_lock_is_on_the_document_that_has_the_name_now(tmp_path: Path) -> None:
    """A zarr user, or another teacher, replaces the root's document while a writer waits."""
    store = new_store(tmp_path / "s")
    root = tmp_path / "s" / "zarr.json"
    with ExitStack() as former, ExitStack() as current:
        former.enter_context(leases.Leases("required").metadata(root))
        waiting = threading.Thread(target=new_array, args=(store,))
        waiting.start()
        waiting.join(0.2)
        disk.write(root, [root.read_bytes()])
        current.enter_context(leases.Leases("required").metadata(root))
        former.close()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join()
    assert store.arrays(SEQUENCE) == ["classes"]


@pytest.mark.parametrize(
    ("there", "name"),
    [
        ("classes", "classes_commit"),
        ("classes", "classes_counts"),
        ("classes", "other_commit"),
        ("groups_mine", "groups_Mine"),
        ("classes", "x" * 101),
        ("classes", "a/b"),
        ("classes", ".."),
        ("classes", "groups_gr\u00f6\u00dfe"),
        ("classes", ""),
    ],
)
def test_names_that_could_be_taken_for_another_array(tmp_path: Path, there: str, name: str) -> None:
    store = new_store(tmp_path / "s")
    new_array(store, name=there)
    before = snapshot(tmp_path / "s")
    with pytest.raises(LabelStoreError, match=r"no array can be named .*\n(.*\n)*.*another name"):
        new_array(store, name=name)
    assert snapshot(tmp_path / "s") == before
