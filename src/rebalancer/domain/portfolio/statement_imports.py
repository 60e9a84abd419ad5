"""Imports of statements, as they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.domain.errors import Conflict


@attrs.frozen
class StatementImport:
    """A statement whose transactions were added to a ledger.

    Attributes:
        layout: Name of the layout, see `Statement`.
        file_name: As the client named it; may be empty.
        sha256: Of the file, in hexadecimal digits.
        entries: Number of entries that were added.
        mapping: Symbols of instruments, by the names that the statement uses.
        undone: Time at which its entries were voided; None unless it was undone.
    """

    id: UUID
    portfolio: UUID
    owner: UUID
    layout: str
    file_name: str
    sha256: str
    created: datetime
    entries: int
    mapping: Mapping[str, str] = attrs.field(factory=dict)
    undone: datetime | None = None

    def undo(self, now: datetime) -> StatementImport:
        """Return the import as undone.

        Raises:
            Conflict: it was undone before.
        """
        if self.undone is not None:
            raise Conflict(
                f"the import was undone on {self.undone.date()} already; import the file again to "
                "add its entries",
                code="already_undone",
            )
        return attrs.evolve(self, undone=now)
