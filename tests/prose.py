"""Count words that make prose hard to read, in comments, strings, docs and test names.

The list holds three habits that this project has given up: a process, a thread or a program that
is written about as a person, archaic or literary verbs, and denials without a noun. Run it as
``python -m tests.prose [PATH ...]``; it fails above `LIMIT` hits per 10,000 words, or if the name
of a test has one. A line that must use such a word, because it quotes an outside name, ends with
``prose: ignore``.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).parent.parent
LIMIT = 10.0
"""Hits per 10,000 words that a group of files may have."""

GROUPS = {
    "src": ("src", "alembic"),
    "docs": ("docs", "README.md", "CHANGELOG.md", ".env.example", "Makefile"),
    "app": ("mobile_app/rebalancer_app",),
    "tests": ("tests", "benchmarks", "mobile_app/tests"),
}
SUFFIXES = {".py", ".md", ".j2", ".example", ""}

PERSONS = r"whoever|whomever|whosever|somebody|somebody's|nobody|everybody|anybody|everyone|someone"
VERBS = (
    r"heed(?:s|ed|ing)?|mend(?:s|ed|ing)?|bear|bears|bore|borne|reckon(?:s|ed|ing)?|told|tells?"
    r"|kept|says?|said|spare[sd]?|spares|beget|begets|minds|minded|betake|bethink|vouchsafe"
)
OTHERS = (
    r"alike|anew|beside|lest|whence|thence|hither|hence|thereof|whereof|thereby|whereby|aught|naught"
    r"|ere|amid|save for|at hand|to and fro|(?:do|does|did|done|doing) without|see to it|seen? to"
)
DENIALS = r"(?:is|are|was|were) (?:none|no)\b(?! longer)|(?:has|have|had) none"
LISTED = re.compile(rf"\b(?:{PERSONS}|{VERBS}|{OTHERS}|{DENIALS})\b", re.IGNORECASE)
WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
IGNORED = "prose: ignore"


@attrs.frozen
class Text:
    """A piece of prose and where it begins."""

    line: int
    text: str


def python_prose(source: str) -> Iterator[Text]:
    """Yield comments and strings; of an f-string, its literal parts."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Text(token.start[0], token.string)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield Text(node.lineno, node.value)


def test_names(source: str) -> Iterator[Text]:
    """Yield the names of test functions as sentences."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield Text(node.lineno, node.name.replace("_", " "))


def blank_code(text: str) -> str:
    """Replace fenced and quoted code by spaces, keeping the line breaks."""
    return CODE.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


@attrs.define
class Count:
    """Words and hits of a group of files."""

    words: int = 0
    hits: list[str] = attrs.field(factory=list)
    found: Counter[str] = attrs.field(factory=Counter)

    @property
    def rate(self) -> float:
        """Hits per 10,000 words."""
        return 1e4 * len(self.hits) / max(self.words, 1)

    def add(self, path: Path, text: Text) -> None:
        """Count one text, sentence breaks and wrapped lines included."""
        flat = blank_code(text.text)
        self.words += len(WORD.findall(flat))
        for hit in LISTED.finditer(re.sub(r"\s", " ", flat)):
            line = text.line + flat.count("\n", 0, hit.start())
            self.found[hit.group().lower()] += 1
            self.hits.append(f"{path}:{line}: {hit.group()}")


def files(paths: tuple[Path, ...]) -> Iterator[Path]:
    """Yield the files of prose below some paths, this one left out."""
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in inside:
            if file.is_file() and file.suffix in SUFFIXES and file != Path(__file__):
                yield file


def shown(path: Path) -> Path:
    """Return the path as seen from the project, if it lies in it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def count(paths: tuple[Path, ...]) -> tuple[Count, list[str]]:
    """Count the prose below some paths, and list the names of tests that have a listed word."""
    counted, named = Count(), []
    for path in files(paths):
        source = path.read_text("utf-8")
        ignored = {n for n, line in enumerate(source.splitlines(), 1) if IGNORED in line}
        texts = python_prose(source) if path.suffix == ".py" else iter([Text(1, source)])
        for text in texts:
            if text.line not in ignored:
                counted.add(shown(path), text)
        if path.suffix == ".py" and path.name.startswith("test_"):
            named += [
                f"{shown(path)}:{name.line}: {name.text.replace(' ', '_')}"
                for name in test_names(source)
                if LISTED.search(name.text) and name.line not in ignored
            ]
    return counted, named


def main() -> int:
    """Print every hit and the rate of each group; return 1 if one is too high."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, help="files or folders; default: all")
    parser.add_argument("--quiet", action="store_true", help="print the rates alone")
    chosen = parser.parse_args()
    groups = {name: tuple(ROOT / part for part in parts) for name, parts in GROUPS.items()}
    if chosen.paths:
        groups = {"chosen": tuple(path.resolve() for path in chosen.paths)}
    failed = False
    for name, paths in groups.items():
        counted, named = count(paths)
        failed |= counted.rate > LIMIT or bool(named)
        if not chosen.quiet:
            print(*counted.hits, *named, sep="\n")
        print(
            f"{name}: {counted.rate:.1f} hits per 10,000 words (limit {LIMIT:.0f}), "
            f"{len(counted.hits)} in {counted.words:,}; {len(named)} test names"
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
