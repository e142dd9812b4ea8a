"""Documents in the wrong place, invented, cut short or of another kind: verify never crashes.

Whatever stands where a zarr.json belongs, verification ends in a report or in a message, and so
does repair. A report says "all as written" only if every label can be read and is the one that was
committed, by the teacher that made it.
"""

import copy
import json
import os
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from label_stores import SEQUENCE, TEACHER, frame, new_array, new_store, scratch_folder

from xdistill.grouping.scheme import load_scheme
from xdistill.manifests.errors import XDistillError
from xdistill.pipeline.labelling.info import describe
from xdistill.pipeline.labelling.regroup import plan_regroup
from xdistill.pipeline.store import LabelReader, LabelStore, LabelStoreError
from xdistill.pipeline.store.format import seal
from xdistill.pipeline.store.repair import repair_labels, repair_metadata
from xdistill.pipeline.store.verify import VerifyReport, verify_store

ROUNDS = 12
FRAMES = (0, 63, 70)
ARRAYS = ("classes", "groups_4")

Chance = random.Random
Place = Path
"""A zarr.json of the store."""
Hostility = Callable[[Path, Place, Chance], None]


@pytest.fixture(scope="module")
def whole() -> Iterator[Path]:
    """A store of two arrays, and beside it one of another teacher, size and table."""
    with scratch_folder() as folder:
        make(Path(folder, "s"), teacher=TEACHER, fingerprint="f1", size=(4, 6))
        make(Path(folder, "other"), teacher={"kind": "other"}, fingerprint="f2", size=(3, 5))
        yield Path(folder)


def make(path: Path, *, teacher: Any, fingerprint: str, size: tuple[int, int]) -> None:
    store = LabelStore.open_for_writing(path, teacher=teacher, fingerprint=fingerprint)
    for name in ARRAYS:
        array = new_array(store, length=80, name=name, size=size)
        for index in FRAMES:
            array.write_shard(index // 64, {index: frame(index, size=size)})


def documents(path: Path) -> list[Path]:
    return sorted(path.rglob("zarr.json"))


def swap(path: Path, place: Place, chance: Chance) -> None:
    """Two documents change places."""
    other = chance.choice(documents(path))
    a, b = place.read_bytes(), other.read_bytes()
    place.write_bytes(b), other.write_bytes(a)


def take(path: Path, place: Place, chance: Chance) -> None:
    """A copy of any document of this store."""
    place.write_bytes(chance.choice(documents(path)).read_bytes())


def take_foreign(path: Path, place: Place, chance: Chance) -> None:
    """A copy of any document of another store."""
    place.write_bytes(chance.choice(documents(path.parent / "other")).read_bytes())


def take_foreign_namesake(path: Path, place: Place, chance: Chance) -> None:
    """The same document of another store."""
    shutil.copy(path.parent / "other" / place.relative_to(path), place)


def spread(path: Path, place: Place, chance: Chance) -> None:
    """The same document in two or three more places."""
    for target in chance.sample(documents(path), chance.choice((2, 3))):
        target.write_bytes(place.read_bytes())


def cut(path: Path, place: Place, chance: Chance) -> None:
    """Cut short anywhere."""
    data = place.read_bytes()
    place.write_bytes(data[: chance.randrange(len(data))])


VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 64, 79, 10**6, 10**30, 0.0, 19.0, -1.5, "", "x", "../..", "é",
    "classes", "/", "\0", [], [1], [10**9, 10**9], ["a"], [[1]], {}, {"a": 1}, {"name": "bytes"},
)  # fmt: skip


def change(path: Path, place: Place, chance: Chance) -> None:
    """One value of the document becomes another, and its checksum is right again."""
    document = json.loads(place.read_bytes())
    parent, key = chance.choice([*leaves(document)])
    parent[key] = chance.choice(VALUES)
    place.write_bytes(resealed(document))


def change_alike(path: Path, place: Place, chance: Chance) -> None:
    """The same change in every document that has the value, so that no majority restores it."""
    document = json.loads(place.read_bytes())
    parent, key = chance.choice([*leaves(document)])
    before, after = copy.deepcopy(parent[key]), chance.choice(VALUES)
    for other in documents(path):
        content = json.loads(other.read_bytes())
        for container, name in list(leaves(content)):
            if name == key and container[name] == before:
                container[name] = after
        other.write_bytes(resealed(content))


def drop(path: Path, place: Place, chance: Chance) -> None:
    """A key is missing, and the checksum is right again."""
    document = json.loads(place.read_bytes())
    parent, key = chance.choice([*leaves(document)])
    del parent[key]
    place.write_bytes(resealed(document))


def leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with every key or position in it."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from leaves(value[key])


def resealed(document: Any) -> bytes:
    try:
        return seal(document)
    except (KeyError, TypeError, ValueError, AttributeError):
        return json.dumps(document).encode()


