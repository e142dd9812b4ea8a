"""Label quality: a confusion counted by hand, groups, and what stops the command."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from xdistill.grouping.scheme import load_scheme, remap
from xdistill.pipeline.cli.score import score
from xdistill.pipeline.labelling.score import confusion, measures, merge
from xdistill.pipeline.store import LabelStore

SEQUENCE = "2011_09_26/2011_09_26_drive_0013_sync/image_02"
TRUTH = np.array([[0, 0, 13, 13], [255, 5, 2, 0]], np.uint8)
LABELS = np.array([[0, 1, 13, 255], [0, 5, 13, 0]], np.uint8)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with frame 3 of one drive labelled."""
    path = tmp_path / "labels.zarr"
    target = LabelStore.open_for_writing(path, teacher={"kind": "test"}, fingerprint="f")
    array = target.ensure_array(
        SEQUENCE, "classes", length=4, size=LABELS.shape, values=19, attributes={}
    )
    array.write_shard(0, {3: LABELS})
    return path


def ground_truth(folder: Path, ids: NDArray[np.uint8], index: int = 3) -> Path:
    path = folder / SEQUENCE / f"{index:010d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), ids)
    return folder


def test_confusion_by_hand() -> None:
    counts = confusion(TRUTH, LABELS, classes=19)
    assert counts.sum() == 7  # One pixel has no ground truth.
    assert counts[0, 0] == 2 and counts[0, 1] == 1  # Road: one taken for sidewalk.
    assert counts[13, 13] == 1 and counts[13, 19] == 1  # Car: one ignored.
    assert counts[2, 13] == 1 and counts[5, 5] == 1


def test_iou_by_hand() -> None:
    names = [str(i) for i in range(19)]
    result = measures(confusion(TRUTH, LABELS, classes=19), names)
    assert result["iou"]["0"] == pytest.approx(2 / 3)
    assert result["iou"]["13"] == pytest.approx(1 / 3)  # Hit 1, missed 1, wrongly said 1.
    assert result["iou"]["1"] == 0.0 and result["iou"]["2"] == 0.0 and result["iou"]["5"] == 1.0
    assert result["iou"]["18"] is None
    assert result["miou"] == pytest.approx((2 / 3 + 1 / 3 + 0 + 0 + 1) / 5)
    assert result["accuracy"] == pytest.approx(4 / 7)


@given(data=st.data(), name=st.sampled_from(["2", "4", "19"]))
def test_groups_equal_the_confusion_of_remapped_labels(data: st.DataObject, name: str) -> None:
    scheme = load_scheme(name)
    ids = st.sampled_from([*range(19), 255])
    truth, labels = (
        np.array(data.draw(st.lists(ids, min_size=12, max_size=12)), np.uint8) for _ in range(2)
    )
    merged = merge(confusion(truth, labels, classes=19), scheme.table)
    direct = confusion(remap(truth, scheme), remap(labels, scheme), classes=len(scheme.groups))
    assert np.array_equal(merged, direct)


def test_command_in_json(store: Path, tmp_path: Path) -> None:
    folder = ground_truth(tmp_path / "truth", TRUTH)
    ground_truth(folder, TRUTH, index=2)  # Not labelled: counts nowhere.
    arguments = ["--store", str(store), "--labels", str(folder), "--json"]
    answer = CliRunner().invoke(score, arguments)
    assert answer.exit_code == 0, answer.output
    result = json.loads(answer.stdout)
    assert result["frames"] == 1 and result["pixels"] == 7
    assert result["classes"]["iou"]["road"] == pytest.approx(2 / 3)
    # Road and sidewalk are both ground: in groups the confusion of the two is none.
    assert result["groups"]["iou"]["ground"] == 1.0
    assert result["not_labelled"] == 1 and result["unmapped"] == 0
    counts = confusion(TRUTH, LABELS, classes=19)
    assert np.array_equal(result["classes"]["confusion"], counts)
    assert np.array_equal(result["groups"]["confusion"], merge(counts, load_scheme("4").table))


def test_command_in_text_with_label_ids(store: Path, tmp_path: Path) -> None:
    label_ids = np.array([[7, 7, 26, 26], [4, 17, 11, 7]], np.uint8)
    folder = ground_truth(tmp_path / "truth", label_ids)
    arguments = ["--store", str(store), "--labels", str(folder), "--ids", "label", "--scheme", "2"]
    answer = CliRunner().invoke(score, arguments)
    assert answer.exit_code == 0, answer.output
    assert "road                    66.67   33.3 % as sidewalk\n" in answer.stdout
    assert "car                     33.33   50.0 % as ignore\n" in answer.stdout
    assert "pole                   100.00\n" in answer.stdout
    assert "left out" not in answer.stdout
    assert "groups of scheme 2" in answer.stdout
    assert "bicycle                     -" in answer.stdout


