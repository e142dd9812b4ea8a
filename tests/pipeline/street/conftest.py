"""One small drive, and one small street on disk, for all tests of the street."""

from pathlib import Path

import pytest

pytest.importorskip("numba", reason="needs the extra 'street'")

from xdistill.pipeline.street.record.drive import Drive, make_drive
from xdistill.pipeline.street.record.generate import Settings, prepare, write_drive

SETTINGS = Settings(drives=3, frames=4, size=(64, 192), seed=1)


@pytest.fixture(scope="session")
def drive() -> Drive:
    """The first drive of the street on disk."""
    return make_drive(SETTINGS.seed, 1, frames=SETTINGS.frames)


@pytest.fixture(scope="session")
def settings() -> Settings:
    """What the street on disk was made with."""
    return SETTINGS


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A street on disk, not to be written into."""
    out = tmp_path_factory.mktemp("street") / "kitti"
    for number in prepare(out, SETTINGS):
        write_drive(out, SETTINGS, number, advance=lambda frames: None)
    return out
