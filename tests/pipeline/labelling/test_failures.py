"""Failures are told once a kind."""

from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.labelling.failures import by_kind, kind_of, lines

DRIVE = "2011_09_26/2011_09_26_drive_0001_sync"


def frame(index: int) -> Frame:
    return Frame(DRIVE, index, "l")


def test_numbers_make_no_kind() -> None:
    assert kind_of("the label map holds ids 19, 20, 33\n  where: a") == kind_of(
        "the label map holds ids 26\n  where: b"
    )
    assert kind_of("0000000010.png is truncated: 81 bytes") == kind_of(
        "7.png is truncated: 9 bytes"
    )
    assert kind_of("the label map is 40x12") != kind_of("the image is 40x12")


def test_each_kind_is_told_in_full_once_in_the_order_of_frames() -> None:
    failures = {frame(i): f"{i}.png is truncated\n  where: {i}.png" for i in range(20, 3, -1)}
    failures[frame(11)] = "the frame has no label map"
    failures[frame(99)] = "it broke"
    assert [len(frames) for frames in by_kind(failures).values()] == [16, 1, 1]
    assert list(lines(failures)) == [
        f"failed: {DRIVE} 4 l: 4.png is truncated\n  where: 4.png",
        f"failed alike: {DRIVE} 5 l, {DRIVE} 6 l, {DRIVE} 7 l, {DRIVE} 8 l, {DRIVE} 9 l"
        " and 10 other frames",
        f"failed: {DRIVE} 11 l: the frame has no label map",
        f"failed: {DRIVE} 99 l: it broke",
    ]


def test_few_frames_are_all_named() -> None:
    failures = {frame(i): "it broke" for i in range(6)}
    assert list(lines(failures))[1].endswith(f"{DRIVE} 4 l, {DRIVE} 5 l")
