"""Export of one portfolio in the formats of other tools."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.ports.history_files import (
    HistoryFile,
    HistoryWriters,
    PortfolioHistory,
)
from rebalancer.application.ports.market import InstrumentSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.plain_history import retell


@attrs.frozen
class ExportPortfolio:
    """Write the history of a portfolio in a format of another tool."""

    work: UnitOfWork
    instruments: InstrumentSource
    writers: HistoryWriters

    def __call__(
        self, portfolio_id: UUID, *, format: str, actor: UUID, now: datetime
    ) -> HistoryFile:
        """Return the file.

        Raises:
            InvalidRequest: the format is unknown.
            NotFound: the portfolio does not exist, and is not shared with the actor.
        """
        writers = {writer.name: writer for writer in self.writers.all()}
        if format not in writers:
            raise InvalidRequest(
                f"unknown format {format!r}; choose {' or '.join(writers)}",
                field="format",
                code="unknown_export_format",
            )
        with self.work.read() as tx:
            portfolio = tx.portfolios.get_for(portfolio_id, actor)
            ledger = tx.portfolios.ledger(portfolio_id)
            _ = ledger.entries  # which are read until the transaction ends
        code = portfolio.mandate.currency.code
        history = retell(ledger, code)
        listed = self.instruments.instruments()
        names = {
            one.symbol: name
            for one in history.movements
            if one.symbol is not None and (name := listed[one.symbol].name)
        }
        return writers[format].write(
            PortfolioHistory(portfolio.mandate.name, code, history, names, now)
        )
