from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from training_tree import DRIVE, FRAMES, HEIGHT, SEQUENCE, WIDTH, labels_of

from xdistill.grouping.scheme import load_scheme, remap
from xdistill.pipeline.kitti.frames import Frame
from xdistill.pipeline.labelling.regroup import plan_regroup, regroup
from xdistill.pipeline.store import LabelStore, LabelStoreError
from xdistill.teachers.png import PngTeacher
from xdistill.train.data.labels import MissingLabelsError, find_labels, resize_labels

FRAMES_WANTED = [Frame(DRIVE, index, "l") for index in range(FRAMES)]
SCHEME = load_scheme("4")


def materialise(path: Path) -> None:
    store = LabelStore.open(path)
    writable = LabelStore.open_for_writing(
        path, teacher=store.teacher, fingerprint=store.fingerprint
    )
    regroup(writable, SCHEME, tasks=plan_regroup(writable, SCHEME))


def test_stored_groups_and_groups_on_the_fly_are_the_same(
    make_store: Callable[..., Path],
) -> None:
    path = make_store()
    fly = find_labels(path, FRAMES_WANTED, scheme=SCHEME, segment="")
    materialise(path)
    stored = find_labels(path, FRAMES_WANTED, scheme=SCHEME, segment="")
    assert (fly.arrays, stored.arrays) == ({SEQUENCE: "classes"}, {SEQUENCE: "groups_4"})
    for frame in FRAMES_WANTED:
        expected = remap(labels_of(frame.index), SCHEME)
        for source in (fly, stored):
            np.testing.assert_array_equal(source.read(frame, (HEIGHT, WIDTH)), expected)
    assert "groups_4 of 0 sequences as stored, of 1 from classes" in fly.describe()
    assert stored.fingerprint == "0" * 64


def test_groups_that_do_not_cover_the_frames_are_left_for_the_classes(
    make_store: Callable[..., Path],
) -> None:
    path = make_store(list(range(5)))
    materialise(path)
    store = LabelStore.open(path)
    writable = LabelStore.open_for_writing(
        path, teacher=store.teacher, fingerprint=store.fingerprint
    )
    writable.array(SEQUENCE, "classes").write_shard(0, {i: labels_of(i) for i in range(5, 10)})
    assert find_labels(path, FRAMES_WANTED, scheme=SCHEME, segment="").arrays[SEQUENCE] == "classes"
    few = find_labels(path, FRAMES_WANTED[:5], scheme=SCHEME, segment="")
    assert few.arrays[SEQUENCE] == "groups_4"


def test_labels_at_the_network_size_come_from_the_nearest_pixel(store: Path) -> None:
    source = find_labels(store, FRAMES_WANTED, scheme=SCHEME, segment="")
    found = source.read(FRAMES_WANTED[3], (64, 96))
    native = remap(labels_of(3), SCHEME)
    rows = ((np.arange(64) + 0.5) * HEIGHT / 64).astype(int)
    columns = ((np.arange(96) + 0.5) * WIDTH / 96).astype(int)
    np.testing.assert_array_equal(found, native[np.ix_(rows, columns)])


def test_resizing_keeps_labels_and_grouping_commutes_with_it() -> None:
    labels = labels_of(1)
    small = resize_labels(labels, (33, 47))
    assert set(np.unique(small)) <= set(np.unique(labels))
    np.testing.assert_array_equal(
        remap(small, SCHEME), resize_labels(remap(labels, SCHEME), (33, 47))
    )


def test_missing_labels_are_counted_and_named_with_the_command(
    make_store: Callable[..., Path],
) -> None:
    path = make_store([0, 1, 2, 5])
    with pytest.raises(MissingLabelsError) as caught:
        find_labels(path, FRAMES_WANTED, scheme=SCHEME, segment="xd-pipeline segment --drive 1")
    message = str(caught.value)
    assert "6 of 10 training frames have no labels" in message
    assert f"{DRIVE} l: 3-4, 6-9" in message
    assert "run: xd-pipeline segment --drive 1, with the store's own teacher" in message


