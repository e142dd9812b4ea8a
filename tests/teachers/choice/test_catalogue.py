"""Manifests of teachers, and their weights: where they go and what is checked."""

import hashlib
import importlib.util
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from xdistill.manifests import loader
from xdistill.manifests.errors import FetchError, ManifestError
from xdistill.teachers.choice import catalogue
from xdistill.teachers.choice.spec import load_teacher
from xdistill.teachers.mmseg import config as mmseg_config
from xdistill.teachers.protocol import TeacherError, TeacherSettings

PAGE = b"<!DOCTYPE html><title>Sign in</title>"
"""What a network with a sign-in page sends for any address."""
NAMES = {
    "ocrnet-hr48",
    "hrnet-ocr-official",
    "hrnet-ocr-official-trainval",
    "inverseform-hr48",
    "inverseform-hr48-hms",
    "pidnet-s",
    "segformer-b1",
    "fcn-hr18s",
    "street",
}


def saved(**options: bool) -> bytes:
    """A checkpoint of one tensor as torch.save writes it."""
    file = io.BytesIO()
    torch.save({"state_dict": {"weight": torch.ones(2)}}, file, **options)
    return file.getvalue()


WEIGHTS = saved()


@pytest.fixture
def published(tmp_path: Path) -> catalogue.TeacherEntry:
    """A known teacher whose weights are published in a folder of this machine."""
    source = tmp_path / "published.pth"
    source.write_bytes(WEIGHTS)
    return replace(catalogue.entry("pidnet-s"), file="small.pth", address=source.as_uri())


def test_every_manifest_is_whole() -> None:
    assert NAMES <= set(loader.names("teachers"))
    for known in catalogue.entries():
        TeacherSettings(input_size=known.input_size)
        assert 50 < known.miou < 100 and known.address.endswith(known.file)
        assert known.licence and known.training_data
        assert known.source.startswith(("https://", "docs/"))


@pytest.mark.skipif(importlib.util.find_spec("mmseg") is None, reason="needs mmsegmentation")
def test_every_config_ships_with_mmsegmentation() -> None:
    for known in catalogue.entries():
        assert mmseg_config.find_config(known.config).is_file()
        if known.input_size == "config":
            steps = mmseg_config.load_config(known.config).test_pipeline
            (resize,) = (step for step in steps if step["type"] == "Resize")
            assert str(known.input_note).startswith(f"{resize['scale'][0]} wide")


def test_network_input_is_the_manifests_unless_given() -> None:
    known = catalogue.entry("pidnet-s")
    assert catalogue.with_defaults(TeacherSettings(), known).input_size == "2048x640"
    own = TeacherSettings(input_size="640x192", flip=True)
    assert catalogue.with_defaults(own, known) == own


def test_attention_scales_are_the_manifests_unless_given() -> None:
    known = catalogue.entry("inverseform-hr48-hms")
    assert catalogue.with_defaults(TeacherSettings(), known).scales == (0.25, 0.5, 1.0, 2.0)
    assert catalogue.with_defaults(TeacherSettings(scales=(1.0,)), known).scales == (1.0,)
    assert catalogue.with_defaults(TeacherSettings(), catalogue.entry("pidnet-s")).scales is None


HEAD, PLAIN = ["ocr.cls_head.bias", "scale_attn.conv2.weight"], ["ocr.cls_head.bias"]


@pytest.mark.parametrize(
    ("name", "keys", "told"),
    [
        ("inverseform-hr48", HEAD, "has an attention head, unlike inverseform-hr48\n"),
        ("ocrnet-hr48", HEAD, "has an attention head, unlike ocrnet-hr48\n"),
        ("inverseform-hr48-hms", PLAIN, "lacks an attention head, unlike inverseform-hr48-hms\n"),
    ],
)
def test_checkpoint_that_would_run_at_other_scales_names_its_own_manifest(
    name: str, keys: list[str], told: str, tmp_path: Path
) -> None:
    pytest.importorskip("mmseg")
    path = tmp_path / "x.pth"
    torch.save(dict.fromkeys(keys, torch.ones(2)), path)
    with pytest.raises(TeacherError, match=told) as caught:
        load_teacher(f"{name},{path}")
    right = "inverseform-hr48" if keys == PLAIN else "inverseform-hr48-hms"
    assert str(caught.value).endswith(f"what to do: give --teacher {right},{path}")
    catalogue.require_head(catalogue.entry(right), keys, where=path)


