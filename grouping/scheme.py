"""Grouping schemes, which map train ids to groups (Table 1, Cai et al. 2021)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from jaxtyping import Integer, UInt8

from xdistill.grouping.classes import IGNORE_INDEX, cityscapes
from xdistill.manifests import loader
from xdistill.manifests.errors import ManifestError


class SchemeError(ManifestError):
    """A grouping table that does not assign every train id to exactly one group."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheme:
    """A grouping of the Cityscapes train ids.

    Raises:
        SchemeError: A train id is missing, unknown or assigned twice, or a group id is out of
            range or unused.
    """

    name: str
    """Names the store's array: ``groups_<name>``."""
    groups: tuple[str, ...]
    """Group names in group-id order."""
    table: tuple[int, ...]
    """Group id of each train id, in train-id order."""
    colours: tuple[tuple[int, int, int], ...]
    """RGB of each group, for pictures."""

    def __post_init__(self) -> None:
        classes = cityscapes().names
        if len(self.table) != len(classes):
            raise SchemeError(
                f"scheme {self.name!r} assigns {len(self.table)} train ids",
                expected=f"{len(classes)}, one group for each of train ids 0-{len(classes) - 1}",
            )
        unused = set(range(len(self.groups))) - set(self.table)
        unknown = set(self.table) - set(range(len(self.groups)))
        for group in sorted(unused | unknown):
            raise SchemeError(
                f"group id {group} of scheme {self.name!r} "
                + ("has no train id" if group in unused else "is out of range"),
                expected=f"contiguous group ids 0-{len(self.groups) - 1}, each in use",
            )

    @property
    def array(self) -> str:
        """Name of the store array that holds these groups."""
        return f"groups_{self.name}"

    @property
    def attributes(self) -> dict[str, Any]:
        """What the store's array records of the scheme, as JSON values."""
        return {"scheme": self.name, "groups": list(self.groups), "table": list(self.table)}

    @classmethod
    def recorded(cls, attributes: Mapping[str, Any]) -> Self:
        """The scheme that an array's attributes record, each group in its first class's colour."""
        table = tuple(attributes["table"])
        groups = tuple(attributes["groups"])
        colours = cityscapes().colours
        return cls(
            name=attributes["scheme"],
            groups=groups,
            table=table,
            colours=tuple(colours[table.index(group)] for group in range(len(groups))),
        )

    def lookup(self) -> UInt8[np.ndarray, "256"]:
        """Look-up table (256,) from train id to group id; everything else is ignore."""
        table = np.full(256, IGNORE_INDEX, np.uint8)
        table[: len(self.table)] = self.table
        return table

    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """RGB look-up table of shape (256, 3) by group id; ignore is black."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.colours)] = self.colours
        return table


def load_scheme(name: str) -> Scheme:
    """Read a shipped scheme by name (``4``, ``2``, ``19``) or a user's own TOML file by path.

    Raises:
        ManifestError: Not found or not TOML.
        SchemeError: The table is not a grouping; the message names the offending id.
    """
    content = loader.load("schemes", name)
    try:
        return _parse(content, where=name)
    except SchemeError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise SchemeError(
            f"the scheme cannot be read ({type(error).__name__}: {error})",
            expected='name = "..." and [[group]] tables with id, name and train_ids',
            where=name,
            remedy="compare with manifests/schemes/4.toml",
        ) from error


def remap(labels: Integer[np.ndarray, "*shape"], scheme: Scheme) -> UInt8[np.ndarray, "*shape"]:
    """Replace every train id by its group; ignore stays ignore.

    Args:
        labels: Train ids 0-18 or 255, of any shape, uint8.
        scheme: The grouping table.

    Returns:
        Group ids 0-(groups - 1) or 255, same shape, uint8. The input is not changed.

    Raises:
        TypeError: ``labels`` is not uint8.

    Source: Table 1 and section 4.1, Cai et al. 2021.
    """
    if labels.dtype != np.uint8:
        raise TypeError(f"the labels are {labels.dtype}, not uint8")
    if labels.size == 0:
        return labels.copy()
    # cv2.LUT is the fastest look-up available; two axes are safe in every version.
    flat = np.ascontiguousarray(labels).reshape(1, -1)
    return np.asarray(cv2.LUT(flat, scheme.lookup()), np.uint8).reshape(labels.shape)


def _parse(content: Mapping[str, Any], *, where: str) -> Scheme:
    rows = sorted(content["group"], key=lambda row: int(row["id"]))
    for position, row in enumerate(rows):
        if row["id"] != position:
            raise SchemeError(
                f"group id {row['id']} stands where {position} belongs",
                expected=f"contiguous group ids 0-{len(rows) - 1}",
                where=where,
                remedy="number the groups from 0 without gaps or repeats",
            )
    scheme_name = str(content["name"])
    if not scheme_name.replace("-", "_").isidentifier() and not scheme_name.isdecimal():
        raise SchemeError(
            f"the name {scheme_name!r} cannot be part of an array's name",
            expected="letters, digits, - and _",
            where=where,
        )
    return Scheme(
        name=scheme_name,
        groups=tuple(str(row["name"]) for row in rows),
        table=_assign(rows, where=where),
        colours=tuple(_colour(row, position) for position, row in enumerate(rows)),
    )


def _assign(rows: list[dict[str, Any]], *, where: str) -> tuple[int, ...]:
    """Invert group -> train ids; an error names the train id that breaks the table."""
    names = cityscapes().names
    group_of: dict[int, int] = {}
    for row in rows:
        for train_id in row["train_ids"]:
            if type(train_id) is not int or not 0 <= train_id < len(names):
                raise SchemeError(
                    f"group {row['id']} has {train_id!r}, which is not a train id",
                    expected=f"train ids 0-{len(names) - 1}; {IGNORE_INDEX} is always ignore",
                    where=where,
                    remedy=f"remove {train_id!r} from the group",
                )
            if train_id in group_of:
                raise SchemeError(
                    f"train id {train_id} ({names[train_id]}) is in groups "
                    f"{group_of[train_id]} and {row['id']}",
                    expected="every train id in exactly one group",
                    where=where,
                    remedy="leave it in one of them",
                )
            group_of[train_id] = row["id"]
    for train_id, class_name in enumerate(names):
        if train_id not in group_of:
            raise SchemeError(
                f"train id {train_id} ({class_name}) is in no group",
                expected="every train id in exactly one group",
                where=where,
                remedy="add it to a group",
            )
    return tuple(group_of[train_id] for train_id in range(len(names)))


def _colour(row: Mapping[str, Any], position: int) -> tuple[int, int, int]:
    """The group's colour; a user's table without one borrows a class colour."""
    red, green, blue = row.get("colour", cityscapes().colours[position % 19])
    return int(red), int(green), int(blue)
