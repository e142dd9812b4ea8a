"""No test reads or fills the cache folder of the person who runs it."""

import os
import tempfile
from pathlib import Path

from xdistill.manifests.download import cache_folder

SEEN_AT_IMPORT = cache_folder()


def test_every_test_has_a_cache_folder_of_its_own(private_cache: Path) -> None:
    assert cache_folder() == private_cache != SEEN_AT_IMPORT


def test_what_is_imported_first_has_one_too() -> None:
    assert SEEN_AT_IMPORT.is_relative_to(tempfile.gettempdir())
    assert not SEEN_AT_IMPORT.is_relative_to(os.path.expanduser("~/.cache"))
