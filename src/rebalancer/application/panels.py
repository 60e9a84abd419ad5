"""Panels: prices on which policies are evaluated, and the returns of cash on each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date

import attrs
import numpy as np

from rebalancer.application.backtests import BacktestRequest, RunBacktest
from rebalancer.application.history_provider import HistoryProvider
from rebalancer.application.ports.market import PriceSource
from rebalancer.domain.backtest.engine import BacktestSettings
from rebalancer.domain.backtest.evaluation import CashReturns
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.symbols import hint_at


@attrs.frozen
class PanelCash:
    """Return of cash on one panel.

    Attributes:
        source: A rate a year, or a price column; 0 if the return is unknown.
        hidden: Further columns of cash, which are not invested in either.
    """

    source: float | str = 0.0
    hidden: tuple[str, ...] = ()


def assign_panel_cash(text: str | None, columns: Sequence[Collection[str]]) -> list[PanelCash]:
    """Return the cash of each panel, from a text ``COLUMN,...,RATE``.

    Each panel uses the first column that it has, else the rate, else 0.

    Args:
        text: The user's text, such as ``BIL,TBILL3M,0.02``; None: 0.
        columns: Columns of each panel; a column's name may look like a number.

    Raises:
        InvalidRequest: a piece is neither a column of a panel nor a rate, or there are two rates.
    """
    named, rate = read_cash(text, columns)
    found = []
    for each in columns:
        own = [column for column in named if column in each]
        source = own[0] if own else rate
        found.append(PanelCash(source, tuple(own[1:])))
    return found


def read_cash(
    text: str | None, columns: Sequence[Collection[str]]
) -> tuple[tuple[str, ...], float]:
    """Return the columns of cash and the rate in a text; arguments as `assign_panel_cash`.

    Raises:
        InvalidRequest: as `assign_panel_cash`.
    """
    pieces = [] if text is None else [text]
    every = {column for each in columns for column in each}
    if text is not None and text not in every:  # a column's name may contain a comma
        pieces = [piece.strip() for piece in text.split(",")]
    named = tuple(piece for piece in pieces if piece in every)
    rates = [_parse_rate(piece, every) for piece in pieces if piece not in every]
    if len(rates) > 1:
        raise InvalidRequest(
            f"{text!r} contains {len(rates)} rates; enter at most one",
            field="risk_free",
            code="several_cash_rates",
        )
    return named, rates[0] if rates else 0.0


def cash_returns(source: float | str, settings: BacktestSettings) -> tuple[CashReturns, ...]:
    """Return the returns of cash of an evaluation: 0, then those of a source unless it is 0.

    Args:
        source: A rate a year, or a price column.
        settings: Settings with the returns of the source.
    """
    cash = [CashReturns("0", np.zeros(len(settings.prices)))]
    if source != 0.0:
        label = source if isinstance(source, str) else f"{100 * source:.6g}% a year"
        cash.append(CashReturns(label, settings.risk_free))
    return tuple(cash)


def _parse_rate(text: str, columns: Collection[str]) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidRequest(
            f"{text!r} is neither a price column nor a rate; enter a symbol, or a rate a year "
            f"such as 0.02{hint_at([text], sorted(columns))}",
            field="risk_free",
            code="unknown_cash_source",
        ) from None


@attrs.frozen(slots=False)
class _PricesWithoutColumns(HistoryProvider):
    """The closes of a price source without some columns."""

    prices: PriceSource
    hidden: tuple[str, ...]

    def read(self) -> PriceHistory:
        symbols = self.prices.symbols()
        return self.prices.closes([symbol for symbol in symbols if symbol not in self.hidden])


@attrs.frozen
class Panel:
    """Prices, and the request to evaluate on them.

    Attributes:
        run_backtest: Use case with the panel's prices.
        hidden: Columns to leave out, see `PanelCash.hidden`.
    """

    request: BacktestRequest
    run_backtest: RunBacktest
    hidden: tuple[str, ...] = ()

    def settings(self) -> BacktestSettings:
        """Return the settings of the request on the prices; raises as `RunBacktest.settings`."""
        return self._visible.settings(self.request)

    def training_settings(self) -> BacktestSettings:
        """Return the same, from the first day by which every column with prices has begun."""
        visible = self._visible
        history = visible.prices.closes()
        known = ~np.isnan(history.closes)
        begins = int(np.argmax(known[:, known.any(axis=0)], axis=0).max(initial=0))
        first: date = history.dates[begins].item()
        return visible.settings(attrs.evolve(self.request, first=first))

    @property
    def _visible(self) -> RunBacktest:
        if not self.hidden:
            return self.run_backtest
        visible = _PricesWithoutColumns(self.run_backtest.prices, self.hidden)
        return attrs.evolve(self.run_backtest, prices=visible)
