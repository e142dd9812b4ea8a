"""Another model's classes as Cityscapes train ids, by name alone."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from xdistill.grouping.classes import IGNORE_INDEX, cityscapes
from xdistill.teachers.protocol import TeacherError

MAX_CLASSES = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassMap:
    """What becomes of a model's classes."""

    train_ids: tuple[int, ...]
    """Train id of each class of the model, 255 for those that have none."""
    unmapped: tuple[str, ...]
    """Names of the classes that become ignore."""


def map_classes(names: Sequence[str], *, where: str) -> ClassMap:
    """Match names; of ``car, auto`` either half may match, ``Traffic_Light`` is traffic light.

    Args:
        names: The model's classes, in the order of its scores.
        where: The model, named in the message.

    Raises:
        TeacherError: No class matches, or there are more than 256.
    """
    known = {name: train_id for train_id, name in enumerate(cityscapes().names)}
    train_ids = tuple(_match(name, known) for name in names)
    if set(train_ids) <= {IGNORE_INDEX} or len(names) > MAX_CLASSES:
        raise TeacherError(
            f"{len(names)} classes: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}",
            expected=f"at most {MAX_CLASSES}, some of them named as in Cityscapes: "
            + ", ".join(known),
            where=where,
            remedy="give the model's config an id2label with the classes' names",
        )
    lost = (name for name, i in zip(names, train_ids, strict=True) if i == IGNORE_INDEX)
    return ClassMap(train_ids=train_ids, unmapped=tuple(lost))


def _match(name: str, known: dict[str, int]) -> int:
    synonyms = (re.sub(r"[\s_-]+", " ", part).strip() for part in name.lower().split(","))
    return next((known[part] for part in synonyms if part in known), IGNORE_INDEX)
