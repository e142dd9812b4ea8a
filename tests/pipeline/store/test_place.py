"""A label store given one level too deep or too shallow: the message names the store."""

import shlex
from pathlib import Path

import pytest
from label_stores import SEQUENCE, new_array, new_store

from xdistill.pipeline.labelling.plan import open_existing
from xdistill.pipeline.store import LabelStore, LabelStoreError


@pytest.mark.parametrize("given", ["..", "2011_09_26", SEQUENCE, f"{SEQUENCE}/classes"])
@pytest.mark.parametrize("opening", [LabelStore.open, open_existing])
def test_near_a_store(given: str, opening, tmp_path: Path) -> None:
    store = tmp_path / "my data" / "my labels.zarr"
    new_array(new_store(store))
    with pytest.raises(LabelStoreError) as caught:
        opening((store / given).resolve())
    remedy = str(caught.value).partition("what to do: ")[2]
    assert shlex.split(remedy) == ["give", "--store", str(store)]
    assert opening(store) is not None


def test_a_new_store_is_not_made_in_another(tmp_path: Path) -> None:
    new_store(tmp_path / "labels.zarr")
    with pytest.raises(LabelStoreError, match="is part of a label store"):
        open_existing(tmp_path / "labels.zarr" / "mine")
    assert open_existing(tmp_path / "mine.zarr") is None
    (tmp_path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    assert open_existing(tmp_path / "mine.zarr") is None
