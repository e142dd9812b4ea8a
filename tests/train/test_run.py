import errno
import fcntl
import json
import multiprocessing
import os
import signal
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from xdistill.manifests import disk
from xdistill.train.recipe.file import ADDED, load_recipe, load_run_recipe
from xdistill.train.recipe.recipe import Recipe, RecipeError
from xdistill.train.run import (
    JsonLines,
    RunError,
    free_name,
    newest_run,
    owned,
    read_record,
    require_empty,
    resume_run,
    resumed_recipe,
    set_aside,
    start_run,
    truncate,
    with_initial_run,
)

RECIPE = Recipe(name="test")
RECORD = {"frames_sha256": "ab", "store_fingerprint": "cd", "device": "cpu"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    start_run(tmp_path / "runs" / "test-1", RECIPE, RECORD)
    return tmp_path / "runs" / "test-1"


def test_run_folder_says_what_it_is(run: Path) -> None:
    assert load_recipe(str(run / "recipe.toml")) == RECIPE
    assert read_record(run) == RECORD


def test_free_name_counts_from_one(run: Path) -> None:
    folder = run.parent
    assert free_name("test", folder=folder) == folder / "test-2"
    assert free_name("other", folder=folder) == folder / "other-1"


def test_a_folder_that_is_not_empty_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="--resume"):
        start_run(run, RECIPE, RECORD)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="not empty"):
        start_run(tmp_path / "file", RECIPE, RECORD)
    with pytest.raises(RunError, match="cannot be written"):
        start_run(tmp_path / "file" / "run", RECIPE, RECORD)
    (tmp_path / "empty").mkdir()
    start_run(tmp_path / "empty", RECIPE, RECORD)


def test_newest_run_is_the_one_written_to_last(run: Path) -> None:
    start_run(run.parent / "test-2", RECIPE, RECORD)
    for name, time in (("test-1", 2_000_000_000), ("test-2", 1_000_000_000)):
        for file in (run.parent / name).iterdir():
            os.utime(file, (time, time))
    assert newest_run(run.parent) == run


def trained(folder: Path, name: str, *, time: int) -> Path:
    """A run folder with a recipe of this name and a checkpoint of this time."""
    start_run(folder, replace(RECIPE, name=name), RECORD)
    (folder / "checkpoint.pt").touch()
    os.utime(folder / "checkpoint.pt", (time, time))
    return folder


def test_init_names_the_newest_trained_run_of_a_recipe(tmp_path: Path) -> None:
    wanted = replace(RECIPE, init="run:small")
    trained(tmp_path / "small-1", "small", time=1_000)
    newest = trained(tmp_path / "mine", "small", time=3_000)
    trained(tmp_path / "small-2", "small", time=2_000)
    trained(tmp_path / "other-1", "other", time=4_000)
    start_run(tmp_path / "small-3", replace(RECIPE, name="small"), RECORD)
    found = with_initial_run(wanted, folder=tmp_path)
    assert found == replace(RECIPE, init=str(newest))
    assert with_initial_run(RECIPE, folder=tmp_path) == RECIPE


def test_init_without_a_run_says_what_to_train(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="starts from a run of small, and there is none") as caught:
        with_initial_run(replace(RECIPE, init="run:small"), folder=tmp_path)
    assert "run xd-train --recipe small first" in str(caught.value)


def test_a_run_of_an_earlier_version_is_resumed(run: Path) -> None:
    path = run / "recipe.toml"
    kept = [line for line in path.read_text().splitlines() if line.partition(" =")[0] not in ADDED]
    path.write_text("\n".join(kept) + "\n")
    assert load_run_recipe(run) == RECIPE
    assert resumed_recipe(run, RECIPE) == RECIPE


def test_no_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run to resume"):
        newest_run(tmp_path)
    with pytest.raises(RunError, match="there is no run to resume"):
        read_record(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="there is no run to resume"):
        read_record(tmp_path)


def test_keys_that_change_no_result_may_change(run: Path) -> None:
    wanted = replace(RECIPE, num_workers=0, checkpoint_interval=5)
    assert resumed_recipe(run, wanted) == wanted
    resume_run(run, wanted, RECORD, step=0)
    assert load_recipe(str(run / "recipe.toml")) == wanted


