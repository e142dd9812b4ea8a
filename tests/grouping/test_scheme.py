"""Schemes: Table 1 and Table 5 as numbers, every way a table can be wrong, and remapping.

Remapping equals the table read pixel by pixel, for every scheme, shape and real label map.
"""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from material import Material
from numpy.typing import NDArray

from xdistill.grouping.classes import cityscapes
from xdistill.grouping.scheme import RESERVED_ENDINGS, Scheme, SchemeError, load_scheme, remap
from xdistill.manifests.errors import ManifestError
from xdistill.pipeline.store.format import COMMIT_SUFFIX, COUNTS_SUFFIX

# Table 1, Cai et al. 2021, written out by hand: train id -> group.
TABLE_1 = (3, 3, 2, 2, 2, 0, 0, 0, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1)
FOREGROUND_BACKGROUND = (1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("name", "table"),
    [("4", TABLE_1), ("2", FOREGROUND_BACKGROUND), ("19", tuple(range(19)))],
)
def test_shipped_schemes_are_the_papers(name: str, table: tuple[int, ...]) -> None:
    scheme = load_scheme(name)
    assert scheme.table == table
    assert scheme.array == f"groups_{name}"
    assert len(scheme.groups) == int(name) == len(scheme.colours)


def test_class_table_has_the_cityscapes_ids() -> None:
    table = cityscapes()
    assert table.names[0] == "road" and table.names[13] == "car" and table.names[18] == "bicycle"
    ids = table.from_label_ids()
    assert [ids[7], ids[26], ids[33]] == [0, 13, 18]
    assert ids[0] == ids[1] == ids[29] == ids[255] == 255
    assert tuple(table.palette()[0]) == (128, 64, 128)


def user_table(**groups: list[int]) -> str:
    rows = [
        f'[[group]]\nid = {number}\nname = "{name}"\ntrain_ids = {str(ids).lower()}\n'
        for number, (name, ids) in enumerate(groups.items())
    ]
    return 'name = "mine"\n' + "\n".join(rows)


ONE = user_table(a=list(range(19)))


def test_a_users_own_table_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(user_table(even=list(range(0, 19, 2)), odd=list(range(1, 19, 2))))
    scheme = load_scheme(str(path))
    assert scheme.table == tuple(i % 2 for i in range(19))
    assert scheme.array == "groups_mine"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (user_table(a=list(range(18)), b=[]), "train id 18 (bicycle) is in no group"),
        (user_table(a=list(range(19)), b=[4]), "train id 4 (fence) is in groups 0 and 1"),
        (user_table(a=list(range(19)), b=[]), "group id 1 has no train id"),
        (user_table(a=list(range(20))), "group 0 has 19, which is not a train id"),
        (user_table(a=[*range(19), 255]), "group 0 has 255, which is not a train id"),
        (user_table(a=[*range(18), True]), "group 0 has True, which is not a train id"),
        (
            user_table(a=list(range(19))).replace("id = 0", "id = 1"),
            "group id 1 stands where 0 belongs",
        ),
        (user_table(a=list(range(19))).replace("mine", "a/b"), "name 'a/b'"),
        ('name = "x"\n', "the scheme has no groups"),
        ('name = "x"\ngroup = 3\n', "the scheme has no groups"),
        ('name = "x"\ngroup = []\n', "the scheme has no groups"),
        ('name = "x"\ngroup = [1, 2]\n', "the scheme has no groups"),
        ('name = "x"\n[group]\nid = 0\n', "the scheme has no groups"),
        (ONE.replace("mine", "a" * 300), "the name 'aaaa"),
        (ONE.replace('"mine"', '"a_commit"'), "the name 'a_commit' cannot be part"),
        (ONE.replace('"mine"', '"a_counts"'), "the name 'a_counts' cannot be part"),
        (ONE.replace('"mine"', '"größe"'), "the name 'größe' cannot be part"),
        (ONE.replace('"mine"', "true"), "the name True"),
        (ONE.replace('"mine"', "1.5"), "the name 1.5"),
        (ONE.replace('"mine"', '"a\\nb"'), "the name 'a\\nb'"),
        (ONE.removeprefix('name = "mine"'), "the name missing"),
        ("colour = 3\n" + ONE, "the key 'colour' of the scheme is unknown"),
        (ONE + "color = [1, 2, 3]\n", "the key 'color' of the scheme is unknown"),
        (ONE.replace("id = 0", 'id = "0"'), "a group has the id '0'"),
        (ONE.replace("id = 0", "id = 0.0"), "a group has the id 0.0"),
        (ONE.replace("id = 0", "id = false"), "a group has the id False"),
        (ONE.replace("id = 0", ""), "a group has the id missing"),
        (ONE.replace("train_ids", "# "), "group id 0 has the train_ids missing"),
        (ONE.replace("train_ids = ", "train_ids = 3 # "), "group id 0 has the train_ids 3"),
        (ONE.replace("train_ids = ", 'train_ids = "0" # '), "group id 0 has the train_ids '0'"),
        (ONE.replace("[0,", "[0.5,"), "group 0 has 0.5, which is not a train id"),
        (ONE.replace("[0,", "[[0],"), "group 0 has [0], which is not a train id"),
        (ONE.replace('"a"', "7"), "the name of group 0 is 7"),
        (ONE.replace('"a"', '""'), "the name of group 0 is ''"),
        (ONE.replace('"a"', '"ignore"'), "the name of group 0 is 'ignore'"),
        (ONE.replace('"a"', f'"{"b" * 300}"'), "the name of group 0 is 'bbbb"),
        (ONE.replace('name = "a"', ""), "the name of group 0 is missing"),
        (user_table(a=[0], b=[1]).replace('"b"', '"a"'), "two groups are named 'a'"),
        (ONE + "colour = [1, 2, 300]\n", "the colour of group 0 is [1, 2, 300]"),
        (ONE + "colour = [1, 2]\n", "the colour of group 0 is [1, 2]"),
        (ONE + f"colour = {[7] * 300}\n", "the colour of group 0 is [7, 7"),
        (ONE + "colour = [1.0, 2, 3]\n", "the colour of group 0 is [1.0"),
        (ONE + 'colour = "red"\n', "the colour of group 0 is 'red'"),
        (ONE + "colour = [nan, 2, 3]\n", "the colour of group 0 is [nan"),
    ],
)
def test_a_broken_table_is_refused_with_the_id_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(SchemeError) as caught:
        load_scheme(str(path))
    assert named in str(caught.value)
    assert "expected" in str(caught.value) and str(path) in str(caught.value)
    assert max(map(len, str(caught.value).splitlines())) < 200