@pytest.mark.parametrize(
    ("prepare", "named"),
    [
        (lambda folder: folder / "gone", "correct the path after --labels"),
        (lambda folder: folder.parent, "has no ground truth"),
        (lambda folder: flat(folder, TRUTH).parent, "give --mapping: train_mapping.txt"),
        (
            lambda folder: ground_truth(folder, TRUTH, index=1),
            "1 maps of other frames, such as 2011_09_26/2011_09_26_drive_0013_sync/image_02/000000",
        ),
        (lambda folder: ground_truth(folder, TRUTH[:1]), "the label map is 4x1"),
        (lambda folder: ground_truth(folder, np.full_like(TRUTH, 26)), "ids 26"),
    ],
)
def test_what_stops_it(store: Path, tmp_path: Path, prepare: object, named: str) -> None:
    folder = prepare(tmp_path / "truth")  # type: ignore[operator]
    answer = CliRunner().invoke(score, ["--store", str(store), "--labels", str(folder)])
    assert answer.exit_code == 1 and named in answer.stderr and "Traceback" not in answer.output


def test_train_ids_scored_as_label_ids_are_refused(store: Path, tmp_path: Path) -> None:
    labels = ground_truth(tmp_path / "truth", np.array([[0, 0, 13, 13], [255, 5, 2, 0]], np.uint8))
    result = CliRunner().invoke(
        score, ["--store", str(store), "--labels", str(labels), "--ids", "label"]
    )
    assert result.exit_code == 1 and "leave out --ids label" in result.stderr
    assert "mean IoU" not in result.stdout


def test_a_missing_store_is_told_without_a_bar(tmp_path: Path) -> None:
    folder = ground_truth(tmp_path / "truth", TRUTH)
    arguments = ["--store", str(tmp_path / "gone"), "--labels", str(folder)]
    answer = CliRunner().invoke(score, arguments)
    assert answer.exit_code == 1 and "label store does not exist" in answer.stderr
    assert "frame/s" not in answer.stderr


def flat(folder: Path, ids: NDArray[np.uint8], number: int = 0) -> Path:
    """A map as KITTI-2015 semantics names it."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{number:06d}_10.png"
    cv2.imwrite(str(path), ids)
    return path


LINE = "2011_09_26 2011_09_26_drive_0013_sync {:010d}\n"


def mapped(store: Path, folder: Path, lines: str, *more: str) -> Result:
    mapping = folder.parent / "train_mapping.txt"
    mapping.write_text(lines)
    arguments = ["--store", str(store), "--labels", str(folder), "--mapping", str(mapping)]
    return CliRunner().invoke(score, [*arguments, *more])


def test_kitti_2015_is_scored_against_the_mapped_frames(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "semantic"
    for number in (0, 1, 2, 9):
        flat(folder, np.zeros_like(TRUTH), number)
    flat(folder, TRUTH, number=3)
    # Frame 3 is the one that is labelled; image 1 is of a drive that the store lacks.
    lines = LINE.format(2) + LINE.replace("0013", "0014").format(3) + "\n" + LINE.format(3)
    answer = mapped(store, folder, lines, "--json")
    assert answer.exit_code == 0, answer.output
    result = json.loads(answer.stdout)
    assert (result["frames"], result["not_labelled"], result["unmapped"]) == (1, 2, 2)
    assert np.array_equal(result["classes"]["confusion"], confusion(TRUTH, LABELS, classes=19))
    told = mapped(store, folder, lines).stdout
    assert "left out: 2 maps of frames that are not labelled in the store\n" in told
    assert "left out: 2 maps of frames that the mapping does not name\n" in told


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("\n" * 4, "0 maps of other frames and 1 maps of unknown frames"),
        (
            LINE.format(3) + "2011_09_26 drive\n",
            "line 2 of train_mapping.txt names no frame: '2011_09_26 drive'",
        ),
        ("some text\n", "line 1 of train_mapping.txt"),
        (LINE.format(1), "label these frames first"),
    ],
)
def test_mappings_that_lead_nowhere(store: Path, tmp_path: Path, lines: str, named: str) -> None:
    answer = mapped(store, flat(tmp_path / "semantic", TRUTH).parent, lines)
    assert answer.exit_code == 1 and named in " ".join(answer.stderr.split()), answer.stderr


def test_mapping_without_its_maps_or_its_file(store: Path, tmp_path: Path) -> None:
    answer = mapped(store, ground_truth(tmp_path / "truth", TRUTH), LINE.format(3))
    assert answer.exit_code == 1 and "or leave out --mapping" in answer.stderr
    folder = flat(tmp_path / "semantic", TRUTH).parent
    arguments = ["--store", str(store), "--labels", str(folder), "--mapping", str(tmp_path)]
    answer = CliRunner().invoke(score, arguments)
    assert answer.exit_code == 1 and "cannot be read: it is a folder, not a file" in answer.stderr
