"""Manifests of teachers, and their weights: where they go and what is checked."""

import hashlib
import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from xdistill.manifests import loader
from xdistill.manifests.errors import FetchError, ManifestError
from xdistill.teachers import catalogue, mmseg_config
from xdistill.teachers.registry import load_teacher
from xdistill.teachers.settings import TeacherSettings

WEIGHTS = b"not a network, but bytes with a digest"
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


def test_network_input_is_the_manifests_unless_given() -> None:
    known = catalogue.entry("pidnet-s")
    assert catalogue.with_defaults(TeacherSettings(), known).input_size == "2048x640"
    own = TeacherSettings(input_size="640x192", flip=True)
    assert catalogue.with_defaults(own, known) == own


def test_manifest_with_a_wrong_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "load", lambda kind, name: {"config": "x.py", "colour": "red"})
    with pytest.raises(ManifestError, match="colour"):
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


def test_published_digest_is_held_to(published: catalogue.TeacherEntry) -> None:
    wrong = replace(published, sha256="0" * 64)
    with pytest.raises(FetchError, match="expected: sha256 0000"):
        catalogue.fetch_weights(wrong)
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
