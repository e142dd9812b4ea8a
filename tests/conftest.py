"""What every test shares: checked shapes, Ctrl-C, seeds, a private cache, reference material."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook
from run_time_checks import modules_with_shapes

ROOT = Path(__file__).parents[1]

# Nothing of a developer's own machine may reach a test.
for variable in ("XDISTILL_DATA", "XDISTILL_CACHE", "XDISTILL_SPLITS"):
    os.environ.pop(variable, None)

# A shell hands SIGINT down as ignored to what it runs in the background. With Python's handler in
# place, this process and every command that a test starts can be interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Before any module of the package is imported.
install_import_hook(list(modules_with_shapes(ROOT)), "run_time_checks.checked")

settings.register_profile("suite", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("suite")

LEFT_OUT: Counter[str] = Counter()

SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real KITTI frames and golden arrays; tests that need it skip without it."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the reference material in {SHARED}, which is not part of the project")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def machine_code(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Path]:
    """Compiled code outlives a run of the tests: it takes long, and is filed by its sources.

    Fixtures of the session, which are made before any test's own cache, get one too.
    """
    code = pytestconfig.cache.mkdir("numba")
    folder = tmp_path_factory.mktemp("cache")
    (folder / "numba").symlink_to(code)
    with pytest.MonkeyPatch.context() as session:
        session.setenv("XDISTILL_CACHE", str(folder))
        yield code


@pytest.fixture(autouse=True)
def private_cache(
    machine_code: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Fetched and derived files of a test go to a folder of its own."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "numba").symlink_to(machine_code)
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests were left out for being slow."""
    if not LEFT_OUT:
        return
    terminalreporter.section(f"{LEFT_OUT.total()} slow tests left out; make test runs them")
    for name, count in sorted(LEFT_OUT.items()):
        terminalreporter.write_line(f"{count:4} {name}")
