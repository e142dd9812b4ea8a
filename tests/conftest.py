"""What every test shares: checked shapes, Ctrl-C, seeds, a private cache, reference material."""

import os
import shutil
import signal
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook
from material import Material, rendered
from run_time_checks import modules_with_shapes

ROOT = Path(__file__).parents[1]

# Nothing of a developer's own machine may reach a test.
for variable in ("XDISTILL_DATA", "XDISTILL_CACHE", "XDISTILL_SPLITS"):
    os.environ.pop(variable, None)

# A shell hands SIGINT down as ignored to what it runs in the background, and nohup SIGHUP. With
# handlers in place, this process and every command that a test starts can be interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Before any module of the package is imported.
install_import_hook(list(modules_with_shapes(ROOT)), "run_time_checks.checked")

settings.register_profile("suite", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("suite")

LEFT_OUT: Counter[str] = Counter()

SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden arrays of other programs, and the real frames that they are of."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the reference material in {SHARED}, which is not part of the project")
    return SHARED


@pytest.fixture(scope="session")
def material(pytestconfig: pytest.Config) -> Material:
    """Two drives of KITTI with label maps: the real ones, or drives of the street in their place.

    The street's are rendered once and kept, as compiled code is.
    """
    if SHARED.is_dir():
        labels = SHARED / "kitti_labels_espnetv2"
        return Material(kitti=SHARED / "kitti", labels=labels, real=True)
    pytest.importorskip("numba", reason="needs the extra 'street', which draws the frames")
    return rendered(pytestconfig.cache.mkdir("kitti"))


def pytest_configure(config: pytest.Config) -> None:
    """Imports and fixtures of the session, which come before any test, get a cache folder too.

    Compiled code in it outlives the session: it takes long, and is filed by its sources.
    """
    folder = Path(tempfile.mkdtemp(prefix="xdistill-tests-"))
    config.add_cleanup(lambda: shutil.rmtree(folder))
    (folder / "numba").symlink_to(config.cache.mkdir("numba"))
    os.environ["XDISTILL_CACHE"] = str(folder)


@pytest.fixture(autouse=True)
def private_cache(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> Path:
    """Fetched and derived files of a test go to a folder of its own."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "numba").symlink_to(pytestconfig.cache.mkdir("numba"))
    monkeypatch.setenv("XDISTILL_CACHE", str(folder))
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded source of random numbers."""
    return np.random.default_rng(20211122)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count by file what ``make quick`` leaves out."""
    for item in items:
        if "not slow" in item.config.option.markexpr and item.get_closest_marker("slow"):
            LEFT_OUT[item.nodeid.partition("::")[0]] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the counts of one of several processes to the process that prints them."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(LEFT_OUT)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take the counts of a process; every process leaves out the same tests."""
    LEFT_OUT.update(Counter(node.workeroutput["left_out"]) - LEFT_OUT)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the malformed inputs by kind, and say which tests were left out for being slow."""
    reports = [
        report for name in ("passed", "failed") for report in terminalreporter.getreports(name)
    ]
    malformed = [
        text for report in reports for name, text in report.user_properties if name == "malformed"
    ]
    if malformed:
        terminalreporter.section("malformed inputs")
        for text in sorted(malformed):
            terminalreporter.write_line(text)
    if LEFT_OUT:
        terminalreporter.section(f"{LEFT_OUT.total()} slow tests left out; make test runs them")
        for name, count in sorted(LEFT_OUT.items()):
            terminalreporter.write_line(f"{count:4} {name}")
