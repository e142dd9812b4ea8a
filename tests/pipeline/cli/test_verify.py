"""``xd-pipeline verify``: damage is named, and repair makes again only what was damaged."""

import errno
import fcntl
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from kitti_tree import DRIVE_A, DRIVE_B, Tree

from xdistill.pipeline.cli.main import main
from xdistill.pipeline.store.format import seal

CLASSES = f"{DRIVE_A}/image_02/classes"
GROUPS = f"{DRIVE_A}/image_02/groups_4"


@pytest.fixture
def store(tree: Tree, tmp_path: Path) -> Path:
    path = tmp_path / "labels.zarr"
    assert run("segment", tree, path).exit_code == 0
    assert CliRunner().invoke(main, ["regroup", "--store", str(path)]).exit_code == 0
    return path


def run(command: str, tree: Tree, store: Path, *more: str) -> Result:
    where = ["--data", str(tree.data), "--store", str(store), "--teacher", f"png:{tree.labels}"]
    return CliRunner().invoke(main, [command, *where, *more])


def content(store: Path) -> dict[str, bytes]:
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file()
    }


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_an_intact_store_passes(tree: Tree, store: Path) -> None:
    result = run("verify", tree, store)
    assert (
        result.exit_code == 0 and "72 frames, 144 label maps read, all as written" in result.stdout
    )


@pytest.mark.parametrize(
    ("path", "position"),
    [
        (f"{CLASSES}/c.0.0.0", 30),
        (f"{GROUPS}/c.0.0.0", 30),
        (f"{CLASSES}_commit/c.1", 3),
        (f"{CLASSES}_counts/c.0.0", 3),
        (f"{CLASSES}/zarr.json", 40),
        ("2011_09_26/zarr.json", 40),
    ],
)
def test_a_flipped_bit_is_named_and_repaired(
    tree: Tree, store: Path, path: str, position: int
) -> None:
    before = content(store)
    flip(store / path, position)
    found = run("verify", tree, store)
    assert found.exit_code == 1
    assert str((store / path).parent) in found.stdout and "--repair" in found.stdout
    repaired = run("verify", tree, store, "--repair")
    assert repaired.exit_code == 0, repaired.output
    assert "after repair:" in repaired.stdout and "all as written" in repaired.stdout
    assert content(store) == before


def test_repair_labels_only_the_damaged_frame_and_its_groups(tree: Tree, store: Path) -> None:
    flip(store / f"{CLASSES}/c.0.0.0", 30)
    result = run("verify", tree, store, "--repair")
    assert "labelled 1 frames again, 0 failed" in result.stdout
    assert "grouped 1 frames again" in result.stdout


def test_groups_need_neither_data_nor_teacher(tree: Tree, store: Path) -> None:
    flip(store / f"{GROUPS}/c.0.0.0", 30)
    result = CliRunner().invoke(
        main, ["verify", "--store", str(store), "--repair", "--data", "nowhere"]
    )
    assert result.exit_code == 0, result.output


def test_repair_refuses_another_teacher(tree: Tree, store: Path) -> None:
    flip(store / f"{CLASSES}/c.0.0.0", 30)
    damaged = content(store)
    result = run("verify", tree, store, "--repair", "--teacher", OWN)
    assert result.exit_code == 1 and "expected: the store's teacher" in result.stderr
    assert content(store) == damaged


def test_a_frame_that_cannot_be_made_again_stays_named(tree: Tree, store: Path) -> None:
    flip(store / f"{CLASSES}/c.0.0.0", 30)
    for path in (tree.labels / DRIVE_A / "image_02").iterdir():
        path.unlink()
    damaged = content(store)
    result = run("verify", tree, store, "--repair")
    assert result.exit_code == 1 and f"failed: {DRIVE_A} 0 l" in result.stdout
    assert content(store) == damaged
    again = run("verify", tree, store)
    assert again.exit_code == 1 and f"frame 0 of {DRIVE_A}/image_02 classes" in again.stdout


def confident_store(tree: Tree, path: Path) -> Path:
    """A store with classes and confidence of drive B, by a teacher that gives both if asked."""
    where = ["--data", str(tree.data), "--store", str(path), "--drive", DRIVE_B, "--confidence"]
    result = CliRunner().invoke(main, ["segment", *where, "--teacher", OWN])
    assert result.exit_code == 0, result.output
    return path


OWN = "bright_teacher:with_settings"
SEQUENCE_B = f"{DRIVE_B}/image_02"


def repair(data: Path, store: Path, teacher: str = OWN) -> Result:
    where = ["--data", str(data), "--store", str(store), "--teacher", teacher]
    return CliRunner().invoke(main, ["verify", "--repair", *where])


@pytest.mark.parametrize("damaged", ["confidence_commit/c.0", "classes/c.0.0.0"])
@pytest.mark.parametrize("data", ["absent", "empty"])
def test_without_images_nothing_is_taken_back(
    tree: Tree, tmp_path: Path, damaged: str, data: str
) -> None:
    store = confident_store(tree, tmp_path / "s")
    flip(store / SEQUENCE_B / damaged, 30)
    (tmp_path / "empty").mkdir()
    before = content(store)
    for _ in range(2):
        result = repair(tmp_path / data, store)
        assert result.exit_code == 1
        named = "folder does not exist" if data == "absent" else f"failed: {DRIVE_B} 0 l: frame"
        assert named in result.output
        assert content(store) == before