def test_manifest_with_a_wrong_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "load", lambda kind, name: {"config": "x.py", "colour": "red"})
    with pytest.raises(ManifestError, match="colour"):
        catalogue.entry("odd")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("miou", "high", "a number"),
        ("licence", 2, "text"),
        ("attention_scales", [0.5, -1], "positive numbers"),
        ("attention_scales", 0.5, "positive numbers"),
        ("file", "../weights.pth", "a file name"),
        ("address", "ftp://example.org/x.pth", "an address that begins with https://"),
        ("sha256", "abc", "64 hexadecimal digits"),
        ("sha256", [], "64 hexadecimal digits"),
    ],
)
def test_manifest_with_a_value_of_another_form(
    monkeypatch: pytest.MonkeyPatch, key: str, value: object, expected: str
) -> None:
    content = loader.load("teachers", "ocrnet-hr48")
    place = content["weights"] if key in ("file", "address", "sha256") else content
    place[key] = value
    monkeypatch.setattr(loader, "load", lambda kind, name: content)
    with pytest.raises(ManifestError, match=f"^{key} is .*, not {expected}"):
        catalogue.entry("odd")


def test_first_download_is_recorded_and_checked_from_then_on(
    published: catalogue.TeacherEntry, private_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    path = catalogue.fetch_weights(published)
    assert path == private_cache / "weights" / "small.pth" and path.read_bytes() == WEIGHTS
    assert digest in capsys.readouterr().err
    assert path.with_name("small.pth.sha256").read_text() == f"{digest}\n"
    assert catalogue.fetch_weights(published) == path
    path.write_bytes(WEIGHTS[:-1])
    with pytest.raises(FetchError, match=rf"expected: sha256 {digest}"):
        catalogue.fetch_weights(published)


@pytest.mark.parametrize("wrong", [PAGE, WEIGHTS[:-30], b""], ids=["page", "cut", "empty"])
def test_what_is_no_checkpoint_is_refused_and_not_recorded(
    published: catalogue.TeacherEntry, tmp_path: Path, wrong: bytes
) -> None:
    source, path = tmp_path / "published.pth", catalogue.weights_path(published)
    source.write_bytes(wrong)
    told = {
        PAGE: "the server sent a web page in place of the file",
        WEIGHTS[:-30]: rf"is not a checkpoint: it begins with {re.escape(repr(wrong[:16]))}",
        b"": "the server sent an empty file",
    }
    for _ in range(2):
        with pytest.raises(FetchError, match=told[wrong]) as caught:
            catalogue.fetch_weights(published)
    assert str(path) in str(caught.value)
    assert not path.exists() and not path.with_name("small.pth.sha256").exists()
    source.write_bytes(WEIGHTS)
    assert catalogue.fetch_weights(published).read_bytes() == WEIGHTS


def test_a_checkpoint_of_old_torch_is_recorded(
    published: catalogue.TeacherEntry, tmp_path: Path
) -> None:
    legacy = saved(_use_new_zipfile_serialization=False)
    (tmp_path / "published.pth").write_bytes(legacy)
    path = catalogue.fetch_weights(published)
    digest = hashlib.sha256(legacy).hexdigest()
    assert path.with_name("small.pth.sha256").read_text() == f"{digest}\n"


def test_a_record_of_a_wrong_file_is_named_and_can_be_deleted(
    published: catalogue.TeacherEntry,
) -> None:
    path = catalogue.weights_path(published)
    record = path.with_name("small.pth.sha256")
    path.parent.mkdir(parents=True)
    record.write_text(f"{hashlib.sha256(PAGE).hexdigest()}\n")
    with pytest.raises(FetchError, match="move .*small.pth.sha256 away too") as caught:
        catalogue.fetch_weights(published)
    assert str(record) in str(caught.value)
    record.unlink()
    assert catalogue.fetch_weights(published).read_bytes() == WEIGHTS
    assert record.is_file()


def test_an_empty_record_is_written_again(published: catalogue.TeacherEntry) -> None:
    path = catalogue.fetch_weights(published)
    record = path.with_name("small.pth.sha256")
    recorded = record.read_text()
    record.write_text("")
    assert catalogue.fetch_weights(published) == path
    assert record.read_text() == recorded


def test_published_digest_is_held_to(published: catalogue.TeacherEntry) -> None:
    wrong = replace(published, sha256="0" * 64)
    with pytest.raises(FetchError, match="expected: sha256 0000") as caught:
        catalogue.fetch_weights(wrong)
    assert ".pth.sha256" not in str(caught.value)
    assert not catalogue.weights_path(wrong).exists()


def test_no_network(monkeypatch: pytest.MonkeyPatch, private_cache: Path) -> None:
    def refuse(*_: object, **__: object) -> object:
        raise OSError("network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    known = catalogue.entry("ocrnet-hr48")
    with pytest.raises(FetchError) as caught:
        load_teacher("ocrnet-hr48")
    for named in (known.file, known.address, str(private_cache / "weights" / known.file)):
        assert named in str(caught.value)
