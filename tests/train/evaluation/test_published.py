"""Published rows: which are shown, as printed, and which are flagged."""

import re

import pytest

from xdistill.manifests import loader
from xdistill.train.evaluation.protocols import METRICS
from xdistill.train.evaluation.published import matching_rows, published_rows


def methods(backbone: str | None, resolution: str) -> list[str]:
    rows, _ = matching_rows("eigen", backbone=backbone, resolution=resolution)
    return [row.method for row in rows]


@pytest.mark.parametrize(
    ("backbone", "resolution", "expected"),
    [
        ("RN50", "640x192", ["Monodepth2", "Guizilini et al.", "Klingner et al.", "X-Distill"]),
        (
            "RN18",
            "640x192",
            [
                "Monodepth2",
                "Johnston et al.",
                "Guizilini et al.",
                "Klingner et al.",
                "Monodepth2+X-Distill",
            ],
        ),
        ("RN50", "1024x320", ["X-Distill"]),
        ("RN18", "1024x320", ["Monodepth2"]),
        (None, "1280x384", ["PackNet-SfM", "Klingner et al."]),
    ],
)
def test_rows_of_the_same_backbone_and_resolution(
    backbone: str | None, resolution: str, expected: list[str]
) -> None:
    assert methods(backbone, resolution) == expected
    assert matching_rows("eigen", backbone=backbone, resolution=resolution)[1] is None


@pytest.mark.parametrize(
    ("backbone", "resolution", "like", "said"),
    [
        ("RN18", "160x96", ("RN18", "640x192"), "of RN18 at 160x96; .* of RN18 at 640x192"),
        ("RN34", "1024x320", (None, "1024x320"), "RN34 at 1024x320; .* any backbone at 1024x320"),
        ("RN34", "320x96", (None, "640x192"), "of RN34 at 320x96; .* any backbone at 640x192"),
        (None, "160x48", (None, "640x192"), "of 160x48; .* any backbone at 640x192"),
    ],
)
def test_the_nearest_rows_where_there_are_none(
    backbone: str | None, resolution: str, like: tuple[str | None, str], said: str
) -> None:
    rows, note = matching_rows("eigen", backbone=backbone, resolution=resolution)
    assert rows == matching_rows("eigen", backbone=like[0], resolution=like[1])[0]
    assert note is not None and re.search(said, note)


def test_a_row_of_several_tables_comes_once_and_no_ablation_comes() -> None:
    rows = published_rows("eigen")
    assert len(rows) == len({(row.method, row.backbone, row.resolution) for row in rows}) == 25
    assert not [row for row in rows if "[" in row.method]
    assert {row.table for row in rows} == {"2", "8"}
    assert published_rows("make3d/sup=M") == []


def test_values_stay_as_printed() -> None:
    (row,) = matching_rows("eigen", backbone="RN50", resolution="1024x320")[0]
    assert row.metrics == ("0.102", "0.698", "4.439", "0.180", "0.895", "0.965", "0.983")
    assert row.as_json() == {
        "method": "X-Distill",
        "backbone": "RN50",
        "resolution": "1024x320",
        "table": "2",
        "semantic": True,
        **dict(zip(METRICS, (0.102, 0.698, 4.439, 0.18, 0.895, 0.965, 0.983), strict=True)),
        "note": None,
    }


def test_every_note_belongs_to_a_row() -> None:
    key = ("table", "method", "backbone", "resolution")
    results = {
        tuple(row[name] for name in key)
        for row in loader.load_table("published", "published_results")
    }
    notes = loader.load_table("published", "notes")
    assert len(notes) == 9
    assert {tuple(note[name] for name in key) for note in notes} <= results
