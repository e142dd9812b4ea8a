"""``xd-pipeline regroup``: stored groups equal the table read pixel by pixel."""

import errno
import fcntl
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
import zarr
from click.testing import CliRunner, Result
from kitti_tree import DRIVE_A, Tree

from xdistill.grouping.scheme import Scheme, load_scheme
from xdistill.pipeline.cli.regroup import regroup
from xdistill.pipeline.cli.segment import segment
from xdistill.pipeline.store import LabelStore
from xdistill.train.cli.train import DEFAULT_RECIPE
from xdistill.train.recipe.file import load_recipe

SEQUENCE = f"{DRIVE_A}/image_02"


def own_table(border: int) -> str:
    """Two groups: train ids below the border, and the rest."""
    groups = range(border), range(border, 19)
    return 'name = "halves"\n' + "".join(
        f'[[group]]\nid = {number}\nname = "{number}"\ntrain_ids = {list(ids)}\n'
        for number, ids in enumerate(groups)
    )


@pytest.fixture
def store(tree: Tree, tmp_path: Path) -> Path:
    path = tmp_path / "labels.zarr"
    label(tree, path)
    return path


def label(tree: Tree, store: Path, *more: str) -> None:
    arguments = ["--data", str(tree.data), "--store", str(store), "--teacher", f"png:{tree.labels}"]
    result = CliRunner().invoke(segment, [*arguments, *more])
    assert result.exit_code == 0, result.output


def run(store: Path, scheme: str, *more: str) -> Result:
    return CliRunner().invoke(regroup, ["--store", str(store), "--scheme", scheme, *more])


def trained_on(output: str) -> Scheme:
    """The scheme of a training that is started as the last line says."""
    words = shlex.split(output.splitlines()[-1])
    changes = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    return load_scheme(load_recipe(DEFAULT_RECIPE, overrides=changes).scheme)


@pytest.mark.parametrize("name", ["4", "2", "19", "own"])
def test_groups_equal_a_loop_over_the_table(
    tree: Tree, store: Path, tmp_path: Path, name: str
) -> None:
    if name == "own":
        name = str(tmp_path / "my own.toml")
        Path(name).write_text(own_table(10))
    scheme = load_scheme(name)
    result = run(store, name)
    assert result.exit_code == 0, result.output
    assert f"wrote {scheme.array} for 72 frames" in result.stdout
    assert trained_on(result.stdout) == scheme
    groups = zarr.open_group(store, mode="r")[f"{SEQUENCE}/{scheme.array}"]
    assert isinstance(groups, zarr.Array)
    for index in (0, 6, 69):
        classes = tree.expected(DRIVE_A, index).ravel().tolist()
        by_hand = [255 if value == 255 else scheme.table[value] for value in classes]
        assert np.asarray(groups[index]).ravel().tolist() == by_hand
    assert groups.attrs["table"] == list(scheme.table)
    assert groups.attrs["source_fingerprint"] == LabelStore.open(store).fingerprint


def test_a_second_run_does_nothing_and_new_frames_are_added(tree: Tree, tmp_path: Path) -> None:
    store = tmp_path / "labels.zarr"
    label(tree, store, "--drive", "0002")
    assert "for 3 frames" in run(store, "4").stdout
    assert "nothing to do: groups_4 is complete" in run(store, "4").stdout
    label(tree, store)
    assert "for 69 frames" in run(store, "4").stdout


def test_another_table_of_the_same_name_is_refused(store: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(own_table(10))
    run(store, str(own))
    before = (store / SEQUENCE / "groups_halves" / "zarr.json").read_bytes()
    own.write_text(own_table(9))
    result = run(store, str(own))
    assert result.exit_code == 1
    assert "groups_halves was made with the table" in result.stderr
    assert "another name" in result.stderr
    assert (store / SEQUENCE / "groups_halves" / "zarr.json").read_bytes() == before


def test_no_store_says_what_to_run(tmp_path: Path) -> None:
    result = run(tmp_path / "none.zarr", "4")
    assert result.exit_code == 1 and "xd-pipeline segment" in result.stderr


def test_parts_cover_everything_once_and_do_not_move(store: Path) -> None:
    shares = [run(store, "4", "--part", f"{number}/2").stdout for number in (1, 2)]
    # Shards 0 and 1 of drive A, shard 0 of drive B: the first share is A's first and B's.
    assert "for 66 frames" in shares[0] and "for 6 frames" in shares[1]
    assert "waits for the other parts" in shares[0] and "next: xd" not in shares[0]
    # What was missing when it started was all its own.
    assert "waits" not in shares[1] and "next: xd-pipeline info" in shares[1]
    assert "nothing to do: groups_4 is complete" in run(store, "4").stdout


def test_a_part_that_is_done_says_so(store: Path) -> None:
    run(store, "4", "--part", "1/2")
    again = run(store, "4", "--part", "1/2").stdout
    assert "nothing to do: part 1/2 of groups_4 is complete" in again
    assert "waits for the other parts" in again


def test_a_wrong_part_is_refused(store: Path) -> None:
    result = run(store, "4", "--part", "3/2")
    assert result.exit_code == 1 and "--part 3/2" in result.stderr


def test_without_locks_a_part_works_and_a_whole_run_says_how(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    refused = run(store, "4")
    assert refused.exit_code == 1 and "--part 1/1 for a single process" in refused.stderr
    done = run(store, "4", "--part", "1/1")
    assert done.exit_code == 0, done.output
    assert "wrote groups_4 for 72 frames" in done.stdout
    assert "waits" not in done.stdout and "next: xd-pipeline info" in done.stdout
