"""The label store as a whole: its teacher, its sequences and their arrays."""

import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from xdistill.grouping.scheme import Scheme
from xdistill.manifests import disk
from xdistill.manifests.disk import PathLike, as_path
from xdistill.pipeline.store.array import LabelArray
from xdistill.pipeline.store.errors import CorruptLabelsError, LabelStoreError, NoLocksError
from xdistill.pipeline.store.format import (
    COMMIT_SUFFIX,
    COUNTS_SUFFIX,
    DOCUMENT,
    Description,
    documents,
    group_document,
    is_store_group,
    plain,
    seal,
)
from xdistill.pipeline.store.leases import (
    Leases,
    Locking,
    disk_errors,
    is_held,
    orphans,
    shard_of,
    sweep,
)
from xdistill.pipeline.store.metadata import (
    create_root,
    folder_names,
    label_remedy,
    other_teacher,
    read_description,
    read_document,
    root_attributes,
    root_document,
)

SUFFIXES = (COMMIT_SUFFIX, COUNTS_SUFFIX)
LONGEST_NAME = 100
ARRAY_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST_NAME}}}")


class LabelStore:
    """Labels by sequence and array name, made by one teacher.

    Open with ``open`` to read, with ``open_for_writing`` to create or write.
    """

    def __init__(self, path: Path, attributes: Mapping[str, Any], leases: Leases | None) -> None:
        self.path = path
        self._attributes = attributes
        self._leases = leases

    @classmethod
    def open(cls, path: PathLike) -> Self:
        """Open for reading.

        Raises:
            LabelStoreError: There is no label store, it is damaged, or of a newer version.
        """
        folder = as_path(path)
        return cls(folder, root_attributes(folder), None)

    @classmethod
    def open_for_writing(
        cls,
        path: PathLike,
        *,
        teacher: Mapping[str, Any],
        fingerprint: str,
        locking: Locking = "required",
    ) -> Self:
        """Open for writing: create the store if there is none, and sweep what a crash left.

        Args:
            path: Folder of the store.
            teacher: Everything that determines the labels, as JSON values.
            fingerprint: sha256 of the record; must be the store's.
            locking: ``"if available"`` for work divided by hand (``--part``), which can do without
                locks.

        Raises:
            LabelStoreError: The folder holds something else or another teacher's labels, or the
                disk is full or read-only.
        """
        folder = as_path(path)
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            create_root(folder, teacher, fingerprint)
        leases = Leases(
            locking,
            require_bound=lambda: cls.open(folder).require_teacher(
                teacher=teacher, fingerprint=fingerprint
            ),
        )
        store = cls(folder, root_attributes(folder), leases)
        store.require_teacher(teacher=teacher, fingerprint=fingerprint)
        with disk_errors(folder):
            sweep(folder, locking)
        store._finish_giving()
        return store

    def __repr__(self) -> str:
        mode = "reading" if self._leases is None else "writing"
        return f"<LabelStore {self.path} for {mode}: {len(self.sequences())} sequences>"

    @property
    def teacher(self) -> Mapping[str, Any]:
        """The record of the teacher that made the labels."""
        return dict(self._attributes["teacher"])

    @property
    def teacher_flags(self) -> str | None:
        """The flags that name this teacher to a command; None if its record does not hold them."""
        record = self.teacher
        if record.get("kind") != "png" or "folder" not in record:
            return None
        ids = " --ids label" if record.get("ids") == "label" else ""
        return f"--teacher {shlex.quote('png:' + str(record['folder']))}{ids}"

    @property
    def fingerprint(self) -> str:
        """sha256 of the teacher's record."""
        return str(self._attributes["fingerprint"])

    def require_teacher(self, *, teacher: Mapping[str, Any], fingerprint: str) -> None:
        """Check that the store was made by this teacher; nothing is written.

        Raises:
            LabelStoreError: The fingerprints differ; the differences of the records are shown.
        """
        if self.fingerprint != fingerprint:
            raise other_teacher(self.path, self._attributes, teacher, fingerprint)

    def belongs_to_nobody(self) -> bool:
        """Whether no frame is committed and nobody writes, so that any teacher may have it."""
        try:
            used = any(
                self.array(sequence, name).committed()
                for sequence in self.sequences()
                for name in self.arrays(sequence)
            )
        except CorruptLabelsError:
            return False
        owners = (shard_of(orphan) for orphan in orphans(self.path))
        return not used and not any(is_held(*owner) for owner in owners if owner)

    def give_to(self, *, teacher: Mapping[str, Any], fingerprint: str) -> None:
        """Give a store that belongs to nobody to a teacher; any other is left as it is.

        A writer of the former teacher looks at the root's document under every lease that it takes
        and whenever it creates something: either it sees the new one and stops, or its lease or
        its frames are seen here. Without locks that cannot be known, and nothing is given.

        Raises:
            LabelStoreError: The disk is full or read-only.
        """
        root = self.path / DOCUMENT
        with suppress(NoLocksError), disk_errors(root), Leases("required").metadata(root):
            former = group_document(root_attributes(self.path))
            if not self.belongs_to_nobody():
                return
            disk.write(root, [root_document(teacher, fingerprint)])
            if not self.belongs_to_nobody():
                disk.write(root, [former])
                return
            self._give_groups(root_document(teacher, fingerprint))

    def _give_groups(self, document: bytes) -> None:
        """Write the root's document into every group that has another teacher's."""
        for group in self._groups_of_others(document):
            disk.write(group / DOCUMENT, [document])

    def _finish_giving(self) -> None:
        """Complete what a crash cut short after the root was given to this teacher."""
        root, document = self.path / DOCUMENT, group_document(self._attributes)
        if self._groups_of_others(document):
            with suppress(NoLocksError), disk_errors(root), Leases("required").metadata(root):
                if self.belongs_to_nobody():
                    self._give_groups(document)

    def _groups_of_others(self, document: bytes) -> list[Path]:
        """Groups below the root with the intact document of another teacher."""
        return [group for group in _groups_below(self.path) if _is_of_another(group, document)]

    def sequences(self) -> list[str]:
        """Sequences that have arrays: ``<date>/<drive>/image_0X``, sorted."""
        found = {folder.parent for folder in _array_folders(self.path)}
        return sorted(folder.relative_to(self.path).as_posix() for folder in found)

    def arrays(self, sequence: str) -> list[str]:
        """Names of a sequence's label arrays, sorted, without their companions."""
        return [n for n in folder_names(self.path / sequence) if self.has(sequence, n)]

    def has(self, sequence: str, name: str) -> bool:
        """Whether a sequence has an array of this name."""
        return _is_array(self.path / sequence / name)

    def array(self, sequence: str, name: str) -> LabelArray:
        """One array of a sequence.

        Raises:
            LabelStoreError: It does not exist, or its metadata is damaged.
        """
        folder = self.path / sequence
        if not (folder / name).is_dir():
            raise LabelStoreError(
                f"{sequence} has no array {name}",
                expected=f"one of {', '.join(self.arrays(sequence)) or 'none so far'}",
                where=self.path,
                remedy=label_remedy(self.path, name),
            )
        return LabelArray(folder, read_description(folder / name), self._leases)

    def groups(self, sequence: str, scheme: Scheme) -> LabelArray:
        """The stored groups of a sequence by a scheme.

        Raises:
            LabelStoreError: There are none, their metadata is damaged, or they were made with
                another table.
        """
        found = self.array(sequence, scheme.array)
        table = found.attributes.get("table")
        if table != list(scheme.table):
            raise LabelStoreError(
                f"{scheme.array} was made with the table {table}",
                expected=f"scheme {scheme.name!r}: {list(scheme.table)}",
                where=f"{self.path}/{sequence}/{scheme.array}",
                remedy="give your scheme another name in its TOML file, and regroup with that name",
            )
        return found

    def ensure_array(
        self,
        sequence: str,
        name: str,
        *,
        length: int,
        size: tuple[int, int],
        values: int,
        attributes: Mapping[str, Any],
    ) -> LabelArray:
        """An array of at least ``length`` frames, created or grown if need be.

        Args:
            sequence: ``<date>/<drive>/image_0X``.
            name: ``classes``, ``confidence``, ``groups_4``.
            length: Smallest number of frames.
            size: Height and width in pixels, which never change.
            values: Labels are 0 to ``values`` - 1, or 255.
            attributes: Stored with the array, as JSON values; never change.

        Raises:
            LabelStoreError: It exists with another size, number of values or attributes.
        """
        wanted = Description(
            name=name, length=length, size=size, values=values, attributes=plain(attributes)
        )
        folder = self.path / sequence
        if self._leases is None:
            raise LabelStoreError("the store was opened for reading", where=self.path)
        if not _is_complete(folder, wanted):
            with disk_errors(folder), self._leases.metadata(self.path / DOCUMENT):
                self._create_groups(folder)
                _create_or_grow(folder, wanted)
        found = read_description(folder / name)
        _refuse_difference(folder / name, found, wanted)
        return LabelArray(folder, found, self._leases)

    def _create_groups(self, folder: Path) -> None:
        """Create the groups from the root down to a sequence, each with the root's document."""
        relative = folder.relative_to(self.path)
        for group in reversed([relative, *relative.parents]):
            if not (self.path / group).is_dir():
                document = group_document(self._attributes)
                disk.create_folder(self.path / group, {DOCUMENT: document})


