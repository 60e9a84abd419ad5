"""Trying policies on history."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.application.ports import InstrumentSource, PriceSource
from rebalancer.domain.backtest.run import Backtest, Conditions, compare
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.indicators import TRADING_DAYS
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.rules import policy
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.portfolio import TARGET_TOLERANCE

Floats = NDArray[np.float64]


@attrs.frozen
class BacktestRequest:
    """What to try, and under which conditions.

    Attributes:
        policies: Names, in the order of the answer.
        costs: The price list.
        targets: Strategic weights by symbol, missing ones 0; None: equal weights.
        first: The window begins at the first close on or after this day; None: at the first row.
        last: The window ends at the last close on or before this day; None: at the last row.
        risk_free: What cash earns: a rate a year, or the symbol of a price column, which then
            leaves the universe.
        capital: Money at the first close.
        as_live: Whether orders are whole shares.
    """

    policies: Sequence[str]
    costs: CostModel
    targets: Mapping[str, float] | None = None
    first: date | None = None
    last: date | None = None
    risk_free: float | str = 0.0
    capital: float = 100_000.0
    as_live: bool = False


@attrs.frozen
class RunBacktest:
    """Run policies side by side over the same history."""

    prices: PriceSource
    instruments: InstrumentSource

    def __call__(
        self,
        request: BacktestRequest,
        *,
        cautions: Sequence[str] = (),
        progress: Callable[[str], None] = lambda _: None,
    ) -> Backtest:
        """Try every policy of a request.

        Args:
            request: What to try.
            cautions: What a reader of the results must know.
            progress: Told the name of each policy when it is done.

        Raises:
            InvalidRequest: an unknown policy or symbol, targets that sum above 1, a window with
                fewer than three rows, or malformed prices; names the field.
            PricesUnavailable: the provider did not answer.
        """
        policies = [policy(name) for name in request.policies]
        if not (np.isfinite(request.capital) and request.capital > 0):
            raise InvalidRequest(f"must be more than 0, got {request.capital}", field="capital")
        history = self.prices.closes()
        first, last = _window(history, request.first, request.last)
        history = history.until(last)
        risk_free, history = _risk_free(history, first, request.risk_free)
        conditions = Conditions(
            prices=history,
            first=first,
            targets=_targets(history.symbols, request.targets),
            costs=request.costs,
            risk_free=risk_free,
            instruments=self.instruments.instruments(),
            capital=request.capital,
            as_live=request.as_live,
        )
        return compare(policies, conditions, cautions=cautions, progress=progress)


def _window(history: PriceHistory, first: date | None, last: date | None) -> tuple[int, int]:
    """Rows of the window's first and last close."""
    dates = history.dates
    begin = 0 if first is None else int(np.searchsorted(dates, np.datetime64(first, "D")))
    end = len(dates) - 1
    if last is not None:
        end = int(np.searchsorted(dates, np.datetime64(last, "D"), side="right")) - 1
    if begin >= len(dates):
        raise InvalidRequest(f"{first} lies after the last close, {dates[-1]}", field="from")
    if end < 0:
        raise InvalidRequest(f"{last} lies before the first close, {dates[0]}", field="to")
    if end < begin:
        raise InvalidRequest(f"{last} lies before the window begins, {dates[begin]}", field="to")
    return begin, end


def _risk_free(
    history: PriceHistory, first: int, source: float | str
) -> tuple[Floats, PriceHistory]:
    """(T,) simple return of cash over each row, and the history without its column."""
    if isinstance(source, str):
        if source not in history.columns:
            raise InvalidRequest(
                f"{source!r} is neither a column of the prices nor a rate a year such as 0.02",
                field="risk_free",
            )
        closes = history.closes[:, history.column(source)]
        if np.isnan(closes[first]):
            raise InvalidRequest(
                f"{source} has no price on {history.dates[first]}, when the window begins",
                field="risk_free",
            )
        if len(history.symbols) == 1:
            raise InvalidRequest(
                f"{source} is the only column: nothing is left to invest in", field="risk_free"
            )
        rest = history.select([symbol for symbol in history.symbols if symbol != source])
        earned = np.zeros(len(closes))
        earned[1:] = np.nan_to_num(closes[1:] / closes[:-1] - 1.0)
        return earned, rest
    if not -0.5 < source < 10:
        raise InvalidRequest(
            f"must be a rate a year such as 0.02 for 2%, got {source}", field="risk_free"
        )
    return np.full(len(history), (1.0 + source) ** (1 / TRADING_DAYS) - 1.0), history


def _targets(symbols: Sequence[str], wanted: Mapping[str, float] | None) -> Floats:
    """(N,) strategic weights."""
    if wanted is None:
        return np.full(len(symbols), 1.0 / len(symbols))
    unknown = [symbol for symbol in wanted if symbol not in symbols]
    if unknown:
        raise InvalidRequest(
            f"{', '.join(unknown)}: the prices have no such column", field="targets"
        )
    for symbol, weight in wanted.items():
        if not 0 <= weight <= 1 + TARGET_TOLERANCE:
            raise InvalidRequest(
                f"must be a fraction between 0 and 1, got {weight}", field=f"targets.{symbol}"
            )
    targets = np.array([wanted.get(symbol, 0.0) for symbol in symbols])
    total = targets.sum()
    if total > 1 + TARGET_TOLERANCE:
        raise InvalidRequest(f"sum to {total:.6g}, more than 1; lower them", field="targets")
    scaled: Floats = targets / max(total, 1.0)
    return scaled
