"""Read files that a command names."""

from __future__ import annotations

from pathlib import Path

from rebalancer.domain.errors import InvalidRequest


def read_file(path: Path, *, field: str) -> bytes:
    """A file's contents.

    Raises:
        InvalidRequest: it cannot be read; says why.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {error.strerror}", field=field) from None
