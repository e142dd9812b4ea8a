"""Which teacher labels, and how: one line of text and its options, as one value."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Literal, Self

from xdistill.manifests import loader
from xdistill.manifests.disk import as_path
from xdistill.teachers.protocol import Ids, Teacher, TeacherError, TeacherSettings

FORMS = (
    "the name of a manifest, NAME,CHECKPOINT, png:FOLDER, mmseg:CONFIG,CHECKPOINT, "
    "hf:FOLDER_OR_NAME or module:factory"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherSpec:
    """A teacher and its options; hashable, and loads the same teacher in any process."""

    kind: Literal["manifest", "png", "mmseg", "hf", "own"]
    """What the name is the name of."""
    name: str
    """Manifest, label folder, mmsegmentation config, transformers model, or module:factory."""
    checkpoint: str | None = None
    """File with the weights; None where the kind has none or takes the published ones."""
    device: str | None = None
    """Where a network runs: cpu, cuda or cuda:N; None is cuda where there is one."""
    ids: Ids = "train"
    """What the numbers in PNG files are."""
    settings: TeacherSettings = field(default_factory=TeacherSettings)
    """How a network is run."""

    def __post_init__(self) -> None:
        if self.kind != "png" and self.ids != "train":
            raise TeacherError(
                f"--ids {self.ids} does not apply to {self}",
                expected="a png: teacher",
                where="--ids",
                remedy="leave out --ids",
            )
        if self.kind == "png":
            _require_defaults(self.settings, where=str(self))

    @classmethod
    def parse(cls, text: str, **options: Any) -> Self:
        """Read ``NAME``, ``NAME,CHECKPOINT``, ``png:FOLDER`` and the other FORMS.

        Args:
            text: As ``--teacher`` takes it.
            options: The fields ``device``, ``ids`` and ``settings``.

        Raises:
            TeacherError: The text has none of the forms, or an option does not apply.
        """
        kind, _, rest = text.partition(":")
        name, _, checkpoint = text.partition(",")
        if name in loader.names("teachers"):
            return cls(kind="manifest", name=name, checkpoint=checkpoint or None, **options)
        if kind == "mmseg":
            config, _, checkpoint = rest.partition(",")
            if config and checkpoint:
                return cls(kind="mmseg", name=config, checkpoint=checkpoint, **options)
        elif kind in ("png", "hf") and rest:
            return cls(kind=kind, name=rest, **options)  # type: ignore[arg-type]
        elif kind and rest:
            return cls(kind="own", name=text, **options)
        raise _no_teacher(text)

    def __str__(self) -> str:
        prefix = "" if self.kind in ("manifest", "own") else f"{self.kind}:"
        return prefix + self.name + (f",{self.checkpoint}" if self.checkpoint else "")

    def absolute(self) -> Self:
        """The same teacher with absolute paths, for processes in another folder."""
        is_path = self.kind in ("png", "mmseg", "hf")
        return replace(
            self,
            name=_absolute(self.name) if is_path else self.name,
            checkpoint=_absolute(self.checkpoint) if self.checkpoint else None,
        )

    def load(self) -> Teacher:
        """Load the teacher in this process.

        Raises:
            TeacherError: The teacher is not usable.
            FetchError: Its published weights could not be downloaded.
        """
        return _LOADERS[self.kind](self)

    @property
    def placed(self) -> str:
        """The device, chosen where none was given."""
        import torch

        return self.device or ("cuda" if torch.cuda.is_available() else "cpu")


def load_teacher(
    text: str,
    *,
    device: str | None = None,
    ids: Ids = "train",
    settings: TeacherSettings | None = None,
) -> Teacher:
    """Load a teacher.

    Args:
        text: See ``FORMS``.
        device: Where a network runs: cpu, cuda or cuda:N; None is cuda where there is one.
        ids: What the numbers in PNG files are.
        settings: How a network is run.

    Raises:
        TeacherError: The text names no teacher, or the teacher is not usable.
        FetchError: Its published weights could not be downloaded.
    """
    settings = settings or TeacherSettings()
    return TeacherSpec.parse(text, device=device, ids=ids, settings=settings).load()


def _no_teacher(text: str) -> TeacherError:
    expected, remedy = f"{FORMS}; manifests: {', '.join(loader.names('teachers'))}", None
    if text.startswith("mmseg:"):
        expected = "mmseg:CONFIG,CHECKPOINT"
        remedy = "name the config (the file name of a shipped one will do) and the checkpoint file"
    return TeacherError(
        f"{text!r} names no teacher",
        expected=expected,
        where="--teacher",
        remedy=remedy or "check the spelling",
    )


def _require_defaults(settings: TeacherSettings, *, where: str) -> None:
    """Refuse settings of a network for labels that are read from files: they could not act."""
    given = [
        f"--{field.name.replace('_', '-')}"
        for field in fields(settings)
        if getattr(settings, field.name) != field.default
    ]
    if given:
        named = " and ".join(given)
        raise TeacherError(
            f"{named} {'do' if len(given) > 1 else 'does'} not apply to {where}",
            expected="no settings of a network: this teacher reads labels from files",
            where="--teacher",
            remedy=f"leave out {named}",
        )


def _absolute(name: str) -> str:
    """An existing path made absolute; a shipped config's or a published model's name unchanged."""
    path = as_path(name)
    return str(path.absolute()) if path.exists() else name


def _load_png(spec: TeacherSpec) -> Teacher:
    from xdistill.teachers.png import PngTeacher

    return PngTeacher(as_path(spec.name), ids=spec.ids)


def _load_manifest(spec: TeacherSpec) -> Teacher:
    from xdistill.teachers.choice import catalogue
    from xdistill.teachers.mmseg.teacher import load_mmseg

    entry = catalogue.entry(spec.name)
    own = as_path(spec.checkpoint) if spec.checkpoint else None
    weights = own or catalogue.fetch_weights(entry)
    return load_mmseg(
        entry.config,
        weights,
        device=spec.placed,
        settings=catalogue.with_defaults(spec.settings, entry),
        require=partial(catalogue.require_head, entry, where=weights),
    )


def _load_mmseg(spec: TeacherSpec) -> Teacher:
    from xdistill.teachers.mmseg.teacher import load_mmseg

    checkpoint = as_path(str(spec.checkpoint))
    return load_mmseg(spec.name, checkpoint, device=spec.placed, settings=spec.settings)


def _load_hf(spec: TeacherSpec) -> Teacher:
    from xdistill.teachers.hf.teacher import load_hf

    return load_hf(spec.name, device=spec.placed, settings=spec.settings)


def _load_own(spec: TeacherSpec) -> Teacher:
    from xdistill.teachers.own import load_own

    return load_own(spec.name, device=spec.placed, settings=spec.settings)


_LOADERS: dict[str, Callable[[TeacherSpec], Teacher]] = {
    "manifest": _load_manifest,
    "png": _load_png,
    "mmseg": _load_mmseg,
    "hf": _load_hf,
    "own": _load_own,
}
