"""All readers of statements, found in the modules of this package."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

import attrs

from rebalancer.adapters import statements
from rebalancer.application.ports.statements import StatementReader

HEAD = 65_536
"""Bytes of a file by which its layout is recognised."""

GENERIC = "generic_csv"
"""Reader of tables without a known layout; it is asked last."""


@attrs.frozen
class DiscoveredReaders:
    """The readers of this package, imported when they are first needed."""

    def all(self) -> Sequence[StatementReader]:
        """Return the readers by name, the generic one last."""
        return _readers()

    def find(self, data: bytes, file_name: str) -> StatementReader | None:
        """Return the first reader that recognises a file; None if there is no such reader."""
        head = data[:HEAD]
        return next((one for one in self.all() if one.recognises(head, file_name)), None)


@cache
def _readers() -> tuple[StatementReader, ...]:
    found: list[StatementReader] = []
    for module in iter_modules(statements.__path__, f"{statements.__name__}."):
        if module.name != __name__:
            found += getattr(import_module(module.name), "READERS", ())
    return tuple(sorted(found, key=lambda reader: (reader.name == GENERIC, reader.name)))