@pytest.mark.parametrize(("ids", "option"), [("train", ""), ("label", " --ids label")])
def test_missing_labels_of_a_folder_are_asked_for_with_that_folder(
    tmp_path: Path, ids: Literal["train", "label"], option: str
) -> None:
    folder = tmp_path / "my labels"
    (folder / SEQUENCE).mkdir(parents=True)
    (folder / SEQUENCE / "0000000000.png").touch()
    teacher = PngTeacher(folder, ids=ids)
    path = tmp_path / "labels.zarr"
    LabelStore.open_for_writing(path, teacher=teacher.record, fingerprint=teacher.fingerprint)
    with pytest.raises(MissingLabelsError) as caught:
        find_labels(path, FRAMES_WANTED, scheme=SCHEME, segment="segment")
    assert str(caught.value).endswith(f"run: segment --teacher 'png:{folder}'{option}")


def test_frames_beyond_the_array_and_other_sequences_are_missing_too(store: Path) -> None:
    others = [Frame(DRIVE, 99, "l"), Frame(DRIVE, 1, "r")]
    with pytest.raises(MissingLabelsError, match="2 of 2"):
        find_labels(store, others, scheme=SCHEME, segment="")


def test_groups_of_another_table_are_refused(
    make_store: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_store()
    materialise(path)
    own = tmp_path / "own.toml"
    own.write_text(
        'name = "4"\n[[group]]\nid = 0\nname = "all"\ntrain_ids = '
        f"{list(range(19))}\ncolour = [1, 2, 3]\n"
    )
    with pytest.raises(LabelStoreError, match="groups_4 was made with the table"):
        find_labels(path, FRAMES_WANTED, scheme=load_scheme(str(own)), segment="")


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(LabelStoreError, match="label store does not exist"):
        find_labels(tmp_path / "absent.zarr", FRAMES_WANTED, scheme=SCHEME, segment="")


def with_confidence(path: Path, indices: range) -> None:
    """Levels 0-15 in columns, 255 in the last one."""
    store = LabelStore.open(path)
    writable = LabelStore.open_for_writing(
        path, teacher=store.teacher, fingerprint=store.fingerprint
    )
    levels = np.broadcast_to(np.arange(WIDTH, dtype=np.uint8) % 16, (HEIGHT, WIDTH)).copy()
    levels[:, -1] = 255
    array = writable.ensure_array(
        SEQUENCE, "confidence", length=FRAMES, size=(HEIGHT, WIDTH), values=16, attributes={}
    )
    array.write_shard(0, {index: levels for index in indices})


@pytest.mark.parametrize(
    ("threshold", "level"), [(0.0, 0), (0.5, 8), (0.51, 9), (0.93, 15), (1.0, 15)]
)
def test_labels_of_low_confidence_are_ignored(
    make_store: Callable[..., Path], threshold: float, level: int
) -> None:
    path = make_store()
    with_confidence(path, range(FRAMES))
    source = find_labels(path, FRAMES_WANTED, scheme=SCHEME, segment="", min_confidence=threshold)
    found = source.read(FRAMES_WANTED[2], (HEIGHT, WIDTH))
    expected = remap(labels_of(2), SCHEME)
    low = np.arange(WIDTH) % 16 < level
    low[-1] = False
    expected[:, low] = 255
    np.testing.assert_array_equal(found, expected)


def test_a_store_without_the_confidence_says_how_to_get_it(
    make_store: Callable[..., Path],
) -> None:
    path = make_store()
    with_confidence(path, range(3))
    with pytest.raises(MissingLabelsError) as caught:
        find_labels(path, FRAMES_WANTED, scheme=SCHEME, segment="go", min_confidence=0.5)
    assert f"{FRAMES - 3} of {FRAMES} training frames have no confidence" in str(caught.value)
    assert "go --confidence" in str(caught.value)
