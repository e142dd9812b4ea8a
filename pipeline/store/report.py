"""What verification found, as data and as lines to print."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["metadata", "commit", "counts", "frame"]
"""A zarr.json; a chunk of commit words; a chunk of counts; the labels of a frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One damaged thing."""

    kind: Kind
    """What is damaged."""
    path: Path
    """Its folder (metadata) or file."""
    reason: str
    """What is wrong with it."""
    sequence: str = ""
    """``<date>/<drive>/image_0X`` of the array concerned; empty for a group's metadata."""
    array: str = ""
    """Name of the label array concerned; empty for a group's metadata."""
    frames: tuple[int, ...] = ()
    """Frames whose labels are lost or uncertain and must be made again."""
    guessed: bool = False
    """Whether nothing tells which frames had labels, so that ``frames`` is all of the shard."""
    shard: int | None = None
    """The shard concerned; None for metadata."""
    document: bytes | None = None
    """What the zarr.json must be, where the rest of the store tells; None where that is lost."""

    def __str__(self) -> str:
        what = {"metadata": "metadata", "commit": "commit record", "counts": "counts"}
        named = what.get(self.kind) or f"frame {self.frames[0]} of {self.sequence} {self.array}"
        lost = " (cannot be restored)" if self.kind == "metadata" and not self.document else ""
        return f"{self.path}: {named}: {self.reason}{lost}"


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """Everything that verification of a store found."""

    path: Path
    """Folder of the store."""
    frames: int
    """Committed frames that were read, over all arrays."""
    findings: tuple[Finding, ...]
    """What is damaged."""
    strays: tuple[Path, ...]
    """Files and folders that do not belong to a store; they harm nothing and are left alone."""
    orphans: tuple[Path, ...]
    """What a killed writer left; the next opening for writing removes it."""

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written."""
        return not self.findings

    def redo(self) -> dict[tuple[str, str], tuple[int, ...]]:
        """Frames to make again, by sequence and array."""
        frames: dict[tuple[str, str], set[int]] = {}
        for finding in self.findings:
            if finding.frames:
                frames.setdefault((finding.sequence, finding.array), set()).update(finding.frames)
        return {key: tuple(sorted(found)) for key, found in sorted(frames.items())}

    def lines(self) -> Iterator[str]:
        """The report as text: what is damaged, what is stray, the sum."""
        yield from map(str, self.findings)
        yield from (f"{path}: not part of a store, left alone" for path in self.strays)
        yield from (f"{path}: left by an interrupted run" for path in self.orphans)
        redo = sum(map(len, self.redo().values()))
        state = "all as written" if self.ok else f"{len(self.findings)} damaged, {redo} to redo"
        yield f"{self.path}: {self.frames} frames read, {state}"
