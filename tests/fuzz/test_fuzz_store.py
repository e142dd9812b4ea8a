"""Malformed label stores: documents and shards, for every command that reads a store."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzzing import fuzz, invoke, must_hold, restored
from malformed import (
    Malformed,
    content,
    damaged,
    encoded,
    flipped,
    json_forms,
    no_files,
    overwritten,
)
from training_tree import SEQUENCE

from xdistill.pipeline.cli.main import main as pipeline
from xdistill.pipeline.store import LabelStore

pytestmark = pytest.mark.slow

Record = Callable[[str, Any], None]
DOCUMENTS = [
    f"{folder}zarr.json"
    for folder in (
        "",
        f"{SEQUENCE}/",
        f"{SEQUENCE}/classes/",
        f"{SEQUENCE}/classes_commit/",
        f"{SEQUENCE}/classes_counts/",
    )
]
CHUNKS = [
    f"{SEQUENCE}/classes/c.0.0.0",
    f"{SEQUENCE}/classes_commit/c.0",
    f"{SEQUENCE}/classes_counts/c.0.0",
]


@pytest.fixture
def commands(good: Path, store: Path, fresh: Callable[[str], Path]) -> dict[str, Callable[[], Any]]:
    """What reads a store, with what its user gets."""

    def export() -> object:
        out = fresh("")
        invoke(pipeline, "export", "--store", store, "--out", out)
        return {path.name: path.read_bytes() for path in out.rglob("*.png")}

    def regroup() -> object:
        with restored(store, but=store / "zarr.json"):
            invoke(pipeline, "regroup", "--store", store, "--scheme", "2")
            array = LabelStore.open(store).array(SEQUENCE, "groups_2")
            return [array.read(index).tobytes() for index in range(array.length)]

    def segment() -> object:
        where = ("--data", good / "kitti", "--store", store, "--teacher", f"png:{good / 'labels'}")
        with restored(store, but=store / "zarr.json"):
            return invoke(pipeline, "segment", *where)

    return {
        "verify": lambda: invoke(pipeline, "verify", "--store", store),
        "info": lambda: json.loads(invoke(pipeline, "info", "--store", store, "--json")),
        "export": export,
    }


def documents(good: bytes, others: Iterable[bytes]) -> Iterator[Malformed]:
    """Documents that are none, or belong elsewhere."""
    yield from damaged(good)
    yield from encoded(good)
    yield from no_files()
    yield from json_forms(good, values=(-1,))
    yield from flipped(good, 6)
    for number, other in enumerate(others):
        yield content(f"the document of place {number}", other)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents(
    store: Path, commands: dict[str, Callable[[], Any]], record_property: Record, name: str
) -> None:
    path = store / name
    others = {(store / other).read_bytes() for other in DOCUMENTS} - {path.read_bytes()}
    inputs = list(documents(path.read_bytes(), sorted(others)))
    reports = [
        fuzz(
            f"{name.removeprefix(SEQUENCE)} of a store, {command}",
            path,
            inputs,
            action,
            tolerant=command != "verify",
        )
        for command, action in commands.items()
    ]
    must_hold(*reports, record=record_property, at_least=28 * len(commands))


@pytest.mark.parametrize("name", CHUNKS)
def test_chunks(
    store: Path, commands: dict[str, Callable[[], Any]], record_property: Record, name: str
) -> None:
    path = store / name
    data = path.read_bytes()
    inputs = [*damaged(data), *no_files(), *flipped(data, 12), *overwritten(data, 4)]
    inputs += [content("cut by a byte", data[:-1]), content("a byte too many", data + b"\0")]
    inputs += [content(other, (store / other).read_bytes()) for other in CHUNKS if other != name]
    reports = [
        fuzz(
            f"{name.removeprefix(SEQUENCE)} of a store, {command}",
            path,
            inputs,
            action,
            tolerant=command != "verify",
        )
        for command, action in commands.items()
    ]
    must_hold(*reports, record=record_property, at_least=28 * len(commands))
