"""All writers of history files."""

from __future__ import annotations

from collections.abc import Sequence

from rebalancer.adapters.history_files.ghostfolio import GhostfolioWriter
from rebalancer.adapters.history_files.portfolio_performance import PortfolioPerformanceWriter
from rebalancer.application.ports.history_files import HistoryWriter

_WRITERS: tuple[HistoryWriter, ...] = (GhostfolioWriter(), PortfolioPerformanceWriter())


class ListedWriters:
    """The writers of this package."""

    def all(self) -> Sequence[HistoryWriter]:
        return _WRITERS
