"""The flags that say which teacher a command uses, and how it is run."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from xdistill.teachers.settings import ENGINES, Ids, TeacherSettings
from xdistill.teachers.spec import TeacherSpec

Function = TypeVar("Function", bound=Callable[..., Any])


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
    ids: Ids | None,
    input_size: str | None,
    engine: str | None,
    window: str | None,
    flip: bool,
    scales: str | None,
    confidence: bool,
) -> TeacherSpec:
    """The teacher behind the flags of ``teacher_options``.

    Raises:
        TeacherError: The text names no teacher, or an option is malformed or does not apply.
        UsageError: ``--scales`` is not a list of numbers.
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
    return TeacherSpec.parse(teacher, device=device, ids=ids or "train", settings=settings)
