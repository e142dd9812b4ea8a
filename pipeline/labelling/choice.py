"""Which teacher a command uses: the flags, and a value that loads it in any process."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import click

from xdistill.teachers.protocol import Teacher
from xdistill.teachers.settings import ENGINES, TeacherSettings

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherChoice:
    """Everything that ``load_teacher`` needs; hashable and cheap to send to a worker."""

    spec: str
    """Manifest name, png:FOLDER, mmseg:CONFIG,CHECKPOINT or module:factory."""
    device: str | None
    """Where a network runs; None is cuda where there is one."""
    ids: Literal["train", "label"]
    """What the numbers in PNG files are."""
    settings: TeacherSettings
    """How a network is run."""

    def load(self) -> Teacher:
        """Load the teacher in this process.

        Raises:
            TeacherError: It cannot be had.
            FetchError: Its published weights cannot be had.
        """
        from xdistill.teachers.registry import load_teacher

        return load_teacher(
            self.spec, device=self.device or self._best(), ids=self.ids, settings=self.settings
        )

    def placed(self) -> Self:
        """The same teacher with its files by absolute path, for processes in another folder."""
        kind, colon, rest = self.spec.partition(":")
        if kind in ("png", "hf"):
            return replace(self, spec=f"{kind}:{_absolute(rest)}")
        if kind == "mmseg":
            return replace(self, spec="mmseg:" + ",".join(map(_absolute, rest.split(",", 1))))
        name, comma, checkpoint = self.spec.partition(",")
        if comma and not colon:
            return replace(self, spec=f"{name},{_absolute(checkpoint)}")
        return self

    def _best(self) -> str:
        if self.spec.startswith("png:"):
            return "cpu"
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"


def _absolute(name: str) -> str:
    """A path that exists here, in full; a shipped config's or a published model's name as it is."""
    path = Path(name).expanduser()
    return str(path.absolute()) if path.exists() else name


def teacher_options(function: Function) -> Function:
    """``--teacher`` and how it is run; see ``choose``."""
    options = [
        click.option(
            "--teacher",
            default="ocrnet-hr48",
            show_default=True,
            help="Manifest name, png:FOLDER, mmseg:CONFIG,CHECKPOINT, hf:FOLDER or module:factory.",
        ),
        click.option("--device", help="cpu or cuda; cuda where there is one."),
        click.option(
            "--ids",
            type=click.Choice(["train", "label"]),
            help="What the files of png:FOLDER hold: train ids (default) or Cityscapes label ids.",
        ),
        click.option("--input-size", help="Network input: native, config, a width (2048) or WxH."),
        click.option(
            "--engine",
            type=click.Choice(ENGINES),
            help="How the network is run: exact unless given.",
        ),
        click.option("--window", help="whole, slide, or a sliding window WxH."),
        click.option("--flip", is_flag=True, help="Average with the mirrored frame."),
        click.option("--scales", help="Average over these scales: 0.5,1,2."),
        click.option("--confidence", is_flag=True, help="Store the top probability's level too."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def choose(
    *,
    teacher: str,
    device: str | None,
    ids: Literal["train", "label"] | None,
    input_size: str | None,
    engine: str | None,
    window: str | None,
    flip: bool,
    scales: str | None,
    confidence: bool,
) -> TeacherChoice:
    """The choice behind the flags of ``teacher_options``.

    Raises:
        TeacherError: A setting of a wrong form.
        UsageError: ``--scales`` is no list of numbers.
    """
    given: dict[str, Any] = {"engine": engine} if engine else {}
    try:
        factors = tuple(float(text) for text in scales.split(",")) if scales else None
    except ValueError:
        raise click.BadParameter(f"{scales!r}: give numbers as 0.5,1,2") from None
    settings = TeacherSettings(
        input_size=input_size,
        window=window,
        flip=flip,
        scales=factors,
        confidence=confidence,
        **given,
    )
    return TeacherChoice(spec=teacher, device=device, ids=ids or "train", settings=settings)
