"""docs/faults.md names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = [
    line
    for line in (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| what users met", "| ---"))
]
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def test_every_kind_has_a_test_that_exists() -> None:
    assert len(ROWS) > 40
    for row in ROWS:
        _, _, now, tests, _ = row.split("|")
        assert now.strip(), row
        named = NAMED.findall(tests)
        assert named, row
        for file, name in named:
            path = ROOT / "tests" / file
            assert path.is_file(), f"{file} of {row}"
            assert re.search(rf"^ *def {name}\(", path.read_text(), re.MULTILINE), name


def test_no_kind_is_told_twice() -> None:
    kinds = [row.split("|")[1].strip() for row in ROWS]
    assert len(set(kinds)) == len(kinds)
