"""A label store given one level too deep or too shallow: the message names the store."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from xdistill.manifests.nearby import has, nearby
from xdistill.pipeline.kitti.layout import is_root
from xdistill.pipeline.store.errors import LabelStoreError
from xdistill.pipeline.store.format import DOCUMENT

MARK = b'"fingerprint"'
"""In the document of every group of a store, which is a copy of the root's."""


def inside(path: Path, outer: Sequence[Path]) -> LabelStoreError:
    """The error for a part of a store: opened as a store, it would be written into.

    Args:
        path: What was given.
        outer: The groups above it, up to the store.
    """
    return _misplaced(f"{path} is part of a label store", path, outer[-1:])


def require_none_below(path: Path) -> None:
    """Check that a folder without a document has no stores in it.

    Raises:
        LabelStoreError: It has; they are named.
    """
    stores = nearby(path, _is_store) if path.is_dir() else []
    if stores:
        raise _misplaced(f"{path} holds label stores, and is none", path, stores)


def _is_store(folder: Path) -> bool:
    """Whether a label store lies here, rather than the date of one that has lost its root."""
    return has(folder / DOCUMENT, MARK) and is_root(folder)


def _misplaced(found: str, path: Path, stores: Sequence[Path]) -> LabelStoreError:
    return LabelStoreError(
        found,
        expected="the folder of a label store",
        where=path.absolute(),
        remedy=f"give {' or '.join(f'--store {quote(str(store))}' for store in stores[:3])}",
    )