def test_a_shard_with_a_frame_that_is_lost_stays_whole(tree: Tree, tmp_path: Path) -> None:
    store = confident_store(tree, tmp_path / "s")
    flip(store / SEQUENCE_B / "classes_commit/c.0", 30)
    image = tree.image(DRIVE_B, 1)
    held = image.read_bytes()
    image.write_bytes(held[:-20])
    before = content(store)
    result = repair(tree.data, store)
    assert result.exit_code == 1 and f"failed: {DRIVE_B} 1 l" in result.stdout
    assert content(store) == before
    image.write_bytes(held)
    assert repair(tree.data, store).exit_code == 0


def test_numbers_that_never_had_an_image_hold_nothing_up(tree: Tree, store: Path) -> None:
    before = content(store)
    flip(store / CLASSES / "c.0.0.0", -3)
    flip(store / f"{CLASSES}_commit" / "c.0", 3)
    result = run("verify", tree, store, "--repair")
    assert result.exit_code == 0, result.output
    assert content(store) == before


@pytest.mark.parametrize(
    "damaged", ["confidence/c.0.0.0", "confidence_commit/c.0", "classes/c.0.0.0"]
)
def test_confidence_is_made_again_with_the_classes(
    tree: Tree, tmp_path: Path, damaged: str
) -> None:
    store = confident_store(tree, tmp_path / "s")
    before = content(store)
    flip(store / SEQUENCE_B / damaged, 30)
    result = repair(tree.data, store)
    assert result.exit_code == 0, result.output
    assert content(store) == before


def test_a_teacher_that_gives_no_confidence_is_refused(tree: Tree, tmp_path: Path) -> None:
    store = confident_store(tree, tmp_path / "s")
    flip(store / SEQUENCE_B / "classes/c.0.0.0", 30)
    before = content(store)
    result = repair(tree.data, store, "bright_teacher:without_confidence")
    assert result.exit_code == 1 and "gives no confidence" in result.stderr
    assert content(store) == before


@pytest.mark.parametrize("lost", [f"{CLASSES}_commit/c.0", f"{GROUPS}_commit/c.0"])
def test_a_lost_commit_record_stops_every_writer_until_repair(
    tree: Tree, store: Path, lost: str
) -> None:
    before = content(store)
    (store / lost).unlink()
    damaged = content(store)
    segmented = run("segment", tree, store)
    regrouped = CliRunner().invoke(main, ["regroup", "--store", str(store)])
    for result in (segmented, regrouped) if CLASSES in lost else (regrouped,):
        assert result.exit_code == 1, result.output
        assert "commit record is missing" in result.stderr and "--repair" in result.stderr
    assert content(store) == damaged
    assert run("verify", tree, store, "--repair").exit_code == 0
    assert content(store) == before


@pytest.mark.parametrize("array", ["classes", "groups_4"])
def test_metadata_lost_in_every_copy_says_what_to_move(tree: Tree, store: Path, array: str) -> None:
    before = content(store)
    sequence = store / DRIVE_A / "image_02"
    folders = [sequence / f"{array}{suffix}" for suffix in ("", "_commit", "_counts")]
    for folder in folders:
        (folder / "zarr.json").unlink()
    result = run("verify", tree, store, "--repair")
    assert result.exit_code == 1 and "every copy of 3 zarr.json is lost" in result.stderr
    moves = [sequence] if array == "classes" else folders
    for number, folder in enumerate(moves):
        assert str(folder) in result.stderr
        folder.rename(store.with_name(f"away{number}"))
    assert run("segment", tree, store).exit_code == 0
    assert CliRunner().invoke(main, ["regroup", "--store", str(store)]).exit_code == 0
    assert content(store) == before


def test_the_next_command_names_the_teacher_of_the_store(tree: Tree, store: Path) -> None:
    flip(store / f"{CLASSES}/c.0.0.0", 30)
    where = ["--data", str(tree.data), "--store", str(store)]
    result = CliRunner().invoke(main, ["verify", *where])
    command = result.stdout.splitlines()[-1].removeprefix("next: xd-pipeline ")
    assert f"--teacher png:{tree.labels}" in command
    repaired = CliRunner().invoke(main, command.split())
    assert repaired.exit_code == 0, repaired.output


def test_a_teacher_that_the_record_does_not_spell_is_not_guessed(
    tree: Tree, tmp_path: Path
) -> None:
    store = confident_store(tree, tmp_path / "s")
    flip(store / SEQUENCE_B / "classes/c.0.0.0", 30)
    result = CliRunner().invoke(main, ["verify", "--store", str(store)])
    last = result.stdout.splitlines()[-1]
    assert "with the store's own teacher" in last and "ocrnet" not in last


def test_groups_of_no_known_scheme_are_not_given_up(tree: Tree, store: Path) -> None:
    for suffix in ("", "_commit", "_counts"):
        path = store / f"{GROUPS}{suffix}" / "zarr.json"
        document = json.loads(path.read_text())
        about = document["attributes"] if not suffix else document["attributes"]["attributes"]
        del about["table"]
        path.write_bytes(seal(document))
    assert run("verify", tree, store, "--repair").exit_code == 0
    flip(store / f"{GROUPS}/c.0.0.0", 30)
    before = content(store)
    result = run("verify", tree, store, "--repair")
    assert result.exit_code == 1 and "does not record the scheme" in result.stderr
    assert f"move {store / GROUPS} " in result.stderr
    assert content(store) == before


def test_repair_without_locks_says_where_it_works(
    tree: Tree, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(store / f"{CLASSES}/c.0.0.0", 30)

    def flock(handle: int, operation: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert "next:" in run("verify", tree, store).stdout
    result = run("verify", tree, store, "--repair")
    assert result.exit_code == 1 and "has no locks: Invalid argument" in result.stderr
    assert "copy the store to a disk with locks" in result.stderr and "--part" not in result.stderr
