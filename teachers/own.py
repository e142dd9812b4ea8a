"""A user's own teacher: ``module:factory``."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xdistill.teachers.protocol import Prediction, Record, Teacher, TeacherError, require_maps


class OwnTeacher:
    """A user's teacher as the protocol wants it.

    Every answer is checked. ``calls_at_once``, ``reads_pixels`` and ``check_size`` are optional:
    without them, one thread calls the teacher, with decoded images, of frames of any size.
    """

    def __init__(self, teacher: Teacher, *, spec: str) -> None:
        self._teacher = teacher
        self._spec = spec
        self.record: Record = dict(teacher.record)
        self.fingerprint = str(teacher.fingerprint)
        self.calls_at_once = int(getattr(teacher, "calls_at_once", 1))
        self.reads_pixels = bool(getattr(teacher, "reads_pixels", True))

    def check_size(self, height: int, width: int) -> None:
        """Ask the user's teacher, if it has such a method."""
        if hasattr(self._teacher, "check_size"):
            self._teacher.check_size(height, width)

    def label(self, images: Sequence[NDArray[np.uint8]], keys: Sequence[str]) -> Prediction:
        """The user's prediction, checked against the frames.

        Raises:
            TeacherError: A map has another shape or type than its frames need.
        """
        return require_maps(self._teacher.label(images, keys), images, where=self._spec)


def load_own(spec: str, **options: object) -> OwnTeacher:
    """Call a user's factory; its own exceptions keep their traceback.

    Args:
        spec: ``module:factory``; the current folder is searched too.
        options: Passed if the factory has a parameter of that name.

    Raises:
        TeacherError: The module or function does not exist, or the function returns no teacher.
    """
    factory = _find(spec)
    teacher = factory(**_accepted(factory, options))
    lacking = [name for name in ("record", "fingerprint", "label") if not hasattr(teacher, name)]
    if lacking or not isinstance(teacher.record, Mapping) or not callable(teacher.label):
        raise TeacherError(
            f"{type(teacher).__name__} has no {' and no '.join(lacking) or 'mapping for a record'}",
            expected="a teacher: record (a mapping), fingerprint (text) and label(images, keys)",
            where=spec,
            remedy="see xdistill.teachers.protocol.Teacher; fingerprint_of(record) makes one",
        )
    return OwnTeacher(teacher, spec=spec)


def _find(spec: str) -> Callable[..., Any]:
    module_name, _, attribute = spec.partition(":")
    # Console scripts do not search the folder that they are started in.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    if module_name.startswith("."):
        raise _no_module(module_name, spec)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # An import that fails inside the user's module keeps its traceback.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise _no_module(error.name, spec) from None
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise TeacherError(
            f"{attribute!r} is {'not defined' if factory is None else 'not callable'}",
            expected=f"a function of {module_name} that returns a teacher",
            where=spec,
            remedy=f"define it in {module.__file__}",
        )
    return factory  # type: ignore[no-any-return]


def _no_module(name: str, spec: str) -> TeacherError:
    return TeacherError(
        f"the module {name!r} was not found",
        expected="module:factory, with a module that can be imported",
        where=spec,
        remedy="check the spelling, install the module, or start in the folder that holds it",
    )


def _accepted(factory: Callable[..., Any], options: Mapping[str, object]) -> dict[str, object]:
    """The options that the factory has a parameter for."""
    parameters = inspect.signature(factory).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return dict(options)
    names = {parameter.name for parameter in parameters}
    return {name: value for name, value in options.items() if name in names}
