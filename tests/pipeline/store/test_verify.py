"""Verification finds every damage and names it; repair redoes only what is lost."""

import errno
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from label_stores import SEQUENCE, frame, new_array, new_store, snapshot

from xdistill.manifests import disk
from xdistill.pipeline.store import LabelReader, LabelStore, LabelStoreError
from xdistill.pipeline.store.errors import CorruptLabelsError
from xdistill.pipeline.store.repair import repair_labels, repair_metadata
from xdistill.pipeline.store.verify import VerifyReport, verify_store

CORRUPTIONS = 200
ARRAYS = ("classes", "groups_4")
FRAMES = (*range(3), 63, *range(70, 75))


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    """Two arrays with two shards each, one of them with a failed frame."""
    store = new_store(tmp_path / "s")
    for name in ARRAYS:
        label(store, name)
    return store


def label(store: LabelStore, name: str) -> None:
    """Write what is not committed yet."""
    array = new_array(store, length=80, name=name)
    for shard in range(array.shards):
        frames = [index for index in FRAMES if index // 64 == shard]
        array.write_shard(shard, {i: frame(i) for i in frames}, failed=[shard * 64 + 15])


def read_all(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Array and frame with whether it could be read; a frame that is read must be right."""
    for name in ARRAYS:
        reader = LabelReader(path, name)
        for index in (*FRAMES, 15, 40):
            try:
                labels = reader.read(SEQUENCE, index)
            except LabelStoreError:
                yield name, index, False
            else:
                np.testing.assert_array_equal(labels, frame(index))
                yield name, index, True


def repair(path: Path, report: VerifyReport) -> dict[tuple[str, str], tuple[int, ...]]:
    """What ``xd-pipeline verify --repair`` does."""
    assert repair_metadata(path, report) == ()
    store = new_store(path)
    redo = repair_labels(store, report)
    for name in ARRAYS:
        label(store, name)
    return redo


def test_an_intact_store(store: LabelStore) -> None:
    before = snapshot(store.path)
    steps: list[int] = []
    report = verify_store(store.path, advance=steps.append)
    assert report.ok and report.frames == len(FRAMES) and sum(steps) == 2 * len(FRAMES)
    assert not report.strays and not report.orphans and not report.redo()
    assert list(report.lines()) == [f"{store.path}: 9 frames, 18 label maps read, all as written"]
    assert snapshot(store.path) == before


Damage = Callable[[bytes, random.Random], bytes | None]


def flip(data: bytes, chance: random.Random) -> bytes:
    """One bit."""
    damaged = bytearray(data)
    damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def truncate(data: bytes, chance: random.Random) -> bytes:
    """Any number of bytes from the end."""
    return data[: chance.randrange(len(data))]


def zero(data: bytes, chance: random.Random) -> bytes:
    """A run of bytes, or all."""
    begin = chance.randrange(len(data))
    end = chance.randint(begin + 1, len(data))
    begin, end = chance.choice([(begin, end), (0, len(data))])
    return data[:begin] + bytes(end - begin) + data[end:]


def delete(data: bytes, chance: random.Random) -> None:
    """The whole file."""


def corruptions(path: Path) -> Iterator[tuple[Path, bytes | None]]:
    """Random files with what damage makes of them."""
    chance = random.Random(2)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    while True:
        file = chance.choice(files)
        damage: Damage = chance.choice([flip, truncate, zero, delete])
        damaged = damage(file.read_bytes(), chance)
        # Zeros over zeros are no damage.
        if damaged != file.read_bytes():
            yield file, damaged


@pytest.mark.slow
def test_no_corruption_is_silent_and_each_is_repaired(store: LabelStore) -> None:
    names: set[str] = set()
    whole = store.path.with_name("whole")
    shutil.copytree(store.path, whole)
    for (file, damaged), _ in zip(corruptions(whole), range(CORRUPTIONS), strict=False):
        target = store.path / file.relative_to(whole)
        target.unlink() if damaged is None else target.write_bytes(damaged)
        report = verify_store(store.path)
        assert not report.ok, f"{target} damaged silently"
        readable = {(name, index) for name, index, ok in read_all(store.path) if ok}
        names.add(target.name)

        redo = repair(store.path, report)
        expected = {target.parent.name.split("_co")[0]}
        assert {name for _, name in redo} <= expected
        assert verify_store(store.path).ok
        assert all(ok == (index in FRAMES) for _, index, ok in read_all(store.path))
        if target.name != "zarr.json" and not target.parent.name.endswith("_commit"):
            lost = {(name, i) for (_, name), frames in redo.items() for i in frames}
            assert readable | lost == {(name, i) for name in ARRAYS for i in FRAMES}
            assert not readable & lost
        shutil.rmtree(store.path / "2011_09_26")
        shutil.copytree(whole, store.path, dirs_exist_ok=True)
    kinds = {"zarr.json", "c.0.0.0", "c.1.0.0", "c.0", "c.1", "c.0.0", "c.1.0"}
    assert names == kinds


def test_one_bad_frame_is_named_and_only_it_is_redone(store: LabelStore) -> None:
    path = store.path / SEQUENCE / "classes" / "c.0.0.0"
    data = bytearray(path.read_bytes())
    data[1] ^= 1
    path.write_bytes(data)
    report = verify_store(store.path)
    assert [str(finding) for finding in report.findings] == [
        f"{path}: frame 0 of {SEQUENCE} classes: the checksum does not match"
    ]
    assert list(report.lines())[-1] == (
        f"{store.path}: 9 frames, 18 label maps read, 1 damaged, 1 to redo"
    )
    assert repair_labels(store, report) == {(SEQUENCE, "classes"): (0,)}
    array = store.array(SEQUENCE, "classes")
    assert array.committed() == list(FRAMES[1:])
    array.write_shard(0, {0: frame(0)})
    assert verify_store(store.path).ok


def test_pixels_of_another_commit_are_found(store: LabelStore) -> None:
    folder = store.path / SEQUENCE
    shutil.copy(folder / "classes" / "c.1.0.0", folder / "classes" / "c.0.0.0")
    reasons = {finding.reason for finding in verify_store(store.path).findings}
    assert "missing from its shard" in reasons
    with pytest.raises(LabelStoreError, match="frame 0 of classes is damaged: missing from"):
        store.array(SEQUENCE, "classes").read(0)
    new_array(store, length=80, name="other").write_shard(0, {0: frame(1)})
    shutil.copy(folder / "other" / "c.0.0.0", folder / "classes" / "c.0.0.0")
    report = verify_store(store.path)
    assert report.findings[0].reason == "not the pixels that were committed"


def test_counts_of_other_pixels_are_found_and_made_again(store: LabelStore) -> None:
    folder = store.path / SEQUENCE / "classes_counts"
    shutil.copy(folder / "c.1.0", folder / "c.0.0")
    report = verify_store(store.path)
    assert [(finding.kind, finding.path.name) for finding in report.findings] == [
        ("counts", "c.0.0")
    ]
    before = store.array(SEQUENCE, "groups_4").totals()
    assert repair_labels(store, report) == {}
    np.testing.assert_array_equal(store.array(SEQUENCE, "classes").totals(), before)


def test_counts_that_are_gone_are_not_taken_for_zeros(store: LabelStore) -> None:
    (store.path / SEQUENCE / "classes_counts" / "c.0.0").unlink()
    with pytest.raises(CorruptLabelsError, match="its pixels are not counted"):
        store.array(SEQUENCE, "classes").totals()


@pytest.mark.parametrize("lost", ["classes_commit/c.0", "classes_counts/c.0.0"])
def test_records_of_failed_frames_do_not_vanish(tmp_path: Path, lost: str) -> None:
    store = new_store(tmp_path / "s")
    new_array(store).write_shard(0, {}, failed=[1])
    (store.path / SEQUENCE / lost).unlink()
    report = verify_store(store.path)
    assert [finding.reason for finding in report.findings] == ["missing"]
    repair_labels(store, report)
    assert verify_store(store.path).ok


def test_commits_and_counts_damaged_together(store: LabelStore) -> None:
    for name in ("classes_commit/c.0", "classes_counts/c.0.0"):
        (store.path / SEQUENCE / name).write_bytes(b"x")
    report = verify_store(store.path)
    assert [finding.kind for finding in report.findings] == ["commit", "counts"]
    assert repair(store.path, report) == {(SEQUENCE, "classes"): (0, 1, 2, 63)}
    assert verify_store(store.path).ok


def test_metadata_of_another_store_is_found(store: LabelStore) -> None:
    other = LabelStore.open_for_writing(
        store.path.with_name("other"), teacher={"kind": "other"}, fingerprint="f2"
    )
    for folder in Path(SEQUENCE, "x").parents[:3]:
        shutil.copy(other.path / "zarr.json", store.path / folder / "zarr.json")
    report = verify_store(store.path)
    # The root decides, also where it stands alone.
    assert [f.reason for f in report.findings] == ["belongs to another store"] * 3
    before = snapshot(store.path)
    # Taken for this store's, labels of another teacher would be in it unnoticed for ever.
    with pytest.raises(
        LabelStoreError, match=rf"another teacher's(.*\n)*.*move {store.path}/2011_"
    ):
        repair_metadata(store.path, report)
    assert snapshot(store.path) == before


def test_metadata_that_disagrees_is_found(store: LabelStore) -> None:
    other = new_store(store.path.with_name("other"))
    other.ensure_array(SEQUENCE, "classes", length=80, size=(4, 6), values=18, attributes={})
    for name in ("classes_commit", "classes_counts"):
        shutil.copy(other.path / SEQUENCE / name / "zarr.json", store.path / SEQUENCE / name)
    report = verify_store(store.path)
    assert len([f for f in report.findings if "disagrees" in f.reason]) == 2
    repair(store.path, report)
    assert verify_store(store.path).ok


def test_an_array_shorter_than_its_commits_grows_again(store: LabelStore) -> None:
    other = new_store(store.path.with_name("other"))
    new_array(other, length=64)
    shutil.copy(other.path / SEQUENCE / "classes" / "zarr.json", store.path / SEQUENCE / "classes")
    report = verify_store(store.path)
    assert [f.reason for f in report.findings] == ["covers 64 frames, but 75 are committed"]
    repair(store.path, report)
    assert verify_store(store.path).ok


def test_metadata_without_any_copy_is_reported_lost(store: LabelStore) -> None:
    for name in ("classes", "classes_commit", "classes_counts"):
        (store.path / SEQUENCE / name / "zarr.json").unlink()
    report = verify_store(store.path)
    assert len(report.findings) == 3 and report.frames == len(FRAMES)
    assert all("cannot be restored" in str(finding) for finding in report.findings)
    assert repair_metadata(store.path, report) == report.findings


def test_a_removed_companion_is_made_again(store: LabelStore) -> None:
    shutil.rmtree(store.path / SEQUENCE / "classes_counts")
    report = verify_store(store.path)
    assert {finding.kind for finding in report.findings} == {"metadata", "counts"}
    assert repair(store.path, report) == {}
    assert verify_store(store.path).ok


def test_a_damaged_root_is_restored_from_any_group(store: LabelStore) -> None:
    before = (store.path / "zarr.json").read_bytes()
    (store.path / "zarr.json").unlink()
    with pytest.raises(LabelStoreError, match="verify"):
        LabelStore.open(store.path)
    repair(store.path, verify_store(store.path))
    assert (store.path / "zarr.json").read_bytes() == before


def test_strays_and_orphans_are_named_but_no_damage(store: LabelStore) -> None:
    strays = [
        store.path / "notes.txt",
        store.path / SEQUENCE / "classes" / "c.0.0.0.bak",
        store.path / SEQUENCE / "classes_commit" / "extra",
        store.path / "thoughts.partial",
    ]
    orphans = [
        store.path / SEQUENCE / "classes" / "c.0.0.0.12-0123abcd.partial",
        store.path / SEQUENCE / "classes" / ".lease.1",
    ]
    for path in strays + orphans:
        path.write_bytes(b"x")
    report = verify_store(store.path)
    assert report.ok
    assert set(report.strays) == set(strays) and set(report.orphans) == set(orphans)
    assert len(list(report.lines())) == 7
    new_store(store.path)
    assert not verify_store(store.path).orphans
    assert all(path.exists() for path in strays)


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelStoreError, match="no label store"):
        verify_store(tmp_path / "absent")
    zarr.open_group(tmp_path / "foreign", mode="w")
    with pytest.raises(LabelStoreError, match="no label store"):
        verify_store(tmp_path / "foreign")


FILES = [
    "zarr.json",
    f"{SEQUENCE}/zarr.json",
    f"{SEQUENCE}/classes/zarr.json",
    f"{SEQUENCE}/classes/c.0.0.0",
    f"{SEQUENCE}/classes_commit/c.0",
    f"{SEQUENCE}/classes_counts/c.0.0",
    f"{SEQUENCE}/classes_counts/zarr.json",
]


@pytest.mark.parametrize("file", FILES)
def test_a_folder_in_place_of_a_file_is_a_finding(store: LabelStore, file: str) -> None:
    (store.path / file).unlink()
    (store.path / file).mkdir()
    report = verify_store(store.path)
    assert {str(f.path) for f in report.findings} & {
        str(store.path / file),
        str((store.path / file).parent),
    }
    assert len(list(read_all(store.path))) == 2 * len((*FRAMES, 15, 40))


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_the_disk_cannot_read_is_a_finding(
    store: LabelStore, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = store.path / file
    number = bad.stat().st_ino
    read_bytes, pread = disk.read_bytes, os.pread

    def failing_read(path: Path) -> bytes:
        if path == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read_bytes(path)

    def failing_pread(handle: int, length: int, offset: int) -> bytes:
        if os.fstat(handle).st_ino == number:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(handle, length, offset)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "read_bytes", failing_read)
        patch.setattr(os, "pread", failing_pread)
        report = verify_store(store.path)
        assert {f.path for f in report.findings} <= {bad, bad.parent} and not report.ok
        assert "Input/output error" in str(report.findings[0])
        assert len(list(read_all(store.path))) == 2 * len((*FRAMES, 15, 40))
    assert verify_store(store.path).ok


@pytest.mark.parametrize("companions", [("counts",), ("counts", "commit")])
@pytest.mark.parametrize("damage", [flip, truncate, zero, delete])
def test_a_damaged_rest_of_an_interrupted_creation(
    store: LabelStore, companions: tuple[str, ...], damage: Damage
) -> None:
    """The array itself was never created: its damaged companion is in the way of that."""
    folders = [store.path / SEQUENCE / f"other_{name}" for name in companions]
    new_array(store, name="other")
    for folder in (store.path / SEQUENCE).glob("other*"):
        if folder not in folders:
            shutil.rmtree(folder)
    assert verify_store(store.path).ok
    file = folders[0] / "zarr.json"
    damaged = damage(file.read_bytes(), random.Random(4))
    file.unlink() if damaged is None else file.write_bytes(damaged)
    with pytest.raises(LabelStoreError, match="--repair"):
        new_array(store, name="other")
    report = verify_store(store.path)
    assert folders[0] in {finding.path for finding in report.findings}
    assert repair_metadata(store.path, report) == ()
    assert verify_store(store.path).ok
    new_array(store, name="other").write_shard(0, {0: frame(0)})
    assert verify_store(store.path).ok


DROPPINGS = [
    ".DS_Store",
    "._zarr.json",
    "._c.0",
    "Thumbs.db",
    "desktop.ini",
    ".nfs000000000001",
    ".zgroup",
    ".zattrs",
    ".zmetadata",
    ".c.0.0.0.Ab3dEf",
    "c.0.0.0~",
    "c.007",
    "c.5",
    "@eaDir/classes@SynoEAStream",
    "__MACOSX/._zarr.json",
    "my own zarr/zarr.json",
]


@pytest.mark.parametrize(
    "folder", ["", SEQUENCE, f"{SEQUENCE}/classes", f"{SEQUENCE}/classes_commit"]
)
def test_what_other_programs_leave_is_named_and_stays(store: LabelStore, folder: str) -> None:
    left = [store.path / folder / name for name in DROPPINGS]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text('{"zarr_format": 3, "node_type": "group", "attributes": {"mine": 1}}')
    before = snapshot(store.path)
    report = verify_store(store.path)
    assert report.ok, "\n".join(report.lines())
    tops = {store.path / folder / Path(name).parts[0] for name in DROPPINGS}
    assert set(report.strays) == tops
    assert all(f"{path}: not part of a store, left alone" in report.lines() for path in tops)
    assert store.sequences() == [SEQUENCE] and store.arrays(SEQUENCE) == list(ARRAYS)
    assert all(ok == (index in FRAMES) for _, index, ok in read_all(store.path))
    (store.path / SEQUENCE / "zarr.json").write_bytes(b"x")
    assert repair(store.path, verify_store(store.path)) == {}
    after = snapshot(store.path)
    for path in left:
        name = str(path.relative_to(store.path))
        assert after[name] == before[name]


def test_metadata_that_zarr_consolidated_is_accepted_and_never_trusted(store: LabelStore) -> None:
    before = (store.path / "zarr.json").read_bytes()
    with pytest.warns(UserWarning, match="Consolidated metadata"):
        zarr.consolidate_metadata(str(store.path))
    report = verify_store(store.path)
    assert report.ok and report.rewritten == (store.path / "zarr.json",)
    assert f"{store.path}/zarr.json: holds copies that zarr added, never read" in report.lines()
    grown = new_array(new_store(store.path), length=210)
    grown.write_shard(2, {130: frame(130)})
    assert verify_store(store.path).ok
    assert len(LabelReader(store.path)) == len(FRAMES) + 1
    # What was copied by then says 80 frames, and anything else may stand there.
    document = json.loads((store.path / "zarr.json").read_text())
    document["consolidated_metadata"] = {"metadata": {"2011_09_26": "nonsense"}}
    (store.path / "zarr.json").write_text(json.dumps(document))
    assert verify_store(store.path).ok
    # The store's own part is checked as ever.
    document["attributes"]["fingerprint"] = "f2"
    (store.path / "zarr.json").write_text(json.dumps(document))
    report = verify_store(store.path)
    assert [finding.path for finding in report.findings] == [store.path]
    repair(store.path, report)
    assert (store.path / "zarr.json").read_bytes() == before
