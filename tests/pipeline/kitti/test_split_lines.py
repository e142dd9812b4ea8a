"""Lines of split files in the forms that circulate."""

import pytest

from xdistill.pipeline.kitti.errors import SplitError
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.kitti.split_lines import Reading, read_line

NAME = "2011_09_26_drive_0002_sync"
DRIVE = f"2011_09_26/{NAME}"
LEFT, RIGHT = Frame(DRIVE, 69, "l"), Frame(DRIVE, 69, "r")


@pytest.mark.parametrize("text", [f"{DRIVE} 69 l", f" {DRIVE}\t0000000069  l\r"])
def test_the_usual_form(text: str) -> None:
    assert read_line(text) == Reading(LEFT)


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        (f"{DRIVE} 0000000069.png l", LEFT),
        (f"{DRIVE} 0000000069.JPG 3", RIGHT),
        (f"{DRIVE} 69 R", RIGHT),
        (f"{DRIVE} 69 left", LEFT),
        (f"{DRIVE} 69 image_03", RIGHT),
        (f"{DRIVE},69,l", LEFT),
        (f'"{DRIVE}"; "0000000069"; "r"', RIGHT),
        (f"2011_09_26\\{NAME} 69 r", RIGHT),
        (f"{DRIVE}/image_03/data 69", RIGHT),
        (f"{DRIVE}/image_02/data/0000000069.png", LEFT),
        (f"{DRIVE}/image_02/data/0000000069.png {DRIVE}/image_03/data/0000000069.png", LEFT),
        (f"{DRIVE}/image_02/data/0000000069.jpg {NAME}/proj_depth/0000000069.png 721.5", LEFT),
        (f"/data/kitti raw/{DRIVE}/image_03/data/0000000069.jpeg", RIGHT),
        (f"C:\\kitti\\2011_09_26\\{NAME}\\image_02\\data\\0000000069.png", LEFT),
        (f"./{DRIVE}/image_02/0000000069.png", LEFT),
        (f"{NAME}_02 0000000069", LEFT),
        (f"{NAME}_03/0000000069.jpg", RIGHT),
        (f"{NAME} 69 r", RIGHT),
        (f"2011_09_26 {NAME} 0000000069 r", RIGHT),
        (f"{NAME}_image_0000000069_image_03.png", RIGHT),
    ],
)
def test_other_forms_that_can_be_read_in_one_way(text: str, frame: Frame) -> None:
    assert read_line(text) == Reading(frame, usual=False)


@pytest.mark.parametrize(
    "text", [f"{DRIVE} 69", f"{DRIVE} 0000000069.png", f"{NAME} 69", f"2011_09_26 {NAME} 69"]
)
def test_without_a_camera_the_left_one_is_assumed(text: str) -> None:
    assert read_line(text) == Reading(LEFT, usual=False, camera_named=False)


@pytest.mark.parametrize(
    "text",
    [
        DRIVE,
        NAME,
        "folder,frame,side",
        f"{DRIVE} l 69",
        f"{DRIVE} -69 l",
        f"{DRIVE} 69.5 l",
        f"{DRIVE} 69 70 l extra",
        f"{DRIVE} 69 70",
        f"{DRIVE} 69 up",
        f"{DRIVE}/image_00/data/0000000069.png",
        f"{DRIVE}/image_02/data 69 r",
        f"{DRIVE} 1317013360",
        f"../../{NAME} 69",
        f"{DRIVE} \u0666\u0669",
        "somewhere_drive_0002_sync 69",
    ],
)
def test_the_rest_is_refused(text: str) -> None:
    with pytest.raises(SplitError, match="names no|names two|has a number"):
        read_line(text)
