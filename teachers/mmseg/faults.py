"""What is wrong with a config that the installed mmsegmentation does not take."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from xdistill.manifests.errors import XDistillError
from xdistill.teachers.protocol import TeacherError

OLD_STEPS = ("MultiScaleFlipAug", "DefaultFormatBundle", "Collect")
"""Steps of test pipelines that mmsegmentation 1.x lacks."""
RIGHT_CONFIG = "give the config that the checkpoint was trained with"


@contextmanager
def told(where: object) -> Iterator[None]:
    """Tell what a config asks for in vain, while it is read or something is built from it.

    Configs are Python, and may import their user's own modules: they raise anything, and exit.

    Args:
        where: The config's path.

    Raises:
        TeacherError: In place of any exception but those that are messages already.
    """
    try:
        yield
    except (XDistillError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise (
            _missing_module(error, where)
            or _unregistered(error, where)
            or unusable(f"the config cannot be used: {type(error).__name__}: {error}", where)
        ) from error


def unusable(found: str, where: object, *, remedy: str = RIGHT_CONFIG) -> TeacherError:
    """The error for a file that is not the config of a segmentor."""
    return TeacherError(
        found,
        expected="an mmsegmentation config with model and test_pipeline",
        where=where,
        remedy=remedy,
    )


def _missing_module(error: BaseException, where: object) -> TeacherError | None:
    """The error where a module cannot be imported, which mmengine wraps."""
    causes: list[BaseException | None] = [error]
    while causes[-1] is not None:
        causes.append(causes[-1].__cause__ or causes[-1].__context__)
    names = [cause.name for cause in causes if isinstance(cause, ModuleNotFoundError)]
    if not names or names[-1] is None:
        return None
    return TeacherError(
        f"the config imports {names[-1]}, which Python does not find",
        expected="modules that Python finds, in custom_imports too",
        where=where,
        remedy=_importable(f"the module {names[-1]}"),
    )


def _unregistered(error: BaseException, where: object) -> TeacherError | None:
    """The error where a part is of nobody that mmengine's registries know."""
    match = re.search(r"(\w+) is not in the \S*?(\w+) registry", str(error))
    if match is None:
        return None
    name, kind = match.groups()
    return TeacherError(
        f"the config names the {kind} {name}, which is not in mmsegmentation",
        expected="parts of mmsegmentation, or of a module that the config imports",
        where=where,
        remedy=f"add custom_imports = dict(imports=['MODULE']) with the module that defines {name} "
        f"to the config, and {_importable('it')}",
    )


def _importable(name: str) -> str:
    return f"install {name}, or set PYTHONPATH to the folder that holds it"


def sign_of_version_0(config: Any) -> str | None:
    """What shows that a config is of mmsegmentation 0.x; None for one of 1.x.

    Args:
        config: As mmengine reads it.
    """
    model = config.get("model")
    old = [step["type"] for step in config.get("test_pipeline") or () if _is_old(step)]
    if old:
        return str(old[0])
    bare = isinstance(model, Mapping) and "data_preprocessor" not in model
    return "its model has no data_preprocessor" if bare else None


def _is_old(step: Any) -> bool:
    known = isinstance(step, Mapping) and "type" in step
    return known and (step["type"] in OLD_STEPS or "img_scale" in step)
