"""Every form of a teacher's text, every mistake in one, and a user's own teacher."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from xdistill.teachers.choice.spec import TeacherSpec, load_teacher
from xdistill.teachers.protocol import Teacher, TeacherError, TeacherSettings

OWN = """
import numpy as np
from xdistill.teachers.protocol import Prediction, fingerprint_of

class Mine:
    def __init__(self, device="none"):
        self.record = {"kind": "mine", "device": device}
        self.fingerprint = fingerprint_of(self.record)
    def label(self, images, keys):
        return Prediction(classes=np.stack([np.full(i.shape[:2], 3, np.uint8) for i in images]))

def factory(device):
    return Mine(device)

def everything(**options):
    return Mine(",".join(sorted(options)))

class Bad(Mine):
    def label(self, images, keys):
        return Prediction(classes=np.zeros((1, 2, 2), np.int64))

class Choosy(Mine):
    calls_at_once = 2
    def check_size(self, height, width):
        raise ValueError(f"not {width}x{height}")

def broken():
    return {}["the user's own mistake"]

def nothing():
    return object()

number = 5
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a user's module, as the current folder."""
    (tmp_path / "own_teacher.py").write_text(OWN)
    (tmp_path / "needs_more.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_teacher", raising=False)
    return tmp_path


def test_own_teacher(own: Path) -> None:
    teacher = load_teacher("own_teacher:factory", device="cuda:7")
    assert isinstance(teacher, Teacher)
    assert teacher.record == {"kind": "mine", "device": "cuda:7"}
    assert (teacher.label([np.zeros((2, 3, 3), np.uint8)], ["k"]).classes == 3).all()


def test_factory_gets_the_options_it_names(own: Path) -> None:
    assert load_teacher("own_teacher:everything").record["device"] == "device,settings"
    assert load_teacher("own_teacher:Mine").record["device"] == "cpu"


def test_an_own_teacher_may_leave_out_calls_at_once_and_check_size(own: Path) -> None:
    plain = load_teacher("own_teacher:Mine")
    assert plain.calls_at_once == 1
    plain.check_size(192, 640)
    choosy = load_teacher("own_teacher:Choosy")
    assert choosy.calls_at_once == 2
    with pytest.raises(ValueError, match="^not 640x192$"):
        choosy.check_size(192, 640)


def test_own_labels_of_a_wrong_form_are_refused(own: Path) -> None:
    teacher = load_teacher("own_teacher:Bad")
    with pytest.raises(TeacherError, match=r"int64(.|\n)*own_teacher:Bad"):
        teacher.label([np.zeros((2, 2, 3), np.uint8)], ["k"])


def test_users_own_exception_keeps_its_type(own: Path) -> None:
    with pytest.raises(KeyError, match="own mistake"):
        load_teacher("own_teacher:broken")
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        load_teacher("needs_more:factory")


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("no_such_module:factory", "^the module 'no_such_module' was not found\n"),
        ("own_teacher.sub:factory", "^the module 'own_teacher.sub' was not found\n"),
        (".:factory", r"^the module '.' was not found\n"),
        ("own_teacher:missing", "^'missing' is not defined\n"),
        ("own_teacher:number", "^'number' is not callable\n"),
        ("own_teacher:nothing", "^object has no record and no fingerprint and no label\n"),
        ("ocrnet-hr49", "manifests: .*ocrnet-hr48"),
        ("own_teacher:", "^'own_teacher:' names no teacher\n"),
        ("", "^'' names no teacher\n"),
        ("png:", "^'png:' names no teacher\n"),
        ("hf:", "^'hf:' names no teacher\n"),
        ("mmseg:config.py", "expected: mmseg:CONFIG,CHECKPOINT"),
        ("mmseg:,x.pth", "expected: mmseg:CONFIG,CHECKPOINT"),
    ],
)
def test_specs_that_lead_nowhere(own: Path, spec: str, named: str) -> None:
    with pytest.raises(TeacherError, match=named):
        load_teacher(spec)


def test_settings_that_could_not_act_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        TeacherError, match="^--input-size and --flip do not apply to png:"
    ) as caught:
        load_teacher(f"png:{tmp_path}", settings=TeacherSettings(flip=True, input_size="64"))
    assert "leave out --input-size and --flip" in str(caught.value)
    with pytest.raises(TeacherError, match="^--ids label does not apply to ocrnet-hr48\n"):
        load_teacher("ocrnet-hr48", ids="label")


FORMS = {
    "png:labels": "png:{here}/labels",
    "png:labels,2": "png:{here}/labels,2",
    "png:a:b": "png:{here}/a:b",
    "hf:model": "hf:{here}/model",
    "hf:organisation/name": "hf:organisation/name",
    "mmseg:own.py,own.pth": "mmseg:{here}/own.py,{here}/own.pth",
    "mmseg:shipped.py,own.pth": "mmseg:shipped.py,{here}/own.pth",
    "ocrnet-hr48,own.pth": "ocrnet-hr48,{here}/own.pth",
    "ocrnet-hr48,a:b": "ocrnet-hr48,{here}/a:b",
    "ocrnet-hr48": "ocrnet-hr48",
    "module:factory": "module:factory",
}
"""Each form, and the same teacher by absolute paths."""


@pytest.mark.parametrize(("text", "expected"), FORMS.items())
def test_a_spec_by_absolute_paths(
    text: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (*"labels labels,2 model own.py own.pth ocrnet-hr48 module a:b".split(),):
        Path(path).mkdir()
    spec = TeacherSpec.parse(text, device="cuda:1", settings=TeacherSettings())
    assert str(spec.absolute()) == expected.format(here=tmp_path)
    assert spec.absolute().device == "cuda:1"


@pytest.mark.parametrize("text", FORMS)
def test_a_spec_is_written_as_it_was_read_and_travels_between_processes(text: str) -> None:
    spec = TeacherSpec.parse(text)
    assert str(spec) == text and TeacherSpec.parse(str(spec)) == spec
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec and hash(again) == hash(spec)
