"""Lines of split files in the forms that circulate beside ``date/drive 50 l``.

What can be read in one way only is read. The one thing that a line may leave open is the camera,
for which the left one is assumed, as in lists for monocular training.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from xdistill.pipeline.kitti.errors import SplitError
from xdistill.pipeline.kitti.frames import DRIVE, EXAMPLE, Camera, Frame

NAME = r"(?P<name>(?P<date>\d{4}_\d\d_\d\d)_drive_\d{4}_(?:sync|extract))"
"""A drive of KITTI raw, which begins with its date."""
NUMBER = r"(?P<index>\d{1,10})(?:\.(?i:png|jpe?g))?"
FORMS = tuple(
    re.compile(form, re.ASCII)
    for form in (
        # 2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png, behind any folders;
        # further columns name the right image or the depth.
        rf"(?:.*?/)??(?P<drive>{DRIVE.pattern})/image_0(?P<camera>\d)/(?:data/)?{NUMBER}(?:\s.*)?",
        # 2011_09_26/2011_09_26_drive_0002_sync 0000000069, with or without the camera.
        rf"(?P<drive>[^\s/]+/[^\s/]+)(?:/image_0(?P<camera>\d)(?:/data)?)? {NUMBER}"
        r"(?: (?P<side>\w+))?",
        # The same without the date's folder, or with a blank behind it.
        rf"(?:\d{{4}}_\d\d_\d\d )?{NAME} {NUMBER}(?: (?P<side>\w+))?",
        # 2011_09_26_drive_0002_sync_02 0000000069 (Zhou et al. 2017).
        rf"{NAME}_0(?P<camera>\d)[ /]{NUMBER}",
        # 2011_09_26_drive_0002_sync_image_0000000069_image_02.png (KITTI's depth selection).
        rf"{NAME}_image_{NUMBER}_image_0(?P<camera>\d)(?:\.png)?",
    )
)
LONGEST = 1000
"""Characters of a line: beyond it the time of a search is felt, and no path is that long."""
SIDES: Mapping[str, Camera] = {
    **dict.fromkeys(("l", "left", "2", "02", "image_02"), "l"),
    **dict.fromkeys(("r", "right", "3", "03", "image_03"), "r"),
}
"""What stands for a camera; monodepth2 also takes the numbers."""


class Reading(NamedTuple):
    """How a line was read."""

    frame: Frame
    """The frame that it names."""
    usual: bool = True
    """Whether it has the form ``date/drive 50 l``."""
    camera_named: bool = True
    """False where the left camera was assumed."""


def read_line(text: str) -> Reading:
    """Read a line.

    Raises:
        SplitError: It names no frame, or no colour camera, or two of them.
    """
    try:
        return Reading(Frame.parse(text))
    except SplitError as error:
        refused = error
    # Backslashes are Windows' folders; commas, semicolons and quotes those of tables.
    plain = " ".join(re.sub('[,;"]', " ", text.replace("\\", "/")).split())
    forms = FORMS if len(plain) <= LONGEST else ()
    found = next((match for form in forms if (match := form.fullmatch(plain))), None)
    if found is None:
        raise refused
    parts = found.groupdict()
    named = {SIDES.get(side.lower()) for side in (parts.get("camera"), parts.get("side")) if side}
    if None in named or len(named) > 1:
        found_cameras = "no colour camera" if None in named else "two cameras"
        raise SplitError(
            f"{text.strip()[:120]!r} names {found_cameras}",
            expected=f"image_02 (l) or image_03 (r): {EXAMPLE}",
            remedy="correct the line",
        )
    camera = next(iter(named), "l")
    drive = parts.get("drive") or f"{parts['date']}/{parts['name']}"
    frame = Frame.parse(f"{drive} {parts['index']} {camera}")
    return Reading(frame, usual=False, camera_named=bool(named))
