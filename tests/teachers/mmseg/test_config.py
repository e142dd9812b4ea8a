"""Configs of mmsegmentation: shipped ones by name, and files that are none."""

from pathlib import Path

import pytest

from xdistill.teachers.choice.spec import load_teacher
from xdistill.teachers.mmseg import config as mmseg_config
from xdistill.teachers.mmseg import teacher as mmseg
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
        "_base_ = 'gone.py'",
    ],
)
def test_config_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.py"
    path.write_text(text)
    with pytest.raises(TeacherError, match="an mmsegmentation config with model"):
        load_teacher(f"mmseg:{path},x.pth")


def test_config_of_an_unknown_network(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text("model = dict(type='NoSuchNet')\ntest_pipeline = [dict(type='LoadImage')]")
    with pytest.raises(TeacherError, match="NoSuchNet"):
        mmseg.build(mmseg_config.load_config(str(path)))
