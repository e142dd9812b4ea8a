"""One small drive, and one small street on disk, for all tests of the street."""

from pathlib import Path

import pytest

pytest.importorskip("numba", reason="needs the extra 'street'")

from xdistill.manifests.progress import unshown
from xdistill.pipeline.street.record.drive import Drive, make_drive
from xdistill.pipeline.street.record.folder import StreetSettings, prepare
from xdistill.pipeline.street.record.recording import write_drive
from xdistill.pipeline.street.render.camera import Picture, render

SETTINGS = StreetSettings(drives=3, frames=4, size=(64, 192), seed=1)


@pytest.fixture(scope="session")
def drives() -> list[Drive]:
    """Six drives of the same seed, which show most classes."""
    return [make_drive(SETTINGS.seed, number, frames=SETTINGS.frames) for number in range(1, 7)]


@pytest.fixture(scope="session")
def drive(drives: list[Drive]) -> Drive:
    """The first drive of the street on disk."""
    return drives[0]


@pytest.fixture(scope="session")
def first_pictures(drives: list[Drive]) -> list[Picture]:
    """The first frame of each drive."""
    size = SETTINGS.size
    return [
        render(drive.scene(0), drive.camera(0, size), size=size, sensor=drive.sensor(0))
        for drive in drives
    ]


@pytest.fixture(scope="session")
def settings() -> StreetSettings:
    """What the street on disk was made with."""
    return SETTINGS


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A street on disk, not to be written into."""
    out = tmp_path_factory.mktemp("street") / "kitti"
    for number in prepare(out, SETTINGS):
        write_drive(out, SETTINGS, number, advance=unshown)
    return out
