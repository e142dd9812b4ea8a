"""Rules that every module keeps: advice is safe to follow, and what is written as JSON is JSON."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("manifests", "grouping", "teachers", "pipeline", "train")
HARMFUL = re.compile(
    r"\b(delete|erase|unlink|rm|rmdir)\b|\bremove (?:the|this|that|its|your) (?:file|folder|run)",
    re.IGNORECASE,
)
"""Advice that costs a user's file; ``move ... away`` does the same and costs nothing."""


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def documentation(tree: ast.Module) -> set[int]:
    """Identities of the strings that stand alone: docstrings, which no user is shown."""
    alone = (node.value for node in ast.walk(tree) if isinstance(node, ast.Expr))
    return {id(value) for value in alone if isinstance(value, ast.Constant)}


def harmful_texts(tree: ast.Module) -> Iterator[str]:
    silent = documentation(tree)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in silent
        ):
            if HARMFUL.search(node.value):
                yield f"{node.lineno}: {node.value!r}"


def test_no_message_advises_to_delete() -> None:
    found = [f"{path}:{text}" for path, tree in trees() for text in harmful_texts(tree)]
    assert not found, "\n".join(found)


def test_such_advice_would_be_found() -> None:
    advice = 'def f():\n    """Delete nothing."""\n    remedy = f"delete {path}: it is made anew"\n'
    assert [text.partition(":")[0] for text in harmful_texts(ast.parse(advice))] == ["3"]


def test_json_says_whether_it_may_hold_nan() -> None:
    """What is written may not: ``NaN`` is no JSON, and other programs refuse it."""
    silent = []
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                said = {keyword.arg for keyword in node.keywords}
                if node.func.attr in ("dump", "dumps") and "allow_nan" not in said:
                    if isinstance(node.func.value, ast.Name) and node.func.value.id == "json":
                        silent.append(f"{path}:{node.lineno}")
    assert not silent, "\n".join(silent)
