"""Why a folder that was given as KITTI raw root holds no frames, and where the root is."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from xdistill.manifests.nearby import nearby, subfolders
from xdistill.pipeline.kitti.errors import KittiError

LAYOUT = "<date>/<drive>/image_02/data/0000000000.png"
CALIBRATION = "calib_cam_to_cam.txt"
COLOUR = ("image_02", "image_03")
"""Folder of the left and of the right colour camera."""
GREY = ("image_00", "image_01")
ODOMETRY = ("image_2", "image_3")


def is_root(folder: Path) -> bool:
    """Whether a drive with a colour camera lies two levels below."""
    return bool(_drives(folder, COLOUR))


def _drives(folder: Path, cameras: Sequence[str]) -> list[Path]:
    """Drives with one of the cameras' folders."""
    return [
        drive
        for date in subfolders(folder)
        for drive in subfolders(date)
        if any((drive / camera).is_dir() for camera in cameras)
    ]


def missing_root(folder: Path) -> KittiError:
    """The error for a root that does not exist, or is a file."""
    roots = nearby(folder, is_root)
    return KittiError(
        f"the KITTI raw folder {'is a file' if folder.exists() else 'does not exist'}",
        expected=f"a folder with {LAYOUT}",
        where=folder.absolute(),
        remedy=f"give {_options(roots)}" if roots else "name it with --data, or set XDISTILL_DATA",
    )


def no_frames(root: Path, cameras: Sequence[str], *, drive: str | None = None) -> KittiError:
    """The error for a folder without frames.

    Args:
        root: KITTI raw root.
        cameras: Folders of the cameras whose frames are wanted.
        drive: The drive that was asked for.
    """
    folders = " or ".join(cameras)
    found, remedy = _explain(root, cameras, drive)
    return KittiError(
        found,
        expected=f"images {LAYOUT.replace('image_02', folders)} (or .jpg)",
        where=(root / drive if drive else root).absolute(),
        remedy=remedy,
    )


def _explain(root: Path, cameras: Sequence[str], drive: str | None) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    what = "the drive" if drive else "the folder"
    nothing = f"{what} has no frames"
    other = [camera for camera in COLOUR if camera not in cameras]
    drives = [root / drive] if drive else _drives(root, COLOUR)
    if any((one / camera).is_dir() for one in drives for camera in other):
        letter = "lr"[COLOUR.index(other[0])]
        return f"{nothing} of this camera", f"add --camera {letter}, or download the images"
    if drives:
        return nothing, "download its images, or number them from 0 in ten digits"
    archives = [inner for inner in subfolders(root.absolute()) if _is_archive(inner)]
    if len(archives) > 1:
        return (
            f"the folder holds {len(archives)} archives of KITTI raw, each in a folder of its own",
            f"make one of links: {_merge(root)}; then give --data {quote(str(_merged(root)))}",
        )
    if roots := nearby(root, is_root):
        place = "below" if root.absolute() in roots[0].parents else "above"
        return f"{nothing}: the KITTI raw folder is {place} it", f"give {_options(roots)}"
    if _drives(root, GREY):
        return f"{nothing} in colour, only in grey", "download the drives' image_02 and image_03"
    if any((inner / name).is_dir() for inner in _drives(root, ODOMETRY) for name in ODOMETRY):
        return (
            f"{nothing} of KITTI raw: it has the layout of KITTI's odometry benchmark",
            "download KITTI raw, and give its folder with --data",
        )
    return nothing, "give the folder above the dates with --data"


def _is_archive(folder: Path) -> bool:
    """Whether an archive of KITTI raw was unpacked here: a drive or a date's calibration."""
    return is_root(folder) or any((date / CALIBRATION).is_file() for date in subfolders(folder))


def calibration_remedy(path: Path) -> str:
    """What to do about a missing calibration file of a date."""
    date = path.absolute().parent
    places = [*subfolders(date), *(other / date.name for other in subfolders(date.parent))]
    for place in places:
        if (place / path.name).is_file():
            return f"copy it: cp {quote(str(place))}/calib_*.txt {quote(str(date))}/"
    return "download the date's calibration archive into this folder"


def _options(roots: Sequence[Path]) -> str:
    return " or ".join(f"--data {quote(str(root))}" for root in roots[:3])


def _merged(root: Path) -> Path:
    """A new folder beside the one with the archives' folders."""
    return root.absolute().with_name(f"{root.absolute().name}_merged")


def _merge(root: Path) -> str:
    """The command that puts links to all archives' files into one folder."""
    merged = quote(str(_merged(root)))
    return f"mkdir {merged} && cp -rs {quote(str(root.absolute()))}/*/. {merged}/"
