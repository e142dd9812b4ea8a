"""Configs of mmsegmentation: shipped ones by name, and files that are none."""

from pathlib import Path

import numpy as np
import pytest

from xdistill.teachers.choice.spec import load_teacher
from xdistill.teachers.mmseg import config as mmseg_config
from xdistill.teachers.mmseg import teacher as mmseg
from xdistill.teachers.mmseg.network import _compose
from xdistill.teachers.mmseg.packages import registry, require_mmseg
from xdistill.teachers.protocol import TeacherError

pytest.importorskip("mmseg")
pytestmark = [
    pytest.mark.slow,
    # mmsegmentation's own deprecations.
    pytest.mark.filterwarnings("ignore:.*:UserWarning:mmseg"),
]


def test_unknown_config_names_similar_ones() -> None:
    with pytest.raises(TeacherError, match="did you mean.*ocrnet_hr48_4xb2-160k_cityscapes"):
        load_teacher("mmseg:ocrnet_hr48_4xb2-160k_cityscape.py,x.pth")


@pytest.mark.parametrize(
    "text",
    [
        "x = 1",
        "model = 5\ntest_pipeline = []",
        "this is no Python",
        "x = undefined",
        "x = 1 / 0",
        "class Odd(Exception): ...\nraise Odd('no config')",
        "_base_ = 'gone.py'",
        "x = 1 / 0",
        "import sys; sys.exit(3)",
    ],
)
def test_config_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.py"
    path.write_text(text)
    with pytest.raises(TeacherError, match="an mmsegmentation config with model"):
        load_teacher(f"mmseg:{path},x.pth")


PIPELINE = "test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]\n"
MODEL = "model = dict(type='NoSuchNet', data_preprocessor=dict(type='SegDataPreProcessor'))\n"


def written(folder: Path, *lines: str) -> str:
    path = folder / "config.py"
    path.write_text("".join(lines))
    return str(path)


def test_config_of_an_unknown_network(tmp_path: Path) -> None:
    named = "the model NoSuchNet, which is not in mmsegmentation(.|\n)*imports=.*PYTHONPATH"
    with pytest.raises(TeacherError, match=named):
        mmseg.build(mmseg_config.load_config(written(tmp_path, MODEL, PIPELINE)))


def test_unknown_steps_of_the_pipeline_are_named(tmp_path: Path) -> None:
    steps = "test_pipeline[1:1] = [dict(type='Dehaze')]\n"
    config = mmseg_config.load_config(written(tmp_path, MODEL, PIPELINE, steps))
    registry("mmseg")
    named = "the transform Dehaze, which is not in mmsegmentation(.|\n)*imports="
    with pytest.raises(TeacherError, match=named):
        _compose(config, "native", 1.0)


@pytest.mark.parametrize(
    "line",
    [
        "custom_imports = dict(imports=['dehaze.steps'])\n",
        "custom_imports = dict(imports=['own_steps'])\n",
    ],
)
def test_modules_that_are_not_found_are_named_wherever_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_steps.py").write_text("import dehaze\n")
    with pytest.raises(TeacherError, match="imports dehaze, which Python(.|\n)*set PYTHONPATH"):
        mmseg_config.load_config(written(tmp_path, line, MODEL, PIPELINE))


def test_a_module_of_the_users_own_that_is_found_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "haze_steps.py").write_text(
        "from mmseg.registry import TRANSFORMS\n"
        "@TRANSFORMS.register_module()\n"
        "class Darken:\n"
        "    def __call__(self, results):\n"
        "        return {**results, 'img': results['img'] // 2}\n"
    )
    lines = "custom_imports = dict(imports=['haze_steps'])\ntest_pipeline[1:1] = ["
    text = written(tmp_path, MODEL, PIPELINE, lines, "dict(type='Darken')]\n")
    config = mmseg_config.load_config(text)
    registry("mmseg")
    packed = _compose(config, "native", 1.0)({"img": np.full((4, 6, 3), 9, np.uint8)})
    assert (packed["inputs"] == 4).all()


@pytest.mark.parametrize(
    ("lines", "sign"),
    [
        (
            "test_pipeline = [dict(type='LoadImageFromFile'), dict(type='MultiScaleFlipAug', "
            "img_scale=(2048, 1024), transforms=[])]\nmodel = dict(type='EncoderDecoder')\n",
            "MultiScaleFlipAug",
        ),
        (f"{MODEL}test_pipeline = [dict(type='Resize', img_scale=(64, 32))]\n", "Resize"),
        (f"{PIPELINE}model = dict(type='EncoderDecoder')\n", "no data_preprocessor"),
        ("model = dict(type='EncoderDecoder')\ndata = dict(test=dict())\n", "no data_pre"),
    ],
)
def test_configs_of_version_0_are_told_and_their_successors_named(
    tmp_path: Path, lines: str, sign: str
) -> None:
    path = tmp_path / "ocrnet_hr48_512x1024_160k_cityscapes.py"
    path.write_text(lines)
    told = (
        rf"mmsegmentation 0\.x \(.*{sign}.*\)(.|\n)*1\.x config of the same name, perhaps ocrnet_hr"
    )
    with pytest.raises(TeacherError, match=told):
        load_teacher(f"mmseg:{path},x.pth")


def test_no_shipped_config_of_cityscapes_is_taken_for_one_of_version_0() -> None:
    folder = require_mmseg() / ".mim" / "configs"
    for path in sorted(folder.rglob("*cityscapes*.py"))[::20]:
        if "_base_" not in path.parts:
            mmseg_config.load_config(str(path))
