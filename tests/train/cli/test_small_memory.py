"""xd-train as a batch system runs it in a container: little shared memory, SIGTERM to everybody."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from xdistill.train.cli.train import main

pytestmark = pytest.mark.slow

OWN_MOUNTS = ["unshare", "-m" if os.geteuid() == 0 else "-rm"]
SMALL = 'mount -t tmpfs -o size=256k tmpfs /dev/shm && exec "$@"'
"""Of the 457 KiB or more that the batches below take, with one reader or several."""
TRAIN = "import sys; sys.argv[0] = 'xd-train'; from xdistill.train.cli.train import main; main()"
SETS = (
    "width=64", "height=64", "batch_size=2", "encoder=narrow", "encoder_weights=none",
    "pose_network=cost_volume",
)  # fmt: skip


@pytest.fixture
def arguments(data: Path) -> list[str]:
    sets = [part for value in SETS for part in ("--set", value)]
    flags = ["--recipe", "monodepth2-rn18", "--data", str(data), "--drive", "0001"]
    return [*flags, "--device", "cpu", *sets]


def stop_after_two_steps(command: list[str], run: Path) -> "subprocess.CompletedProcess[str]":
    """Start the command and send its process group SIGTERM once two steps are in the log."""
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline, log = time.monotonic() + 120, run / "metrics.jsonl"
    while process.poll() is None and time.monotonic() < deadline:
        if log.exists() and log.read_bytes().count(b"\n") >= 2:
            break
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, stderr=said)


def test_a_training_short_of_memory_and_told_to_stop_resumes_with_equal_losses(
    arguments: list[str], tmp_path: Path
) -> None:
    if subprocess.run([*OWN_MOUNTS, "sh", "-c", SMALL, "sh", "true"], check=False).returncode:
        pytest.skip("needs the right to mount a small /dev/shm")
    part, whole = tmp_path / "part", tmp_path / "whole"
    command = [*OWN_MOUNTS, "sh", "-c", SMALL, "sh", sys.executable, "-c", TRAIN, *arguments]
    ended = stop_after_two_steps([*command, "--out", str(part), "--steps", "2000"], part)
    assert ended.returncode == 143, ended.stderr
    assert "/dev/shm has 0.25 of " in ended.stderr and "Traceback" not in ended.stderr
    reached = (part / "metrics.jsonl").read_bytes().count(b"\n")
    assert f"stopped by SIGTERM: step {reached} of 2000 is in {part}\n" in ended.stderr
    steps = ["--steps", str(reached + 2)]
    for more in (["--resume", "--out", str(part)], [*arguments, "--out", str(whole)]):
        again = CliRunner().invoke(main, [*more, *steps, "--set", "num_workers=0"])
        assert again.exit_code == 0, again.output
    assert (part / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
