"""The tests may be started by nohup or a shell's ``&``, which hand SIGINT down as ignored."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


def test_this_process_can_be_interrupted() -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
def test_the_suite_may_be_started_in_the_background(tmp_path: Path) -> None:
    one = f"{__file__}::{test_this_process_can_be_interrupted.__name__}"
    ignoring = ["bash", "-c", 'trap "" INT; exec "$@"', "bash"]
    command = [*ignoring, sys.executable, "-m", "pytest", "-q", "-o", f"cache_dir={tmp_path}", one]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
