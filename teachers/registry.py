"""Teachers by name: one line of text says which, and the same line loads it in any process."""

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import get_args

from xdistill.manifests import loader
from xdistill.teachers.png import Ids, PngTeacher
from xdistill.teachers.protocol import Teacher, TeacherError
from xdistill.teachers.settings import TeacherSettings

FORMS = (
    "png:FOLDER, mmseg:CONFIG,CHECKPOINT, hf:FOLDER_OR_NAME, the name of a manifest, "
    "or module:factory"
)


def load_teacher(
    spec: str,
    *,
    device: str = "cpu",
    ids: Ids = "train",
    settings: TeacherSettings | None = None,
) -> Teacher:
    """Load a teacher.

    Args:
        spec: ``png:FOLDER``, ``mmseg:CONFIG,CHECKPOINT``, ``hf:FOLDER_OR_NAME``, a manifest's
            name (a checkpoint of your own may follow a comma), or ``module:factory``.
        device: Where a network runs: ``cpu``, ``cuda``, ``cuda:1``.
        ids: What the numbers in PNG files are.
        settings: How a network is run.

    Raises:
        TeacherError: Unknown form, or the teacher cannot be had.
        FetchError: Published weights that are neither here nor to be fetched.
    """
    settings = settings or TeacherSettings()
    kind, colon, rest = spec.partition(":")
    if kind == "png":
        _refuse_settings(settings, spec)
        return PngTeacher(Path(rest).expanduser(), ids=ids)
    if ids != get_args(Ids)[0]:
        raise TeacherError(f"--ids {ids} with {spec}", expected="a png: teacher", where="--ids")
    name, _, checkpoint = spec.partition(",")
    if not colon and name in loader.names("teachers"):
        return _load_manifest(name, checkpoint, device=device, settings=settings)
    if not (kind and rest):
        raise TeacherError(
            f"no teacher {spec!r}",
            expected=f"{FORMS}; manifests: {', '.join(loader.names('teachers'))}",
            where="--teacher",
            remedy="check the spelling",
        )
    return _KINDS.get(kind, _load_own)(spec, device=device, settings=settings)


def _refuse_settings(settings: TeacherSettings, spec: str) -> None:
    """Labels from files are what they are: a choice that could not act is a mistake."""
    given = [
        f"--{field.name.replace('_', '-')}"
        for field in fields(settings)
        if getattr(settings, field.name) != field.default
    ]
    if given:
        raise TeacherError(
            f"{' and '.join(given)} with {spec}",
            expected="no settings of a network: this teacher reads labels from files",
            where="--teacher",
            remedy=f"leave out {' and '.join(given)}",
        )


def _load_mmseg(spec: str, *, device: str, settings: TeacherSettings) -> Teacher:
    config, _, checkpoint = spec.removeprefix("mmseg:").partition(",")
    if not (config and checkpoint):
        raise TeacherError(
            spec,
            expected="mmseg:CONFIG,CHECKPOINT",
            where="--teacher",
            remedy="name the config (a shipped one's file name will do) and the checkpoint file",
        )
    from xdistill.teachers.mmseg.teacher import load_mmseg

    return load_mmseg(config, Path(checkpoint).expanduser(), device=device, settings=settings)


def _load_hf(spec: str, *, device: str, settings: TeacherSettings) -> Teacher:
    from xdistill.teachers.hf.teacher import load_hf

    return load_hf(spec.removeprefix("hf:"), device=device, settings=settings)


def _load_own(spec: str, *, device: str, settings: TeacherSettings) -> Teacher:
    from xdistill.teachers.own import load_own

    return load_own(spec, device=device, settings=settings)


_KINDS = {"mmseg": _load_mmseg, "hf": _load_hf}


def _load_manifest(
    name: str, checkpoint: str, *, device: str, settings: TeacherSettings
) -> Teacher:
    from xdistill.teachers import catalogue
    from xdistill.teachers.mmseg import teacher as mmseg

    entry = catalogue.entry(name)
    weights = Path(checkpoint).expanduser() if checkpoint else catalogue.fetch_weights(entry)
    settings = catalogue.with_defaults(settings, entry)
    require = partial(catalogue.require_head, entry, where=weights)
    return mmseg.load_mmseg(
        entry.config, weights, device=device, settings=settings, require=require
    )