def _is_complete(folder: Path, wanted: Description) -> bool:
    """Whether nothing must be created or grown; other differences are refused later."""
    if not _is_array(folder / wanted.name):
        return False
    found = (read_description(path) for path in documents(folder, wanted))
    return all(array.length >= wanted.length for array in found)


def _create_or_grow(folder: Path, wanted: Description) -> None:
    # Before anything changes.
    if _is_array(folder / wanted.name):
        _refuse_difference(folder / wanted.name, read_description(folder / wanted.name), wanted)
    else:
        _refuse_name(folder, wanted.name)
    for path, document in documents(folder, wanted).items():
        if not path.is_dir():
            disk.create_folder(path, {DOCUMENT: document})
        elif read_description(path).length < wanted.length:
            disk.write(path / DOCUMENT, [document])


def _refuse_name(folder: Path, name: str) -> None:
    """Refuse a new array whose folders could be taken for another's, here or where it is copied."""
    others = folder_names(folder)
    taken = [other for other in others if other.casefold() == name.casefold()]
    # An earlier version made arrays that are named like a companion of this one.
    taken += [name + suffix for suffix in SUFFIXES if _is_array(folder / (name + suffix))]
    if not ARRAY_NAME.fullmatch(name) or name.endswith(SUFFIXES) or taken:
        raise LabelStoreError(
            f"no array can be named {name[:80]}" + (f" beside {taken[0]}" if taken else ""),
            expected=f"up to {LONGEST_NAME} of the letters a to z, digits, - and _, not ending in "
            f"{' or '.join(SUFFIXES)}, and no name that differs in upper and lower case alone",
            where=folder,
            remedy="give the scheme another name in its TOML file",
        )


