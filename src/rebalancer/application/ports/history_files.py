"""Writing the history of a portfolio in the formats of other tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import attrs

from rebalancer.domain.portfolio.plain_history import PlainHistory


@attrs.frozen
class PortfolioHistory:
    """A portfolio to write.

    Attributes:
        name: As its owner named it.
        currency: ISO 4217 code of the base currency.
        history: Without reorganisations.
        names: Name of each asset that has one, by symbol.
        at: Time of the export.
    """

    name: str
    currency: str
    history: PlainHistory
    names: Mapping[str, str]
    at: datetime


@attrs.frozen
class HistoryFile:
    """A written file.

    Attributes:
        extension: Of its name, such as ``json``.
        media_type: Such as ``application/json``.
        notes: What the format cannot hold, as sentences; the file states them too.
    """

    data: bytes
    extension: str
    media_type: str
    notes: tuple[str, ...]


class HistoryWriter(Protocol):
    """Writes one format.

    Attributes:
        name: Stable name in snake case, such as ``ghostfolio``.
        title: Name for people.
    """

    name: str
    title: str

    def write(self, portfolio: PortfolioHistory) -> HistoryFile:
        """Return the file; the same portfolio gives the same bytes."""


class HistoryWriters(Protocol):
    """All writers."""

    def all(self) -> Sequence[HistoryWriter]:
        """Return the writers by name."""
