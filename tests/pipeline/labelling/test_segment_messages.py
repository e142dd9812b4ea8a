"""What ``xd-pipeline segment`` says of parts, of plans and of a --store that is none."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from kitti_tree import Tree

from xdistill.pipeline.cli.segment import segment


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "labels.zarr"


def run(tree: Tree, store: Path, *more: str) -> Result:
    arguments = ["--data", str(tree.data), "--store", str(store), "--teacher", f"png:{tree.labels}"]
    return CliRunner().invoke(segment, [*arguments, *more])


def test_an_empty_folder_is_a_store_not_made_yet(tree: Tree, store: Path) -> None:
    store.mkdir()
    result = run(tree, store)
    assert result.exit_code == 0, result.output
    assert "labelled 72 frames" in result.stdout


@pytest.mark.parametrize("name", [".", "thesis.tex", "zarr.json"])
def test_a_store_that_is_something_else_needs_another_path(
    tree: Tree, store: Path, name: str
) -> None:
    other = store / name
    other.parent.mkdir(exist_ok=True)
    other.write_text("mine")
    result = run(tree, store)
    assert result.exit_code == 1
    assert "give --store another path" in result.stderr and str(store) in result.stderr
    assert "run xd-pipeline segment" not in result.stderr
    assert other.read_text() == "mine"


def test_two_kinds_of_cluster_are_mutually_exclusive(tree: Tree, store: Path) -> None:
    result = run(tree, store, "--dask", "tcp://127.0.0.1:9", "--dask-workers", "2")
    assert result.exit_code == 2
    assert "--dask and --dask-workers are mutually exclusive" in result.stderr
    assert not store.exists()


def test_a_part_tells_its_own_share_and_what_waits(tree: Tree, store: Path) -> None:
    # Shards 0 and 1 of drive A, shard 0 of drive B: the first share is A's first and B's.
    planned = run(tree, store, "--part", "1/2", "--plan").stdout
    assert "requested       72 frames" in planned
    assert "to do           66 frames in 2 shards of part 1/2" in planned
    first = run(tree, store, "--part", "1/2").stdout
    assert "labelled 66 frames" in first
    assert "waits for the other parts" in first and "next:" not in first
    again = run(tree, store, "--part", "1/2").stdout
    assert "nothing to do: all frames of part 1/2 are in" in again
    assert "waits for the other parts" in again and "next:" not in again
    second = run(tree, store, "--part", "2/2").stdout
    assert "labelled 6 frames" in second
    assert "waits" not in second and "next: xd-pipeline regroup" in second


def test_a_plan_of_nothing_has_nothing_to_write(tree: Tree, store: Path) -> None:
    assert "without --plan writes them" in run(tree, store, "--plan").stdout
    run(tree, store)
    result = run(tree, store, "--plan")
    assert result.exit_code == 0
    assert "nothing to do: all 72 frames" in result.stdout
    assert "without --plan" not in result.stdout and "next: xd-pipeline regroup" in result.stdout


def test_the_next_command_can_be_pasted_whatever_the_path(tree: Tree, tmp_path: Path) -> None:
    store = tmp_path / "my labels.zarr"
    said = run(tree, store).stdout
    assert f"next: xd-pipeline regroup --store '{store}' --scheme 4\n" in said