def _refuse_difference(folder: Path, found: Description, wanted: Description) -> None:
    for what, there, here in (
        ("image size (height, width)", found.size, wanted.size),
        ("number of values", found.values, wanted.values),
        ("record", found.attributes, wanted.attributes),
    ):
        if there != here:
            raise LabelStoreError(
                f"the {what} is {here}",
                expected=f"{there}, as the array was created: it never changes within a drive",
                where=folder,
                remedy="give another --store, or leave out the drive",
            )


def _is_array(folder: Path) -> bool:
    """Whether this is a label array: known by its companion, so that damaged ones are found."""
    return folder.is_dir() and folder.with_name(folder.name + COMMIT_SUFFIX).is_dir()


def _array_folders(folder: Path) -> Iterator[Path]:
    for entry in (folder / name for name in folder_names(folder)):
        if _is_array(entry):
            yield entry
        elif not entry.name.endswith(SUFFIXES):
            yield from _array_folders(entry)


def _groups_below(folder: Path) -> Iterator[Path]:
    """Folders below a group that are groups too."""
    for entry in (folder / name for name in folder_names(folder)):
        if not _is_array(entry) and not entry.name.endswith(SUFFIXES):
            yield entry
            yield from _groups_below(entry)


def _is_of_another(group: Path, document: bytes) -> bool:
    try:
        found = read_document(group)
    except LabelStoreError:
        return False
    return is_store_group(found) and seal(found) != document
