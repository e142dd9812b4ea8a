"""OpenCV's import on a machine that lacks libraries."""

import click
import pytest
from click.testing import CliRunner

from xdistill.pipeline.cli import console
from xdistill.pipeline.cli.opencv import missing_library

TAIL = "cannot open shared object file: No such file or directory"


@pytest.mark.parametrize("library", ["libGL.so.1", "libgthread-2.0.so.0", "libSM.so.6"])
def test_what_to_install_is_said_without_a_traceback(library: str) -> None:
    @click.command("info", cls=console.Command)
    def command() -> None:
        """Import OpenCV."""
        raise ImportError(f"{library}: {TAIL}")

    result = CliRunner().invoke(command)
    assert result.exit_code == 1
    assert f"OpenCV cannot be imported: this machine has no {library}\n" in result.stderr
    assert "pip install --force-reinstall opencv-python-headless" in result.stderr


@pytest.mark.parametrize("said", ["No module named 'cv2'", f"libcudart.so.12: {TAIL}"])
def test_other_imports_that_fail_keep_their_traceback(said: str) -> None:
    assert missing_library(ImportError(said)) is None

    @click.command("info", cls=console.Command)
    def command() -> None:
        """Import something."""
        raise ImportError(said)

    assert isinstance(CliRunner().invoke(command).exception, ImportError)
