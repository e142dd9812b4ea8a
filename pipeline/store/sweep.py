"""Removal of what a killed writer left behind: unfinished files and leases nobody holds."""

import os
from collections.abc import Iterator
from pathlib import Path

from xdistill.manifests import atomic
from xdistill.pipeline.store.description import COMMIT_SUFFIX, COUNTS_SUFFIX
from xdistill.pipeline.store.errors import NoLocksError
from xdistill.pipeline.store.leases import LEASE_PREFIX, Leases, Locking
from xdistill.pipeline.store.metadata import DOCUMENT


def sweep(path: Path, locking: Locking) -> None:
    """Remove the orphans of a store and of its creation; what a living writer owns stays.

    Raises:
        LabelStoreError: The store is read-only; or the file system has no locks that would tell
            the living from the dead, and they are required.
    """
    # A store being created this moment under its aside name fails its rename and finds this one.
    for beside in path.absolute().parent.glob(f"*{atomic.PARTIAL}"):
        if atomic.final_name(beside.name) == path.name:
            atomic.discard(beside)
    try:
        _sweep_inside(path, Leases("required"))
    except NoLocksError:
        if locking == "required":
            raise


def _sweep_inside(path: Path, leases: Leases) -> None:
    of_shards: dict[tuple[Path, int], list[Path]] = {}
    of_metadata = []
    for orphan in orphans(path):
        owner = shard_of(orphan)
        if owner is None:
            of_metadata.append(orphan)
        else:
            of_shards.setdefault(owner, []).append(orphan)
    for (folder, shard), files in of_shards.items():
        with leases.lease(folder, shard) as held:
            for orphan in files if held else ():
                atomic.discard(orphan)
    if of_metadata:
        with leases.metadata(path / DOCUMENT):
            for orphan in of_metadata:
                atomic.discard(orphan)


def orphans(path: Path) -> Iterator[Path]:
    """Unfinished files and folders, and lease files, held or not."""
    for folder, names, files in os.walk(path):
        for name in (*names, *files):
            if is_orphan(name):
                yield Path(folder, name)
        names[:] = [name for name in names if not atomic.final_name(name)]


def is_orphan(name: str) -> bool:
    """Whether a file or folder of this name is unfinished, or a lease."""
    return atomic.final_name(name) is not None or name.startswith(LEASE_PREFIX)


def shard_of(orphan: Path) -> tuple[Path, int] | None:
    """The label array's folder and the shard whose lease covers this file; None for metadata."""
    name = orphan.name.removeprefix(LEASE_PREFIX).removeprefix("c.")
    if name == orphan.name or not name.split(".")[0].isdecimal():
        return None
    folder = orphan.parent
    array = folder.name.removesuffix(COMMIT_SUFFIX).removesuffix(COUNTS_SUFFIX)
    return folder.with_name(array), int(name.split(".")[0])


def folder_names(folder: Path) -> list[str]:
    """Finished folders inside a folder, sorted; none where there is no folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not atomic.final_name(e.name))