def test_another_recipe_is_refused_with_both_values(run: Path) -> None:
    with pytest.raises(RunError, match=r"lr 0\.5 \(the run has 0\.0001\)"):
        resumed_recipe(run, replace(RECIPE, lr=0.5))


@pytest.mark.parametrize("key", ["frames_sha256", "store_fingerprint"])
def test_other_frames_or_another_store_are_refused_with_both_values(run: Path, key: str) -> None:
    with pytest.raises(RunError) as caught:
        resume_run(run, RECIPE, RECORD | {key: "ef"}, step=0)
    assert f"{key} is ef" in str(caught.value) and RECORD[key] in str(caught.value)
    assert read_record(run) == RECORD


def test_what_an_interrupted_write_left_is_removed(run: Path) -> None:
    (run / "checkpoint.pt.12-ab.partial").touch()
    resume_run(run, RECIPE, RECORD, step=0)
    assert sorted(path.name for path in run.iterdir()) == ["recipe.toml", "run.json"]
    assert json.loads((run / "run.json").read_text()) == RECORD


def test_a_disk_that_is_full_at_resume_leaves_the_run_as_it_was(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}

    def full(path: Path, block: bytes) -> None:
        path.write_bytes(block[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "_store", full)
    with pytest.raises(RunError, match="No space left"):
        resume_run(run, replace(RECIPE, num_workers=0), RECORD, step=0)
    with pytest.raises(RunError, match="No space left"):
        resume_run(run, RECIPE, RECORD | {"device": "cuda"}, step=0)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_files_that_stay_the_same_are_not_written_again(run: Path) -> None:
    before = {path: path.stat().st_ino for path in run.iterdir()}
    resume_run(run, RECIPE, RECORD | {"device": "cuda"}, step=0)
    after = {path: path.stat().st_ino for path in run.iterdir()}
    assert after[run / "recipe.toml"] == before[run / "recipe.toml"]
    assert after[run / "run.json"] != before[run / "run.json"]


def test_a_recipe_that_was_cut_short_is_not_resumed(run: Path) -> None:
    (run / "recipe.toml").write_bytes(b"")
    with pytest.raises(RecipeError, match="width"):
        resumed_recipe(run, RECIPE)


def test_the_recipe_of_the_start_counts_whatever_its_file_says_now(tmp_path: Path) -> None:
    run = tmp_path / "run"
    start_run(run, RECIPE, RECORD | {"recipe": asdict(RECIPE)})
    file = run / "recipe.toml"
    file.write_text(file.read_text().replace("lr = 0.0001", "lr = 0.5"))
    with pytest.raises(RunError, match=r"lr 0\.5 \(the run has 0\.0001\)(?s:.*)undo changes"):
        resumed_recipe(run, load_run_recipe(run))
    file.write_text(
        file.read_text()
        .replace("lr = 0.5", "lr = 0.0001")
        .replace(f"num_workers = {RECIPE.num_workers}", "num_workers = 1")
    )
    assert resumed_recipe(run, load_run_recipe(run)).num_workers == 1


def test_without_a_checkpoint_the_logs_are_kept_beside(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        (run / "metrics.jsonl").write_bytes(b'{"step": 1}\n\xff\n')
        resume_run(run, RECIPE, RECORD, step=0)
    assert not (run / "metrics.jsonl").exists()
    for number in (1, 2):
        kept = run / f"metrics-{number}.jsonl"
        assert kept.read_bytes() == b'{"step": 1}\n\xff\n'
        assert f"the log so far is kept as {kept}" in capsys.readouterr().err or number == 2


@pytest.mark.parametrize("content", ["[1]", "null", '{"a": ' * 2000, "\ufeff{", "\x00"])
def test_a_damaged_record_is_no_run(run: Path, content: str) -> None:
    (run / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match="there is no run to resume"):
        read_record(run)


def hold(run: Path, told: Connection) -> None:
    with owned(run):
        # A child of the owner, such as a reader, must not keep the lock.
        if os.fork() == 0:
            signal.alarm(30)
            signal.pause()
        told.send(os.getpid())
        signal.pause()


def test_a_run_that_is_training_is_refused_until_its_process_ends(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    owner = context.Process(target=hold, args=(tmp_path / "run", there))
    owner.start()
    pid = here.recv()
    with pytest.raises(RunError, match=f"the run is still training: process {pid} on "):
        owned(tmp_path / "run").__enter__()
    owner.kill()
    owner.join()
    with owned(tmp_path / "run"):
        pass


def test_two_in_one_process_are_refused_too(tmp_path: Path) -> None:
    with owned(tmp_path / "run"), pytest.raises(RunError, match=f"process {os.getpid()} on "):
        owned(tmp_path / "run").__enter__()


def test_a_run_that_did_not_start_leaves_no_folder(tmp_path: Path) -> None:
    with owned(tmp_path / "runs" / "a" / "b"):
        pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with owned(tmp_path / "mine"):
        require_empty(tmp_path / "mine")
    assert (tmp_path / "mine").is_dir()


def test_a_run_that_started_stays(tmp_path: Path) -> None:
    with owned(tmp_path / "run"):
        (tmp_path / "run" / "run.json").touch()
    assert (tmp_path / "run" / "run.json").exists()


def test_without_locks_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_locks(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with owned(tmp_path / "run"):
        pass
    (line,) = capsys.readouterr().err.splitlines()
    assert "No locks available" in line and "start only one at a time" in line


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        owned(tmp_path / "file" / "run").__enter__()


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.jsonl"
    with JsonLines(path) as lines:
        for step in (1, 2, 3):
            lines.write({"step": step, "loss": 0.5})
        lines.sync()
    return path


def test_lines_are_appended(log: Path) -> None:
    with JsonLines(log) as lines:
        lines.write({"step": 4, "loss": 0.25})
        # Whole lines are there while the log is open.
        assert steps(log) == [1, 2, 3, 4]
    assert json.loads(log.read_text().splitlines()[-1]) == {"step": 4, "loss": 0.25}


@pytest.mark.parametrize(("step", "kept"), [(0, []), (2, [1, 2]), (3, [1, 2, 3]), (9, [1, 2, 3])])
def test_lines_after_a_step_are_dropped(log: Path, step: int, kept: list[int]) -> None:
    truncate(log, step=step)
    assert steps(log) == kept
    assert [path.name for path in log.parent.iterdir()] == ["metrics.jsonl"]


def test_a_line_cut_by_a_crash_is_dropped(log: Path) -> None:
    log.write_text(log.read_text() + '{"step": 4, "lo')
    truncate(log, step=9)
    assert steps(log) == [1, 2, 3]


def test_no_log_is_no_error(tmp_path: Path) -> None:
    truncate(tmp_path / "metrics.jsonl", step=3)
    assert list(tmp_path.iterdir()) == []


def test_writing_to_a_closed_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not open"):
        JsonLines(tmp_path / "metrics.jsonl").write({"step": 1})


@pytest.mark.parametrize(
    "odd",
    [b"\n", b"  \n", b"\xff\xfe\n", b"[1]\n", b'{"loss": 1}\n', b'{"step": "2"}\n', b"\0\n"],
)
def test_lines_that_are_none_of_a_log_stay(log: Path, odd: bytes) -> None:
    first, *rest = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([first, odd, *rest]))
    truncate(log, step=2)
    assert log.read_bytes() == b"".join([first, odd, rest[0]])


def test_a_last_line_that_is_whole_stays_without_its_end(log: Path) -> None:
    content = log.read_bytes()
    log.write_bytes(content.removesuffix(b"\n"))
    truncate(log, step=3)
    assert log.read_bytes() == content


def test_a_log_that_nothing_is_cut_from_is_not_written_again(log: Path) -> None:
    before = log.stat().st_ino
    truncate(log, step=3)
    assert log.stat().st_ino == before


def test_an_empty_log_is_not_set_aside(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    set_aside(tmp_path / "metrics.jsonl")
    set_aside(tmp_path / "absent.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
