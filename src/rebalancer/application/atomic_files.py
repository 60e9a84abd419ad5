"""Files that are replaced as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` when the block ends without an error.

    The temporary file is in the same folder and has the same suffix.
    """
    fresh = path.with_name(f".{path.stem}.new{path.suffix}")
    try:
        yield fresh
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the content of a file."""
    with replacing(path) as fresh:
        fresh.write_bytes(content)