def invent(path: Path, place: Place, chance: Chance) -> None:
    """Bytes that never were a document."""
    texts = (b"", b"\0" * 50, b"null", b"[]", b"7", b'"x"', b"{}", b"[" * 10_000, b"\xff\xfe{}")
    more = (b'{"attributes": {}}', b'{"attributes": [1]}', b'{"attributes": {"format_version": 9}}')
    sealed = [seal({"attributes": {}}), seal({"attributes": {}, "shape": [1]}), b"9" * 5000]
    place.write_bytes(chance.choice([*texts, *more, *sealed]))


def newer(path: Path, place: Place, chance: Chance) -> None:
    """A document of a version to come."""
    document = json.loads(place.read_bytes())
    document["attributes"]["format_version"] = 2
    place.write_bytes(seal(document))


def folder_for_file(path: Path, place: Place, chance: Chance) -> None:
    """A folder with something of the user's in it, where a document or a chunk belongs."""
    file = chance.choice([place, *place.parent.glob("c.*")])
    file.unlink()
    file.mkdir()
    (file / "notes").write_text("x")


def file_for_folder(path: Path, place: Place, chance: Chance) -> None:
    """A file where a folder belongs; the folder is beside it, under another name."""
    folder = place.parent
    if folder != path:
        folder.rename(path.parent / "moved")
        folder.write_text("x")


def pipe_for_file(path: Path, place: Place, chance: Chance) -> None:
    """A named pipe, which a reader would wait for."""
    file = chance.choice([place, *place.parent.glob("c.*")])
    file.unlink()
    os.mkfifo(file)


def link_to_itself(path: Path, place: Place, chance: Chance) -> None:
    """A symbolic link that never ends, in place of a file or of a folder."""
    file = chance.choice([place, *place.parent.glob("c.*")])
    if chance.random() < 0.5 and place.parent != path:
        place.parent.rename(path.parent / "moved")
        file = place.parent
    else:
        file.unlink()
    file.symlink_to(file.name)


def link_back(path: Path, place: Place, chance: Chance) -> None:
    """A link in a folder to a folder above it."""
    (place.parent / "back").symlink_to(chance.choice(place.parents[: len(SEQUENCE.split("/"))]))


def consolidate(path: Path, place: Place, chance: Chance) -> None:
    """What zarr users do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(path))


def lose(path: Path, place: Place, chance: Chance) -> None:
    """Gone."""
    place.unlink()


KINDS: tuple[Hostility, ...] = (
    swap, take, take_foreign, take_foreign_namesake, spread, cut, change, change, change_alike,
    drop, invent, newer, folder_for_file, file_for_folder, pipe_for_file, link_to_itself, link_back,
    consolidate, lose,
)  # fmt: skip


def require_true(path: Path, strays: tuple[Path, ...], *, consistent: bool) -> None:
    """A store that is reported as written has every label, and the teacher that made them.

    Args:
        path: Folder of the store.
        strays: What verification named as not of the store, such as a file in a folder's place.
        consistent: Whether all copies were changed alike, so that only labels tell what was.
    """
    store = LabelStore.open(path)
    assert consistent or (store.fingerprint, store.teacher["kind"]) == ("f1", "png")
    for name in ARRAYS:
        if not store.has(SEQUENCE, name):
            assert any(Path(SEQUENCE, name).is_relative_to(s.relative_to(path)) for s in strays)
            continue
        if not consistent:
            assert new_array(new_store(path), length=80, name=name).committed() == list(FRAMES)
        reader = LabelReader(path, name)
        for index in FRAMES:
            np.testing.assert_array_equal(reader.read(SEQUENCE, index), frame(index))


def repair(path: Path, report: VerifyReport) -> bool:
    """What ``xd-pipeline verify --repair`` does; False where it refuses with a message."""
    try:
        if repair_metadata(path, report):
            return False
        store = new_store(path)
        repair_labels(store, report)
        for name in ARRAYS:
            array = new_array(store, length=80, name=name)
            for index in FRAMES:
                array.write_shard(index // 64, {index: frame(index)})
    except LabelStoreError as error:
        assert "what to do:" in str(error)
        return False
    return True


def examine(path: Path, *, consistent: bool) -> None:
    """Verify, look, repair, verify: each ends in a true report or in a message."""
    for look in (describe, lambda store: plan_regroup(store, load_scheme("4"))):
        with suppress(XDistillError):
            look(LabelStore.open(path))
    try:
        report = verify_store(path)
    except LabelStoreError as error:
        assert "what to do:" in str(error)
        return
    assert list(report.lines())
    if report.ok:
        require_true(path, report.strays, consistent=consistent)
    elif repair(path, report):
        again = verify_store(path)
        assert again.ok, "\n".join(again.lines())
        require_true(path, again.strays, consistent=consistent)
    assert all(notes.read_text() == "x" for notes in path.rglob("notes"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_stands_for_a_document_the_report_is_true(whole: Path, kind: Hostility) -> None:
    for seed in range(ROUNDS):
        chance = random.Random(f"{kind.__name__} {seed}")
        with scratch_folder() as folder:
            shutil.copytree(whole, folder, dirs_exist_ok=True)
            path = Path(folder, "s")
            kind(path, chance.choice(documents(path)), chance)
            examine(path, consistent=kind is change_alike)
