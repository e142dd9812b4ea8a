"""Frames without a file: which ones, named and not only counted."""

from collections.abc import Iterable, Sequence
from hashlib import sha256

from xdistill.manifests.disk import PathLike, as_path, write
from xdistill.manifests.download import cache_folder
from xdistill.pipeline.kitti import layout
from xdistill.pipeline.kitti.errors import MissingFrameError
from xdistill.pipeline.kitti.frames import CAMERAS, Frame, missing_frames

NAMED = 8
"""Names or ranges that a message lists before it counts the rest."""


def require_frames(root: PathLike, frames: Sequence[Frame]) -> None:
    """Check that every frame has an image.

    Raises:
        KittiError: The root is missing.
        MissingFrameError: Frames are missing; they are named.
    """
    missing = missing_frames(root, frames)
    if len(missing) == len(frames) and not layout.is_root(as_path(root)):
        raise layout.no_frames(as_path(root), sorted({CAMERAS[one.camera] for one in missing}))
    if missing:
        raise MissingFrameError(
            f"{len(missing)} of {len(frames)} frames have no image: {name_frames(missing)}",
            expected="an image for every frame of the split",
            where=as_path(root).absolute(),
            remedy=f"download these drives, or give a split without them{listing(missing)}",
        )


def listing(frames: Sequence[Frame], *, limit: int = NAMED) -> str:
    """Where all frames are listed, for the end of a remedy, if a message names the first alone.

    The list is a split file in the cache folder; without room there, the message does without.
    """
    if len(runs_of(frames)) <= limit:
        return ""
    lines = "".join(f"{frame}\n" for frame in frames).encode()
    path = cache_folder() / "missing" / f"{sha256(lines).hexdigest()[:12]}.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, [lines])
    except OSError:
        return ""
    return f"; all {len(frames)} are listed in {path}"


def name_frames(frames: Sequence[Frame], *, limit: int = NAMED) -> str:
    """Frames for a message, as ranges of numbers: the first ``limit``, and how many more frames.

    ``2011_09_26/2011_09_26_drive_0013_sync l: 17, 33-35 and 52 more frames``.
    """
    runs = runs_of(frames)
    named: dict[str, list[str]] = {}
    for run in runs[:limit]:
        first, last = run[0], run[-1]
        numbers = f"{first.index}-{last.index}" if first != last else str(first.index)
        named.setdefault(f"{first.drive} {first.camera}", []).append(numbers)
    text = "; ".join(f"{sequence}: {', '.join(numbers)}" for sequence, numbers in named.items())
    rest = sum(map(len, runs[limit:]))
    return text + (f" and {rest} more frames" if rest else "")


def runs_of(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Frames in order, in runs of consecutive numbers of one camera."""
    runs: list[list[Frame]] = []
    for frame in sorted(set(frames), key=lambda frame: (frame.sequence, frame.index)):
        if runs and runs[-1][-1].neighbour(1) == frame:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return runs
