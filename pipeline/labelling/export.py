"""Labels as PNG files, for other code bases and to look at."""

import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from xdistill.grouping.classes import cityscapes
from xdistill.grouping.scheme import Scheme
from xdistill.manifests import disk
from xdistill.manifests.errors import OutputError
from xdistill.manifests.progress import Advance, unshown
from xdistill.pipeline.kitti.images import encode_png, write_png
from xdistill.pipeline.store import LabelArray, LabelStore, LabelStoreError


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """What becomes a folder of PNG files: ``<out>/<date>/<drive>/image_02/<10 digits>.png``.

    Grey values are the stored train ids or group ids, so that an export of ``classes`` is itself a
    ``png:`` teacher. With ``colour``, pixels are RGB from the palette.
    """

    store: LabelStore
    """Where the labels are."""
    array: str
    """``classes``, ``groups_4``, ..."""
    colour: bool
    """RGB pictures instead of ids."""
    out: Path
    """Folder to write to."""

    def __post_init__(self) -> None:
        """Require the array.

        Raises:
            LabelStoreError: No sequence has it.
        """
        if not self._sequences():
            raise LabelStoreError(
                f"the store has no array {self.array!r}",
                expected="one of " + ", ".join(array_names(self.store)),
                where=self.store.path,
                remedy="make groups with xd-pipeline regroup --store "
                + shlex.quote(str(self.store.path)),
            )

    @property
    def frames(self) -> int:
        """How many frames the array has."""
        return sum(len(labels.committed()) for _, labels in self._arrays())

    def write(self, *, overwrite: bool, advance: Advance = unshown) -> int:
        """Write the files that are missing; those that hold the same already stay as they are.

        Args:
            overwrite: Replace files that hold something else, which are refused otherwise, before
                any is written. A link is replaced by a file; what it leads to is never written.
            advance: Receives the number of frames just written.

        Returns:
            Files written.

        Raises:
            LabelStoreError: A label map is damaged.
            OutputError: A folder or file cannot be written, or is not ours to replace.
        """
        there = {path: self._holds(path, labels, index) for path, labels, index in self._existing()}
        others = [path for path, equal in there.items() if not equal]
        if others and not overwrite:
            raise _not_ours(others)
        written = 0
        for path, labels, index in self._files():
            if not there.get(path, False):
                _make_folder(path.parent)
                write_png(path, self._picture(labels, index))
                written += 1
            advance(1)
        return written

    def _sequences(self) -> list[str]:
        return [name for name in self.store.sequences() if self.store.has(name, self.array)]

    def _arrays(self) -> Iterator[tuple[str, LabelArray]]:
        for name in self._sequences():
            yield name, self.store.array(name, self.array)

    def _files(self) -> Iterator[tuple[Path, LabelArray, int]]:
        """Each file with the array and index that its picture comes from."""
        for name, labels in self._arrays():
            for index in labels.committed():
                yield self.out / name / f"{index:010d}.png", labels, index

    def _existing(self) -> Iterator[tuple[Path, LabelArray, int]]:
        return (file for file in self._files() if os.path.lexists(file[0]))

    def _holds(self, path: Path, labels: LabelArray, index: int) -> bool:
        """Whether a file that exists is what would be written."""
        try:
            found = disk.read_bytes(path)
        except OSError:
            return False
        return found == encode_png(self._picture(labels, index))

    def _picture(self, labels: LabelArray, index: int) -> UInt8[np.ndarray, "height width *rgb"]:
        pixels = labels.read(index)
        return _palette(labels.attributes)[pixels] if self.colour else pixels


def _not_ours(others: list[Path]) -> OutputError:
    named = others[0].name + (f" and {len(others) - 1} more" if len(others) > 1 else "")
    return OutputError(
        f"{named} hold something else" if len(others) > 1 else f"{named} holds something else",
        expected="a folder without such files, or with an earlier export of the same labels",
        where=others[0].absolute(),
        remedy="give another --out, or replace them with --overwrite",
    )


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk.unwritable(path, error.strerror, option="--out") from error


def array_names(store: LabelStore) -> list[str]:
    """Names of the store's label arrays."""
    return sorted({name for sequence in store.sequences() for name in store.arrays(sequence)})


def _palette(attributes: Mapping[str, Any]) -> UInt8[np.ndarray, "256 3"]:
    """Class colours; groups take the colour of their first class."""
    table = Scheme.recorded(attributes) if "table" in attributes else cityscapes()
    return table.palette()
