"""The page on security names only tests, commands and pages that exist, and every row has one."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
TESTS = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("*/tests/*.py")]
CODE = re.findall("`([^`]+)`", TEXT)
REVIEWED = 27
"""Findings of the review."""


def rows() -> list[list[str]]:
    """Return the cells of each row of the tables with the columns how and test."""
    found, wanted = [], False
    for line in TEXT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            wanted = False
        elif cells[-1] == "test":
            wanted = True
        elif wanted and set(line) - set("|- "):
            found.append(cells)
    return found


def test_named_files_exist() -> None:
    files = {name for name in CODE if re.fullmatch(r"[\w./-]+\.(py|md|conf|sql|lock)", name)}
    known = {path.name for path in TESTS}
    missing = {name for name in files - known if not (ROOT / name).exists()}
    assert files
    assert missing == set()


def test_named_tests_exist() -> None:
    defined = {
        name
        for path in TESTS
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    }
    named = {name for name in CODE if re.fullmatch(r"test_\w+", name)}
    assert named and named <= defined


def test_named_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {match[1] for name in CODE if (match := re.match(r"make ([a-z-]+)", name))}
    assert named and named <= targets
    modules = {match[1] for name in CODE if (match := re.match(r"python -m ([\w.]+)", name))}
    assert modules and all(find_spec(module) for module in modules)


def test_each_requirement_has_a_test_or_command() -> None:
    found = rows()
    assert len(found) > 150
    assert [cells for cells in found if len(cells) != 3 or not cells[-1]] == []


def test_each_finding_of_the_review_has_a_test() -> None:
    numbered = [int(match[1]) for cells in rows() if (match := re.match(r"(\d+) ", cells[0]))]
    assert numbered == list(range(1, REVIEWED + 1))
