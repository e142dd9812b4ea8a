"""Grouping schemes, which map train ids to groups (Table 1, Cai et al. 2021)."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from jaxtyping import Integer, UInt8

from xdistill.grouping.classes import IGNORE_INDEX, cityscapes
from xdistill.manifests import loader
from xdistill.manifests.errors import ManifestError, shown

LONGEST_NAME = 40
NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST_NAME}}}")
RESERVED_ENDINGS = ("_commit", "_counts")
"""Endings of the arrays that the store keeps beside each array of labels."""
IGNORE_NAME = "ignore"
"""What reports call the pixels of no group."""
SCHEME_KEYS = ("name", "source", "group")
GROUP_KEYS = ("id", "name", "colour", "train_ids")


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
        """The scheme that an array's attributes record, each group in its first class's colour.

        Raises:
            SchemeError: They record none.
        """
        colours = cityscapes().colours
        try:
            table, groups = tuple(attributes["table"]), tuple(map(str, attributes["groups"]))
            return cls(
                name=str(attributes["scheme"]),
                groups=groups,
                table=table,
                colours=tuple(colours[table.index(group)] for group in range(len(groups))),
            )
        except (LookupError, TypeError, ValueError) as error:
            raise SchemeError(
                "an array records no scheme that can be read",
                expected="the name, groups and table that regroup stores with it",
                remedy="group the classes again by a scheme of another name",
            ) from error

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
        SchemeError: The table is not a grouping; the message names the offending key or id.
    """
    return _parse(loader.load("schemes", name), where=name)


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
    _known_keys(content, SCHEME_KEYS, where=where)
    scheme_name = _name(content, where=where)
    rows = content.get("group")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise _malformed("the scheme has no groups", "[[group]] tables, one for each group", where)
    rows = _in_order(rows, where=where)
    groups = tuple(_group_name(row, where=where) for row in rows)
    for group in groups:
        if groups.count(group) > 1:
            raise _malformed(f"two groups are named {group!r}", "a name for each group", where)
    return Scheme(
        name=scheme_name,
        groups=groups,
        table=_assign(rows, where=where),
        colours=tuple(_colour(row, position, where) for position, row in enumerate(rows)),
    )


def _malformed(found: str, expected: str, where: str) -> SchemeError:
    shipped = loader.find("schemes", "4")
    return SchemeError(
        found, expected=expected, where=where, remedy=f"compare with the shipped scheme, {shipped}"
    )


def _known_keys(table: Mapping[str, Any], known: Collection[str], *, where: str) -> None:
    for key in table:
        if key not in known:
            found = f"the key {shown(key)} of the scheme is unknown"
            raise _malformed(found, f"one of {', '.join(known)}", where)


def _name(content: Mapping[str, Any], *, where: str) -> str:
    name = content.get("name")
    if type(name) is int:
        name = str(name)
    if not isinstance(name, str) or not NAME.fullmatch(name) or name.endswith(RESERVED_ENDINGS):
        raise _malformed(
            f"the name {shown(name)} cannot be part of an array's name",
            f"name = ..., at most {LONGEST_NAME} letters a to z, digits, - and _, "
            f"not ending in {' or '.join(RESERVED_ENDINGS)}",
            where,
        )
    return name


def _in_order(rows: list[dict[str, Any]], *, where: str) -> list[dict[str, Any]]:
    """The groups by their ids, which are 0, 1, 2, ..."""
    for row in rows:
        _known_keys(row, GROUP_KEYS, where=where)
        if type(row.get("id")) is not int:
            found = f"a group has the id {shown(row.get('id'))}"
            raise _malformed(found, "id = 0, 1, 2, ... in each group", where)
    rows = sorted(rows, key=lambda row: int(row["id"]))
    for position, row in enumerate(rows):
        if row["id"] != position:
            raise SchemeError(
                f"group id {row['id']} stands where {position} belongs",
                expected=f"contiguous group ids 0-{len(rows) - 1}",
                where=where,
                remedy="number the groups from 0 without gaps or repeats",
            )
    return rows


def _group_name(row: Mapping[str, Any], *, where: str) -> str:
    name = row.get("name")
    printable = isinstance(name, str) and name.isprintable() and 0 < len(name) <= LONGEST_NAME
    if not printable or name == IGNORE_NAME:
        raise _malformed(
            f"the name of group {row['id']} is {shown(name)}",
            f"at most {LONGEST_NAME} characters of one line, not {IGNORE_NAME!r}",
            where,
        )
    return str(name)


def _assign(rows: list[dict[str, Any]], *, where: str) -> tuple[int, ...]:
    """Invert group -> train ids; an error names the train id that breaks the table."""
    names = cityscapes().names
    group_of: dict[int, int] = {}
    for row in rows:
        train_ids = row.get("train_ids")
        if not isinstance(train_ids, list):
            found = f"group id {row['id']} has the train_ids {shown(train_ids)}"
            raise _malformed(found, "train_ids = [0, 1, ...] in each group", where)
        for train_id in train_ids:
            if type(train_id) is not int or not 0 <= train_id < len(names):
                raise SchemeError(
                    f"group {row['id']} has {shown(train_id)}, which is not a train id",
                    expected=f"train ids 0-{len(names) - 1}; {IGNORE_INDEX} is always ignore",
                    where=where,
                    remedy=f"remove {shown(train_id)} from the group",
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
    for row in rows:
        if not row["train_ids"]:
            raise _malformed(f"group id {row['id']} has no train id", "at least one", where)
    return tuple(group_of[train_id] for train_id in range(len(names)))


def _colour(row: Mapping[str, Any], position: int, where: str) -> tuple[int, int, int]:
    """The group's colour; a user's table without one borrows a class colour."""
    colour = row.get("colour", cityscapes().colours[position % 19])
    if (
        not isinstance(colour, list | tuple)
        or len(colour) != 3
        or not all(type(part) is int and 0 <= part <= 255 for part in colour)
    ):
        found = f"the colour of group {row['id']} is {shown(colour)}"
        raise _malformed(found, "colour = [red, green, blue], each 0-255", where)
    return colour[0], colour[1], colour[2]
