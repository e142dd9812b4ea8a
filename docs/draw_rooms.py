"""Draw the rooms of the package and the imports between them, from the code: docs/rooms.svg.

A room is a folder with modules. Every arrow points down, from the room that imports to the one that
is imported; an import that a longer way already implies is left out.

    python docs/draw_rooms.py
"""

import ast
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "rooms.svg"
FOLDERS = ("manifests", "grouping", "teachers", "pipeline", "train")

WIDTH, BOX_WIDTH, BOX_HEIGHT, ROW_HEIGHT, MARGIN = 1080, 168, 46, 92, 24
COLOURS = {
    "manifests": "#8a8f98",
    "grouping": "#b0892e",
    "teachers": "#a8559c",
    "pipeline": "#2f7fc1",
    "train": "#3f9a5f",
}

Imports = Mapping[str, set[str]]


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name without ``xdistill.``."""
    paths = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}


def room(module: str) -> str:
    """The folder of a module: ``train.data.batch`` is in ``train/data``."""
    return "/".join(module.split(".")[:-1])


def imported_modules(path: Path, known: Mapping[str, Path]) -> set[str]:
    """Modules of the package that a file imports at run time, inside functions included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(node)
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and "TYPE_CHECKING" in ast.unparse(guard.test)
        for node in ast.walk(guard)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in for_types:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import) and id(node) not in for_types:
            names |= {f"{alias.name}." for alias in node.names}
    inside = {name.removeprefix("xdistill.") for name in names if name.startswith("xdistill.")}
    # What a name is imported from is a module, or the front door of a room.
    choices = ((name, *_parents(name)) for name in inside)
    return {next(module for module in choice if module in known) for choice in choices}


def _parents(name: str) -> tuple[str, str]:
    package = name.rpartition(".")[0]
    return package, f"{package}.__init__"


def module_imports() -> dict[str, set[str]]:
    """What every module imports, by module."""
    known = modules()
    return {module: imported_modules(path, known) for module, path in known.items()}


def room_imports() -> dict[str, set[str]]:
    """What every room imports from other rooms, by room."""
    rooms: dict[str, set[str]] = {}
    for module, targets in module_imports().items():
        if _is_written(modules()[module]):
            rooms.setdefault(room(module), set()).update(map(room, targets))
    return {name: targets - {name} for name, targets in rooms.items()}


def _is_written(path: Path) -> bool:
    """Whether a file is more than the empty mark of a package."""
    return path.stat().st_size > 0


def levels(imports: Imports) -> dict[str, int]:
    """The row of every room: one above the highest room that it imports.

    Raises:
        ValueError: Rooms import each other in a circle.
    """
    found: dict[str, int] = {}

    def level(name: str, above: tuple[str, ...]) -> int:
        if name in above:
            raise ValueError(f"circle of rooms: {' -> '.join((*above, name))}")
        if name not in found:
            below = [level(target, (*above, name)) for target in imports[name]]
            found[name] = max(below, default=-1) + 1
        return found[name]

    for name in imports:
        level(name, ())
    return found


def shortest(imports: Imports) -> dict[str, set[str]]:
    """The imports without those that a longer way implies."""

    def reached(name: str) -> set[str]:
        return imports[name] | {far for target in imports[name] for far in reached(target)}

    return {
        name: targets - {far for target in targets for far in reached(target)}
        for name, targets in imports.items()
    }


def draw() -> str:
    """The picture as SVG text; its colours follow the reader's light or dark mode."""
    imports = shortest(room_imports())
    centres = _centres(imports)
    height = round(max(y for _, y in centres.values()) + BOX_HEIGHT / 2 + MARGIN)
    arrows = [
        _arrow(centres[name], centres[target], name.split("/")[0])
        for name, targets in sorted(imports.items())
        for target in sorted(targets)
    ]
    boxes = [_box(name, *centres[name]) for name in sorted(centres)]
    return "\n".join([_head(height), *arrows, *boxes, "</svg>"]) + "\n"


def _centres(imports: Imports) -> dict[str, tuple[float, float]]:
    """Where every room stands: in its row, near the rooms that it imports."""
    rows: dict[int, list[str]] = {}
    for name, row in sorted(levels(imports).items()):
        rows.setdefault(row, []).append(name)
    found: dict[str, tuple[float, float]] = {}
    for row in sorted(rows):
        below = {name: [found[target][0] for target in imports[name]] for name in rows[row]}
        mean = {name: sum(xs) / len(xs) if xs else WIDTH / 2 for name, xs in below.items()}
        for position, name in enumerate(sorted(rows[row], key=lambda name: (mean[name], name))):
            x = WIDTH * (position + 1) / (len(rows[row]) + 1)
            found[name] = (x, MARGIN + BOX_HEIGHT / 2 + (len(rows) - 1 - row) * ROW_HEIGHT)
    return found


def _head(height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">\n'
        "<title>Rooms of xdistill: every arrow points from a room to one that it imports</title>\n"
        "<style>text{fill:#1c1f23}.box{fill:#fff}.small{font-size:11px;opacity:.75}"
        "@media (prefers-color-scheme:dark){text{fill:#e8eaed}.box{fill:#1c1f23}}</style>"
    )


def _box(name: str, x: float, y: float) -> str:
    files = [path for module, path in modules().items() if room(module) == name]
    counted = [path for path in files if _is_written(path)]
    count = "1 file" if len(counted) == 1 else f"{len(counted)} files"
    colour = COLOURS[name.split("/")[0]]
    left, top = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
    return (
        f'<rect class="box" x="{left:.0f}" y="{top:.0f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" '
        f'rx="6" stroke="{colour}" stroke-width="2"/>'
        f'<text x="{x:.0f}" y="{y - 3:.0f}" text-anchor="middle">{name}</text>'
        f'<text class="small" x="{x:.0f}" y="{y + 14:.0f}" text-anchor="middle">'
        f"{count}</text>"
    )


def _arrow(start: tuple[float, float], end: tuple[float, float], folder: str) -> str:
    x0, y0 = start[0], start[1] + BOX_HEIGHT / 2
    x1, y1 = end[0], end[1] - BOX_HEIGHT / 2
    bend = (y1 - y0) / 2
    return (
        f'<path d="M{x0:.0f} {y0:.0f}C{x0:.0f} {y0 + bend:.0f} {x1:.0f} {y1 - bend:.0f} '
        f'{x1:.0f} {y1:.0f}" fill="none" stroke="{COLOURS[folder]}" stroke-width="1.5" '
        'opacity=".65"/>'
        f'<circle cx="{x1:.0f}" cy="{y1:.0f}" r="3" fill="{COLOURS[folder]}"/>'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
    print(f"wrote {PICTURE}", file=sys.stderr)
