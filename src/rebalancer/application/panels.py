"""Panels of prices: what policies are evaluated on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date

import attrs
import numpy as np

from rebalancer.application.backtests import BacktestRequest, RunBacktest
from rebalancer.application.ports.market import PriceSource
from rebalancer.domain.backtest.engine import BacktestSettings
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import PriceHistory


@attrs.frozen
class PanelCash:
    """What cash earns on one panel.

    Attributes:
        source: A rate a year, or a column of the prices; 0 where nothing is known of it.
        hidden: Columns that are cash by another name, and not to be invested in either.
    """

    source: float | str = 0.0
    hidden: tuple[str, ...] = ()


def assign_panel_cash(text: str | None, columns: Sequence[Collection[str]]) -> list[PanelCash]:
    """What cash earns on each panel, by ``COLUMN,...,RATE``.

    Each panel takes the first column that it has, else the rate if there is one, else 0.

    Args:
        text: As the user wrote it, such as ``BIL,TBILL3M,0.02``; None: 0.
        columns: Of each panel; a column's name may look like a number.

    Raises:
        InvalidRequest: a piece is neither a column of any panel nor a rate, or there are two rates.
    """
    pieces = [] if text is None else [text]
    every = {column for each in columns for column in each}
    if text is not None and text not in every:  # a column's name may hold a comma
        pieces = [piece.strip() for piece in text.split(",")]
    named = [piece for piece in pieces if piece in every]
    rates = [_rate(piece) for piece in pieces if piece not in every]
    if len(rates) > 1:
        raise InvalidRequest(f"name one rate at most, not {len(rates)}", field="risk_free")
    found = []
    for each in columns:
        own = [column for column in named if column in each]
        source = own[0] if own else rates[0] if rates else 0.0
        found.append(PanelCash(source, tuple(own[1:])))
    return found


def _rate(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidRequest(
            f"{text!r} is neither a column of the prices nor a rate a year such as 0.02",
            field="risk_free",
        ) from None


@attrs.frozen
class _Without:
    """A source of prices from which some columns are missing."""

    prices: PriceSource
    hidden: tuple[str, ...]

    def symbols(self) -> tuple[str, ...]:
        """See `PriceSource.symbols`."""
        return tuple(symbol for symbol in self.prices.symbols() if symbol not in self.hidden)

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        """See `PriceSource.closes`."""
        asked = self.symbols() if symbols is None else symbols
        return self.prices.closes(asked, days=days, until=until)


@attrs.frozen
class Panel:
    """Prices, and what is asked of policies on them.

    Attributes:
        request: Whom to judge, and under which settings.
        run_backtest: What knows the prices.
        hidden: Columns that are left out, see `PanelCash.hidden`.
    """

    request: BacktestRequest
    run_backtest: RunBacktest
    hidden: tuple[str, ...] = ()

    def settings(self) -> BacktestSettings:
        """What the request means on the prices; raises as `RunBacktest.settings`."""
        return self._seen().settings(self.request)

    def training(self) -> BacktestSettings:
        """The same from the first close on at which every column has a price.

        Raises:
            As `settings`.
        """
        seen = self._seen()
        history = seen.prices.closes()
        known = ~np.isnan(history.closes).any(axis=1)
        first: date = history.dates[int(np.argmax(known))].item()
        return seen.settings(attrs.evolve(self.request, first=first))

    def _seen(self) -> RunBacktest:
        run_backtest = self.run_backtest
        if not self.hidden:
            return run_backtest
        return attrs.evolve(run_backtest, prices=_Without(run_backtest.prices, self.hidden))
