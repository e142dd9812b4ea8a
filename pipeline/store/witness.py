"""What a label array is: by the three documents that say so and, where they differ, by its files.

Any of the three restores the others. Where an intact one has other values, because it was copied
from elsewhere or written by hand, the chunks on disk and then the majority decide. Where neither
tells which is right, nothing is restored.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from xdistill.pipeline.store import chunks
from xdistill.pipeline.store.chunks import ShardError
from xdistill.pipeline.store.errors import CorruptLabelsError, LabelStoreError
from xdistill.pipeline.store.format import (
    COMMIT_SUFFIX,
    COUNTS_SUFFIX,
    Description,
    described,
    documents,
    label_document,
)
from xdistill.pipeline.store.metadata import read_document

FOREIGN = "the metadata is not that of this array"
DISAGREES = "disagrees with the other metadata of the array"
UNDECIDED = f"{DISAGREES}, and nothing tells which is right"


@dataclass(frozen=True, kw_only=True, slots=True)
class Testimony:
    """What the documents of one label array say."""

    array: Description | None
    """What the array is; None where no document says it, or nothing tells which is right."""
    reasons: Mapping[Path, str]
    """What is wrong with the documents of these folders, in order of creation of all three."""


def hear(sequence: Path, name: str, *, shards: Iterable[int], needed: int) -> Testimony:
    """Read the three documents of an array, and decide what it is.

    Args:
        sequence: Folder of the sequence.
        name: Name of the label array.
        shards: Numbers of the shards on disk.
        needed: Number of frames up to the last committed one, looked up before.
    """
    intact: dict[Path, Description] = {}
    unreadable: dict[Path, str] = {}
    # Companions grow first: whatever a writer does meanwhile, they are as long as the array was.
    for suffix in ("", COMMIT_SUFFIX, COUNTS_SUFFIX):
        folder = sequence / (name + suffix)
        try:
            found = described(read_document(folder), folder)
        except LabelStoreError as error:
            unreadable[folder] = error.headline
        else:
            if found is None:
                unreadable[folder] = FOREIGN
            else:
                intact[folder] = found
    array = _decide(list(intact.values()), sequence / name, shards=shards)
    if array is None:
        return Testimony(array=None, reasons=unreadable | dict.fromkeys(intact, UNDECIDED))
    agreeing = {folder: one.length for folder, one in intact.items() if _same(one, array)}
    length = max(needed, _length(agreeing, sequence / name))
    array = replace(array, length=length)
    wrong = {
        folder: _miscounted(agreeing[folder], length)
        if folder in agreeing
        else unreadable.get(folder, DISAGREES)
        for folder in documents(sequence, array)
        if not _covers(agreeing.get(folder, 0), length, longer=folder != sequence / name)
    }
    return Testimony(array=array, reasons=wrong)


def _covers(found: int, length: int, *, longer: bool) -> bool:
    """Whether a document has the right length; companions may be longer, as they grow first."""
    return found == length or (longer and found > length)


def _miscounted(found: int, length: int) -> str:
    more = f"its companions {length}" if found > length else f"but {length} are committed"
    return f"covers {found} frames, {more}"


def _length(agreeing: Mapping[Path, int], folder: Path) -> int:
    """Length of the array by the documents that agree on everything else."""
    companions = [length for path, length in agreeing.items() if path != folder]
    own = agreeing.get(folder)
    if own is None:
        return min(companions)
    # Both companions cannot be shorter than an array that grew after them.
    return min(own, max(companions)) if len(companions) == 2 else own


def _same(one: Description, other: Description) -> bool:
    return replace(one, length=other.length) == other


def _decide(found: list[Description], folder: Path, *, shards: Iterable[int]) -> Description | None:
    """The description that the files bear out, or else the most documents; None if two are level.

    Args:
        found: What the intact documents say.
        folder: The label array's own.
        shards: Numbers of the shards on disk.
    """
    votes: dict[bytes, list[Description]] = {}
    for one in found:
        votes.setdefault(label_document(replace(one, length=1)), []).append(one)
    if len(votes) < 2:
        return found[0] if found else None
    ranked = sorted(
        ((_evidence(same[0], folder, shards=shards), len(same)), same[0].length, number)
        for number, same in enumerate(votes.values())
    )
    if ranked[-1][0] == ranked[-2][0]:
        return None
    return list(votes.values())[ranked[-1][2]][0]


def _evidence(array: Description, folder: Path, *, shards: Iterable[int]) -> int:
    """How much on disk, of what can be read, fits a description: 0 to 3."""
    counts = next((number for number in shards if _fits_counts(array, folder, number)), None)
    pixels = max((_fits_pixels(array, folder, number) for number in shards), default=0)
    return (counts is not None) + pixels


def _fits_counts(array: Description, folder: Path, number: int) -> bool:
    path = folder.with_name(folder.name + COUNTS_SUFFIX)
    try:
        chunks.read_counts(path, number, values=array.values)
    except CorruptLabelsError:
        return False
    return chunks.counts_path(path, number).exists()


def _fits_pixels(array: Description, folder: Path, number: int) -> int:
    """1 if a committed frame has this size, 2 if its values are of this array too."""
    try:
        words = chunks.read_words(folder.with_name(folder.name + COMMIT_SUFFIX), number)
    except CorruptLabelsError:
        return 0
    for slot in chunks.is_done(words).nonzero()[0].tolist():
        try:
            labels = chunks.read_frame(chunks.shard_path(folder, number), slot, array.size)
        except ShardError:
            continue
        if chunks.matches(labels, words[slot]):
            try:
                chunks.histogram(labels, values=array.values)
            except ValueError:
                return 1
            return 2
    return 0
