"""Collect the code and the text of every error that the source raises, into one golden file.

``python -m tests.messages`` rewrites ``tests/golden/errors.txt``; a test compares. A changed
text is reviewed there among all others, and a changed code stands out, as clients depend on it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import attrs

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "rebalancer"
GOLDEN = ROOT / "tests" / "golden" / "errors.txt"
FAMILIES = {"RebalancerError", "InvalidRequest", "NotAuthenticated", "NotFound", "Conflict"}
FAMILIES |= {"NotAllowed", "Unavailable"}
HEADER = "# Code, class and text of every error; made by `python -m tests.messages`."


@attrs.frozen
class Message:
    """One place that makes an error.

    Attributes:
        place: File and line.
        kind: Class of the error.
        code: Its code; empty if neither the place nor the class names one of its own.
        text: Its text, with expressions in braces.
    """

    place: str
    kind: str
    code: str
    text: str


def template(node: ast.expr) -> str:
    """Return the text that an expression makes, with what is not literal in braces."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(template(part) for part in parts)
        case ast.FormattedValue(value=value, format_spec=None):
            return f"{{{ast.unparse(value)}}}"
        case ast.FormattedValue(value=value, format_spec=spec) if spec is not None:
            return f"{{{ast.unparse(value)}:{template(spec)}}}"
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return template(left) + template(right)
        case _:
            return f"{{{ast.unparse(node)}}}"


def default_codes(trees: dict[Path, ast.Module]) -> dict[str, str]:
    """Return each error class with its default code; empty if only its family has one."""
    bases: dict[str, list[str]] = {}
    own: dict[str, str] = {}
    for tree in trees.values():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef):
                continue
            bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
            for line in node.body:
                match line:
                    case ast.Assign(targets=[ast.Name(id="default_code")], value=ast.Constant(v)):
                        own[node.name] = str(v)

    def of(name: str) -> str | None:
        if name in FAMILIES:
            return ""
        for base in bases.get(name, []):
            inherited = of(base)
            if inherited is not None:
                return own.get(name, inherited)
        return None

    return {name: code for name in [*FAMILIES, *bases] if (code := of(name)) is not None}


@cache
def messages() -> tuple[Message, ...]:
    """Return every place below the source that makes an error, in the order of files and lines."""
    return tuple(_find_messages())


def _find_messages() -> Iterator[Message]:
    trees = {path: ast.parse(path.read_text("utf-8")) for path in sorted(SOURCE.rglob("*.py"))}
    defaults = default_codes(trees)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id=kind) | ast.Attribute(attr=kind)) if (
                    kind in defaults and (node.args or node.keywords)
                ):
                    named = {key.arg: key.value for key in node.keywords}
                    code = named.get("code")
                    text = node.args[0] if node.args else named.get("message")
                    yield Message(
                        place=f"{path.relative_to(ROOT)}:{node.lineno}",
                        kind=kind,
                        code=template(code) if code is not None else defaults[kind],
                        text=" ".join(template(text).split()) if text is not None else "",
                    )


def golden() -> str:
    """Return the golden file as it should be: sorted, each text of a code once."""
    texts: dict[str, set[str]] = defaultdict(set)
    for one in messages():
        texts[f"{one.code or '(no code)'} {one.kind}"].add(one.text)
    lines = [HEADER]
    for title, found in sorted(texts.items()):
        lines += [title, *(f"    {text}" for text in sorted(found))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(golden(), "utf-8")
    for one in messages():
        if not one.code:
            print(f"{one.place}: {one.kind} without a code of its own: {one.text}")
