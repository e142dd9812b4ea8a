"""Malformed settings: xdistill.toml, recipes, schemes, options, the environment."""

import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from fuzzing import Report, fuzz, invoke, judge, must_hold, refuse_each
from malformed import (
    HUGE,
    Malformed,
    content,
    damaged,
    encoded,
    no_files,
    numbered,
    retyped,
    toml_forms,
)
from training_tree import SEQUENCE, TINY

from xdistill.pipeline.cli.main import main as pipeline
from xdistill.pipeline.store import LabelStore
from xdistill.train.cli.evaluate import main as evaluate
from xdistill.train.cli.train import main as train

pytestmark = pytest.mark.slow

Record = Callable[[str, Any], None]
OTHER_TYPES = ([], {}, True, 1.5, float("nan"), ["x", 1])
BAD_NUMBERS = (b"nan", b"-inf", b"1e999", HUGE, b"0x", b"1.5.2", b"'x'", b"[1]", b"")


def as_toml(documents: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[Malformed]:
    """Documents with values of other types, but none that lack a key: it has a default."""
    for name, document in documents:
        if "without" not in name:
            yield content(name, tomli_w.dumps(document).encode())


def test_defaults(good: Path, store: Path, tmp_path: Path, record_property: Record) -> None:
    path = tmp_path / "xdistill.toml"
    settings = {
        "store": str(store),
        "data": str(good / "kitti"),
        "info": {"json": True},
        "train": {"steps": 3, "set": ["lr=0.1"]},
    }
    path.write_text(tomli_w.dumps(settings))
    data = path.read_bytes()
    inputs = [*damaged(data), *encoded(data), *no_files(), *toml_forms(data)]
    own = {"store": settings["store"], "info": settings["info"]}
    inputs += as_toml(retyped(own, [*OTHER_TYPES, 7, "x"]))
    report = fuzz("xdistill.toml", path, inputs, lambda: json.loads(invoke(pipeline, "info")))
    must_hold(report, record=record_property, at_least=45)


@pytest.fixture
def step(good: Path, store: Path, fresh: Callable[[str], Path]) -> Callable[..., object]:
    """Trains one step; its recipe and its losses."""

    def take(*arguments: object) -> object:
        out = fresh("")
        where = ("--data", good / "kitti", "--store", store, "--split", "all", "--out", out)
        invoke(train, *where, "--steps", 1, *arguments)
        log = (out / "metrics.jsonl").read_text()
        return (out / "recipe.toml").read_text(), log.partition('"seconds')[0]

    return take


def recipes(path: Path) -> Iterator[Malformed]:
    """Recipes whose base is none."""
    rest = path.read_bytes().partition(b"\n")[2]
    for base in (str(path), path.name, "absent", "", "/dev/zero", "..", "x" * 300, "a/../../b"):
        yield content(f"base is {base[:20]}", f"base = {json.dumps(base)}\n".encode() + rest)
    yield content("a NUL in base", b'base = "a\\u0000b"\n' + rest)
    yield content("a name that is a path", rest.replace(b"mine", b"../mine"))
    yield content("a name of 300 letters", rest.replace(b"mine", b"x" * 300))
    yield content("a NUL in the name", rest.replace(b"mine", b"a\\u0000b"))


def test_recipes(
    good: Path, step: Callable[..., object], tmp_path: Path, record_property: Record
) -> None:
    path = tmp_path / "mine.toml"
    values = {
        "base": "xdistill-rn18",
        "name": "mine",
        "width": 64,
        "height": 64,
        "batch_size": 2,
        "epochs": 1,
        "lr": 1e-4,
        "encoder_weights": "none",
        "num_workers": 0,
    }
    path.write_text(tomli_w.dumps(values))
    data = path.read_bytes()
    inputs = [*damaged(data), *encoded(data), *no_files(), *toml_forms(data), *recipes(path)]
    inputs += [*numbered(data, BAD_NUMBERS), *as_toml(retyped(values, OTHER_TYPES))]
    report = fuzz("recipe", path, inputs, lambda: step("--recipe", path))
    must_hold(report, record=record_property, at_least=90)


SET = [
    *("x", "=", "=3", "lr", "lr=", "lr=nan", "lr=inf", "lr=-1", "lr=1e999", "lr=0", "lr=1,5"),
    *("epochs=1.5", "epochs=0", "epochs=-3", "epochs=", "epochs=9223372036854775808"),
    *("width=65", "width=0", "width=99999999999999999999", "width=1e2", "height=[64]"),
    *("batch_size=0", "batch_size=1000", "batch_size=" + "9" * 5000, "name=", "name=../x"),
    *("name=a/b", "name=" + "x" * 300, "name=.", "name=..", "scheme=/dev/zero"),
    *("scheme=", "scheme=absent.toml", "encoder_weights=/dev/zero", "encoder_weights=."),
    *("encoder_weights=", "init=/dev/null", "init=."),
    *("seed=-1", "seed=99999999999999999999999", "d2s_layers=3", "deterministic=maybe"),
    *("pose=x", "num_workers=-1", "min_depth=200", "min_depth=nan", "lr_drop_factor=-1"),
    *("base=xdistill-rn18", "encoder=resnet19", "\ud800=1", "lr=\ud800", "width=６４x"),
    *("row_prior=1e308", "d2s_weight=inf", "d2s_channels=99999999999", "schedule_steps=0"),
]


def test_set_strings(step: Callable[..., object], record_property: Record) -> None:
    def refused(text: str) -> object:
        return step("--recipe", "xdistill-rn18", *TINY, "--set", text)

    must_hold(refuse_each("--set", SET, refused), record=record_property, at_least=50)


GROUPS = """name = "mine"
source = "a test"
[[group]]
id = 0
name = "flat"
colour = [128, 64, 128]
train_ids = [0, 1, 9]
[[group]]
id = 1
name = "the rest"
colour = [70, 130, 180]
train_ids = [2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18]
"""


def schemes() -> Iterator[Malformed]:
    """Schemes that are TOML, but no grouping."""
    for old, new in (
        *(('"mine"', json.dumps(name)) for name in ("", "../x", "a/b", "x" * 300, "a\0b", ".")),
        *(('"mine"', json.dumps(name)) for name in ("a_commit", "a_counts", "4", "19", "a b\n")),
        ("train_ids = [0, 1, 9]", "train_ids = [0, 1]"),
        ("train_ids = [0, 1, 9]", "train_ids = [0, 1, 9, 9]"),
        ("train_ids = [0, 1, 9]", "train_ids = [0, 1, 9, 19]"),
        ("train_ids = [0, 1, 9]", "train_ids = [0, 1, 9, -1]"),
        ("train_ids = [0, 1, 9]", "train_ids = [0, 1, 9, 2]"),
        ("train_ids = [0, 1, 9]", 'train_ids = ["road", "sidewalk", "terrain"]'),
        ("train_ids = [0, 1, 9]", "train_ids = [0.0, 1.0, 9.0]"),
        ("train_ids = [0, 1, 9]", "train_ids = [[0, 1, 9]]"),
        ("train_ids = [0, 1, 9]", "train_ids = 9"),
        ("train_ids = [0, 1, 9]", ""),
        ("[128, 64, 128]", "[128, 64]"),
        ("[128, 64, 128]", "[128, 64, 300]"),
        ("[128, 64, 128]", "[128, 64, -1]"),
        ("[128, 64, 128]", "[128, 64, nan]"),
        ("[128, 64, 128]", f"[128, 64, {'9' * 400}]"),
        ("[128, 64, 128]", '"purple"'),
        ("[128, 64, 128]", "[]"),
        ("id = 0", "id = 1"),
        ("id = 0", "id = -1"),
        ("id = 0", 'id = "0"'),
        ("id = 0", "id = 300"),
        ("id = 0", "id = 0.5"),
        ("id = 0", ""),
        ('name = "flat"', ""),
        ('name = "flat"', "name = 7"),
        ('name = "flat"', 'name = ["flat"]'),
        ("[[group]]", "[group]"),
        ("[[group]]", "[[groups]]"),
    ):
        data = GROUPS.replace(old, new, 1).encode()
        yield content(f"{old} is {new[:20]!r}", data)
    yield content("no groups", b'name = "mine"\nsource = "a test"\n')
    yield content("groups that are numbers", b'name = "mine"\nsource = "a test"\ngroup = [1, 2]\n')


def test_schemes(
    good: Path,
    store: Path,
    fresh: Callable[[str], Path],
    tmp_path: Path,
    record_property: Record,
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GROUPS)
    own = fresh(".zarr")
    shutil.copytree(store, own)
    kept = {file: file.read_bytes() for file in own.rglob("*") if file.is_file()}

    def regroup() -> object:
        try:
            invoke(pipeline, "regroup", "--store", own, "--scheme", path)
            array = LabelStore.open(own).array(SEQUENCE, "groups_mine")
            return array.attributes, [array.read(index).tobytes() for index in range(array.length)]
        finally:
            for file in own.rglob("*"):
                if file.is_file() and file not in kept:
                    file.unlink()
            for folder in sorted(own.rglob("*"), reverse=True):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
            assert all(file.read_bytes() == data for file, data in kept.items())

    data = path.read_bytes()
    inputs = [*damaged(data), *encoded(data), *no_files(), *toml_forms(data), *schemes()]
    must_hold(fuzz("scheme", path, inputs, regroup), record=record_property, at_least=70)


OPTIONS = {
    "--part": ["0/2", "3/2", "1", "/", "1/0", "-1/2", "1/2/3", "a/b", "1.0/2", "1/" + "9" * 5000],
    "--drive": ["", "0", "../x", "/", "x" * 5000, "*", "0001/.."],
    "--split": ["", ".", "/dev/zero", "absent", "x" * 5000, "..", "~nobody-here/x"],
    "--teacher": ["", ":", "png:", "mmseg:", "mmseg:a", "hf:", "a:b:c", "x" * 5000]
    + ["png:/dev/null", "hf:/dev/null", "os:getcwd", "json:absent", "absent:make", ".:make"],
    "--scales": ["x", ",", "0", "-1", "nan", "inf", "1e999", "0.5,,1", "9" * 400],
    "--input-size": ["x", "0", "-5", "0x0", "1x", "x1", "1e3", "9" * 30, "64x64x64"],
    "--window": ["x", "0x0", "64", "64x", "-1x-1", "9" * 30 + "x1"],
    "--device": ["tpu", "", "cuda:x", "cuda:99"],
    "--batch-size": ["0", "-1", "x", "1.5", ""],
}


@pytest.mark.parametrize("option", OPTIONS)
def test_option_strings(
    good: Path, fresh: Callable[[str], Path], record_property: Record, option: str
) -> None:
    def segment(text: str) -> object:
        network = option in ("--scales", "--input-size", "--window", "--device")
        teacher = "street-ocrnet" if network else f"png:{good / 'labels'}"
        own = () if option == "--teacher" else ("--teacher", teacher)
        where = ("--data", good / "kitti", "--store", fresh(".zarr"))
        return invoke(pipeline, "segment", *where, *own, option, text)

    texts = OPTIONS[option]
    must_hold(refuse_each(option, texts, segment), record=record_property, at_least=len(texts))


PLACES = ["", " ", "~nobody-here/x", "/dev/null", "/dev/null/x", "/dev/zero", "x" * 5000]
PLACES += ["/" + "x/" * 3000, "/\udcff", "a\nb", "/proc/self/mem", "/proc/x", "absent/../x", "."]


@pytest.mark.parametrize("variable", ["XDISTILL_DATA", "XDISTILL_CACHE", "HOME", "XDG_CACHE_HOME"])
def test_environment(
    good: Path,
    fresh: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Record,
    variable: str,
) -> None:
    if variable in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv("HOME", str(fresh("")))
        monkeypatch.delenv("XDISTILL_CACHE")
    Path("kitti").symlink_to(good / "kitti")

    def score() -> object:
        out = fresh(".json")
        split = ("--split", good / "split.txt", "--json", out)
        invoke(evaluate, "--predictions", good / "disps.npy", *split)
        return json.loads(out.read_text())["per_image"]

    report, expected = Report(kind=variable), score()
    for place in PLACES:
        monkeypatch.setenv(variable, place)
        judge(report, repr(place[:40]), score, expected=expected)
    must_hold(report, record=record_property, at_least=len(PLACES))


def test_folders_of_splits(
    good: Path,
    fresh: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Record,
) -> None:
    # No list is downloaded in its place. Python keeps the proxies of the first request.
    monkeypatch.setattr(urllib.request, "_opener", None)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    def plan(place: str) -> object:
        monkeypatch.setenv("XDISTILL_SPLITS", place)
        where = ("--data", good / "kitti", "--store", fresh(".zarr"))
        split = ("--split", "kitti-eigen-test", "--plan")
        return invoke(pipeline, "segment", *where, "--teacher", f"png:{good / 'labels'}", *split)

    report = refuse_each("XDISTILL_SPLITS", PLACES, plan)
    must_hold(report, record=record_property, at_least=len(PLACES))