def test_an_unknown_scheme_lists_the_known_ones() -> None:
    with pytest.raises(ManifestError, match="one of 19, 2, 4"):
        load_scheme("5")


def test_no_toml_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("name = ")
    with pytest.raises(ManifestError, match="is not valid TOML"):
        load_scheme(str(path))


OWN = Scheme(
    name="own",
    groups=("a", "b", "c"),
    table=tuple(i % 3 for i in range(19)),
    colours=((1, 2, 3),) * 3,
)
SCHEMES = [load_scheme("4"), load_scheme("2"), load_scheme("19"), OWN]


def by_hand(labels: NDArray[np.uint8], scheme: Scheme) -> list[int]:
    """The table, one pixel at a time."""
    return [scheme.table[label] if label < 19 else 255 for label in labels.ravel().tolist()]


@given(
    labels=arrays.arrays(np.uint8, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0)),
    scheme=st.sampled_from(SCHEMES),
)
def test_any_shape(labels: NDArray[np.uint8], scheme: Scheme) -> None:
    before = labels.copy()
    groups = remap(labels, scheme)
    assert groups.shape == labels.shape and groups.dtype == np.uint8
    assert groups.ravel().tolist() == by_hand(labels, scheme)
    assert np.array_equal(labels, before)


def test_strided_view(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 19, (8, 10), np.uint8)[::2, ::3]
    assert remap(labels, OWN).ravel().tolist() == by_hand(labels, OWN)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_real_labels(material: Material, scheme: Scheme) -> None:
    folder = material.labels / "2011_09_26/2011_09_26_drive_0013_sync/image_02"
    for path in sorted(folder.glob("*.png"))[:2]:
        labels = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), np.uint8)
        assert len(np.unique(labels)) > 5
        assert remap(labels, scheme).ravel().tolist() == by_hand(labels, scheme)


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="int64"):
        remap(np.zeros((2, 2), np.int64), OWN)  # type: ignore[arg-type]


def test_the_reserved_ending_is_the_stores() -> None:
    assert RESERVED_ENDINGS == (COMMIT_SUFFIX, COUNTS_SUFFIX)


def test_grouping_does_not_import_torch() -> None:
    code = "import sys, xdistill.grouping.scheme;sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
