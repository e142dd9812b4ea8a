"""The labels of a PNG folder are told by themselves, not by where they lie."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from kitti_tree import DRIVE_A, DRIVE_B, Tree

from xdistill.pipeline.cli.main import main
from xdistill.pipeline.kitti.frames import find_frames
from xdistill.pipeline.labelling.plan import make_plan, open_existing
from xdistill.pipeline.labelling.segment import Labelling
from xdistill.pipeline.store import LabelStore
from xdistill.teachers.choice.spec import TeacherSpec
from xdistill.teachers.protocol import fingerprint_of

SEQUENCE_A = f"{DRIVE_A}/image_02"


@pytest.fixture
def store(tree: Tree, tmp_path: Path) -> Path:
    """A store of drive A, whose drive B is still to be labelled."""
    path = tmp_path / "labels.zarr"
    assert run("segment", tree, path, tree.labels, "--drive", "0001").exit_code == 0
    return path


def run(command: str, tree: Tree, store: Path, labels: Path, *more: str) -> Result:
    where = ["--data", str(tree.data), "--store", str(store), "--teacher", f"png:{labels}"]
    return CliRunner().invoke(main, [command, *where, *more])


def content(store: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}


def copied(labels: Path) -> Path:
    return Path(shutil.copytree(labels, labels.with_name("job 7")))


def linked(labels: Path) -> Path:
    link = labels.with_name("link")
    link.symlink_to(labels)
    return link


def written_anew(labels: Path) -> Path:
    """The same pixels in other files."""
    other = copied(labels)
    for path in other.rglob("*.png"):
        before = path.read_bytes()
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert pixels is not None
        cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])
        assert path.read_bytes() != before
    return other


def with_some_lost(labels: Path) -> Path:
    """A part of the maps, as a job has those of its share, and a damaged one."""
    other = copied(labels)
    for path in sorted((other / SEQUENCE_A).iterdir())[::2]:
        path.unlink()
    min((other / SEQUENCE_A).iterdir()).write_bytes(b"cut short")
    return other


def with_more(labels: Path) -> Path:
    other = copied(labels)
    (other / "2011_09_30/new/image_02").mkdir(parents=True)
    shutil.copy(min(labels.rglob("*.png")), other / "2011_09_30/new/image_02/0000000000.png")
    return other


@pytest.mark.parametrize("elsewhere", [copied, linked, written_anew, with_some_lost, with_more])
def test_the_same_labels_go_on_wherever_they_lie(
    tree: Tree, store: Path, elsewhere: Callable[[Path], Path]
) -> None:
    record = LabelStore.open(store).teacher
    labels = elsewhere(tree.labels)
    result = run("segment", tree, store, labels)
    assert result.exit_code == 0, result.output
    assert "labelled 3 frames, 0 failed, 69 already done" in result.stdout
    assert "note:" not in result.stderr.replace("note: of the", "")
    assert LabelStore.open(store).teacher == record


def test_a_repair_takes_the_same_labels_elsewhere(tree: Tree, store: Path) -> None:
    before = content(store)
    shard = next((store / SEQUENCE_A / "classes").rglob("*0.0.0"))
    shard.write_bytes(shard.read_bytes()[:100] + b"\0" + shard.read_bytes()[101:])
    tree.labels.rename(tree.labels.with_name("moved"))
    result = run("verify", tree, store, tree.labels.with_name("moved"), "--repair")
    assert result.exit_code == 0, result.output
    assert content(store) == before


@pytest.mark.parametrize("command", [("segment",), ("verify", "--repair")])
def test_other_labels_are_refused_at_the_same_path(
    tree: Tree, store: Path, command: tuple[str, ...]
) -> None:
    shard = next((store / SEQUENCE_A / "classes").rglob("*1.0.0"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
    before = content(store)
    for path in (tree.labels / SEQUENCE_A).iterdir():
        cv2.imwrite(str(path), np.full((12, 40), 3, np.uint8))
    result = run(command[0], tree, store, tree.labels, *command[1:])
    assert result.exit_code == 1, result.output
    assert f"the label map of {DRIVE_A} " in result.stderr
    assert " l is not the one that the store holds: " in result.stderr
    assert "% of its pixels differ" in result.stderr and "another --store" in result.stderr
    assert content(store) == before


def test_other_ids_are_another_teacher(tree: Tree, store: Path) -> None:
    for path in tree.labels.rglob("*.png"):
        cv2.imwrite(str(path), np.full((12, 40), 26, np.uint8))
    result = run("segment", tree, store, tree.labels, "--ids", "label")
    assert result.exit_code == 1 and "ids: 'train' in the store, 'label' now" in result.stderr


def test_labels_of_other_drives_cannot_be_compared_which_is_said(tree: Tree, store: Path) -> None:
    shutil.rmtree(tree.labels / DRIVE_A)
    result = run("segment", tree, store, tree.labels)
    assert result.exit_code == 0, result.output
    assert f"no frame of {store} has a label map in {tree.labels}" in result.stderr


def as_once_made(store: Path) -> None:
    """The store's record as it was while the path was part of the fingerprint."""
    record = {k: v for k, v in LabelStore.open(store).teacher.items() if k != "sample_sha256"}
    made = store.with_name("made.zarr")
    LabelStore.open_for_writing(made, teacher=record, fingerprint=fingerprint_of(record))
    for document in [store, *(store / part for part in ("2011_09_26", DRIVE_A, SEQUENCE_A))]:
        shutil.copy(made / "zarr.json", document / "zarr.json")


def test_a_store_whose_fingerprint_holds_a_path_goes_on(tree: Tree, store: Path) -> None:
    as_once_made(store)
    print_ = LabelStore.open(store).fingerprint
    result = run("segment", tree, store, copied(tree.labels))
    assert result.exit_code == 0, result.output
    assert "labelled 3 frames, 0 failed, 69 already done" in result.stdout
    assert LabelStore.open(store).fingerprint == print_
    assert run("verify", tree, store, tree.labels).exit_code == 0


def test_jobs_with_the_labels_of_their_shares_meet_in_a_new_store(
    tree: Tree, tmp_path: Path
) -> None:
    path = tmp_path / "new.zarr"
    frames = find_frames(tree.data, drives=None, cameras=["l"])
    tasks = make_plan(tree.data, frames, store=open_existing(path)).tasks
    for drive in (DRIVE_A, DRIVE_B):
        shutil.copytree(tree.labels / drive, tmp_path / drive[-9:-5] / drive)
    jobs = [
        Labelling(
            data=tree.data,
            store=path,
            teacher=TeacherSpec.parse(f"png:{tmp_path / drive[-9:-5]}"),
            tasks=tasks,
        )
        for drive in (DRIVE_A, DRIVE_B)
    ]
    teachers = [job.load_teacher() for job in jobs]
    stores = [job.open_store(one) for job, one in zip(jobs, teachers, strict=True)]
    assert teachers[0].fingerprint != teachers[1].fingerprint
    assert stores[0].fingerprint == stores[1].fingerprint == teachers[0].fingerprint
