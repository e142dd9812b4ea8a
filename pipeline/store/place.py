"""A label store given one level too deep or too shallow."""

from pathlib import Path
from shlex import quote

from xdistill.manifests import disk
from xdistill.manifests.nearby import nearby
from xdistill.pipeline.kitti.layout import is_root
from xdistill.pipeline.store.errors import LabelStoreError
from xdistill.pipeline.store.format import DOCUMENT


def require_place(path: Path) -> None:
    """Check that a path is no part of a store, and no folder with a store in it.

    Every group of a store has the root's document: opened as a store, it would be written into.

    Raises:
        LabelStoreError: It is; the message names the store.
    """
    folder = path.absolute()
    outer = [parent for parent in folder.parents if _has_document(parent)]
    inner = nearby(path, _is_store) if folder.is_dir() and not _has_document(folder) else []
    if not outer and not inner:
        return
    stores = outer[-1:] or inner
    raise LabelStoreError(
        f"{path} is part of a label store" if outer else f"{path} holds label stores, and is none",
        expected="the folder of a label store",
        where=folder,
        remedy=f"give {' or '.join(f'--store {quote(str(store))}' for store in stores[:3])}",
    )


def _is_store(folder: Path) -> bool:
    """Whether a label store lies here, rather than the date of one that has lost its root."""
    return _has_document(folder) and is_root(folder)


def _has_document(folder: Path) -> bool:
    """Whether a label store, or a group of one, lies here; other programs' zarr groups do not."""
    try:
        return b'"fingerprint"' in disk.read_bytes(folder / DOCUMENT)
    except OSError:
        return False
