"""No test reads or fills the cache folder of the person who runs it."""

import os
from pathlib import Path

import pytest

from xdistill.manifests.download import cache_folder


@pytest.fixture(scope="session")
def seen_by_the_session() -> Path:
    return Path(os.environ["XDISTILL_CACHE"])


def test_every_test_has_a_cache_folder_of_its_own(
    seen_by_the_session: Path, private_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert cache_folder() == private_cache != seen_by_the_session
    for folder in (private_cache, seen_by_the_session):
        assert folder.is_relative_to(tmp_path_factory.getbasetemp())
