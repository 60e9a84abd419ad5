"""Formulas of the rules' target weights, and how far back each looks.

Look-backs are given in trading days, and take as many rows as that time has in the prices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.market import indicators
from rebalancer.domain.market.calendars import split_by_calendar
from rebalancer.domain.market.frequency import ObservationFrequency
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy import allocation
from rebalancer.domain.portfolio.book import Book

FEWEST_RETURNS = 12
"""Fewest returns in a window of trading days, for an estimate of risk from rarer prices."""

FEWEST_CLOSES = 3
"""The same for an average of closes, and for a past return."""

_ROUNDING = 1e-12
"""Relative differences below this are rounding errors, not price changes."""

Parameters = Mapping[str, float]
Allocated = tuple[Floats, Bools | None]
"""(B, K) weights, and (B,) whether history is long enough; weights without it are meaningless.
None if no history is needed."""


@attrs.frozen
class Allocation:
    """A formula for target weights.

    Attributes:
        formula: Computes weights from a book, prices up to its last close, and the number of rows
            that the window takes there.
        window: Look-back in trading days; 0 if no prices are needed.
        lookback: Number of daily closes needed, the last included.
        fewest: Fewest rows of the window, for prices that are rarer than daily.
        remark: Explains the weights of the only portfolio of a book; None without explanation.
    """

    formula: Callable[[Book, PriceHistory, int], Allocated]
    window: int = 0
    lookback: int = 1
    fewest: int = 1
    remark: Callable[[Book, PriceHistory, int], str] | None = None

    def weigh(self, book: Book, market: PriceHistory) -> Allocated:
        """Compute weights, each portfolio's on the rows on which all of its targets trade."""
        if not self.window:
            return self.formula(book, market, 0)
        parts = self._split(book, market)
        if len(parts) == 1:
            return self._weigh_rows(book, parts[0][1])
        targets, informed = np.empty_like(book.targets), np.empty(len(book), dtype=bool)
        for rows, history in parts:
            targets[rows], known = self._weigh_rows(book.only(rows), history)
            informed[rows] = True if known is None else known
        return targets, informed

    def explain(self, book: Book, market: PriceHistory) -> str | None:
        """Explain the weights of the only portfolio of a book; None without explanation."""
        if self.remark is None:
            return None
        ((_, history),) = self._split(book, market)
        return self.remark(book, history, history.frequency.rows(self.window))

    def suits(self, frequency: ObservationFrequency) -> bool:
        """Return whether the look-back holds enough closes of prices with this frequency."""
        return frequency.rows(self.window) >= min(self.window, self.fewest)

    def explain_shortage(self, name: str, book: Book, market: PriceHistory) -> str:
        """Explain why the monthly rule decides for the only portfolio of a book."""
        ((_, history),) = self._split(book, market)
        rows = history.frequency.rows(self.window)
        if not self.suits(history.frequency):
            return (
                f"{name} looks back {self.window} trading days, in which these prices have {rows} "
                f"closes, and needs at least {min(self.window, self.fewest)}; the monthly rule "
                "applies to the given targets."
            )
        return (
            f"{name} needs {rows + self.lookback - self.window} closes of every targeted asset, "
            "and some are missing; the monthly rule applies to the given targets."
        )

    def _split(self, book: Book, market: PriceHistory) -> list[tuple[Rows, PriceHistory]]:
        return split_by_calendar(market, book.assets, _targeted(book), self.lookback)

    def _weigh_rows(self, book: Book, market: PriceHistory) -> Allocated:
        if not self.suits(market.frequency):
            return book.targets, np.zeros(len(book), dtype=bool)
        return self.formula(book, market, market.frequency.rows(self.window))


STRATEGIC = Allocation(lambda book, _, __: (book.targets, None))


def _targeted(book: Book) -> Bools:
    return book.present & (book.targets > 0)


def _known(estimates: Floats, book: Book) -> Bools:
    """Return whether an estimate (U,) exists for every targeted asset, (B,)."""
    unknown = np.isnan(estimates[book.assets]) & _targeted(book)
    known: Bools = np.count_nonzero(unknown, axis=1) == 0
    return known


def _scaled_to_strategic(weights: Callable[[Bools], Floats], book: Book, known: Bools) -> Allocated:
    """Distribute the invested share of the targets by other weights."""
    targeted = _targeted(book) & known[:, None]
    invested = book.targets.sum(axis=1, keepdims=True)
    return weights(targeted) * invested, known


def _mix_volatility(book: Book, market: PriceHistory, days: int) -> Floats:
    """Return the annual volatility of the strategic mix over ``days``, (B,)."""
    return indicators.mix_volatility(
        book.targets, book.assets, np.nan_to_num(indicators.covariance(market, days))
    )


def volatility_target(parameters: Parameters) -> Allocation:
    """Scale the targets to a given volatility, at most to a cap; the rest is cash."""
    goal, window = parameters["target"], int(parameters["window"])
    cap = parameters["cap"]

    def formula(book: Book, market: PriceHistory, rows: int) -> Allocated:
        known = _known(indicators.volatility(market, rows), book)
        volatility = _mix_volatility(book, market, rows)
        with np.errstate(divide="ignore"):
            scale = np.minimum(cap, goal / volatility)
        return book.targets * scale[:, None], known

    def remark(book: Book, market: PriceHistory, rows: int) -> str:
        volatility = float(_mix_volatility(book, market, rows)[0])
        share = min(cap, goal / volatility) if volatility > 0 else cap
        return (
            f"The volatility of the targets over the last {market.frequency.window(rows)} was "
            f"{volatility:.1%} a year; the policy aims at {share:.0%} of them, for {100 * goal:g}%."
        )

    return Allocation(formula, window, window + 1, FEWEST_RETURNS, remark)


def trend(parameters: Parameters) -> Allocation:
    """Replace assets below their average close with cash."""
    window = int(parameters["window"])

    def rising(market: PriceHistory, rows: int) -> Bools:
        # A constant price counts as above its average, in spite of rounding errors.
        average = indicators.moving_average(market, rows)
        return market.last_closes >= average * (1.0 - _ROUNDING)

    def formula(book: Book, market: PriceHistory, rows: int) -> Allocated:
        average = indicators.moving_average(market, rows)
        return book.targets * rising(market, rows)[book.assets], _known(average, book)

    def remark(book: Book, market: PriceHistory, rows: int) -> str:
        columns = book.assets[_targeted(book) & ~rising(market, rows)[book.assets]]
        failing = [market.symbols[column] for column in columns]
        long = market.frequency.long(rows)
        if not failing:
            return f"Every targeted asset is above its {long} average."
        names = ", ".join(failing)
        return f"Cash replaces assets below their {long} average: {names}."

    return Allocation(formula, window, window, FEWEST_CLOSES, remark)


def inverse_volatility(parameters: Parameters) -> Allocation:
    """Weight assets in inverse proportion to their volatility."""
    window = int(parameters["window"])

    def formula(book: Book, market: PriceHistory, rows: int) -> Allocated:
        volatility = indicators.volatility(market, rows)
        return _scaled_to_strategic(
            lambda held: allocation.inverse_volatility(volatility[book.assets], held),
            book,
            _known(volatility, book),
        )

    return Allocation(formula, window, window + 1, FEWEST_RETURNS)


def momentum(parameters: Parameters) -> Allocation:
    """Weight targets by the rank of the past return, without its last part."""
    window, skipped = int(parameters["window"]), int(parameters["skip"])

    def formula(book: Book, market: PriceHistory, rows: int) -> Allocated:
        skip = min(market.frequency.rows(skipped) if skipped else 0, rows - 1)
        past = indicators.momentum(market, rows, skip)
        known = _known(past, book)
        targeted = _targeted(book)
        gained = np.where(targeted & known[:, None], past[book.assets], 0.0)
        # From 0 for the worst of n assets to 2 (n - 1) for the best; equal ones share their ranks.
        rivals = targeted[:, None, :]
        below = np.count_nonzero(rivals & (gained[:, None, :] < gained[:, :, None]), axis=2)
        equal = np.count_nonzero(rivals & (gained[:, None, :] == gained[:, :, None]), axis=2)
        ranked = np.where(targeted, book.targets * (2 * below + equal), 0.0)
        return _spread(ranked, book), known

    return Allocation(formula, window, window + 1, FEWEST_CLOSES)


def _spread(weights: Floats, book: Book) -> Floats:
    """Scale weights (B, K) to the invested share of the targets."""
    total = weights.sum(axis=1, keepdims=True)
    invested = book.targets.sum(axis=1, keepdims=True)
    scaled: Floats = weights * np.divide(invested, total, out=np.zeros_like(total), where=total > 0)
    return scaled


def risk_parity(parameters: Parameters) -> Allocation:
    """Give every asset the same contribution to risk."""
    window = int(parameters["window"])

    def formula(book: Book, market: PriceHistory, rows: int) -> Allocated:
        covariance = indicators.covariance(market, rows)
        return _scaled_to_strategic(
            lambda held: allocation.risk_parity(
                indicators.covariance_among(covariance, book.assets, held), held
            ),
            book,
            _known(covariance.diagonal(), book),
        )

    return Allocation(formula, window, window + 1, FEWEST_RETURNS)


def shrunk(
    weights: Callable[[Floats, Bools], Floats],
) -> Callable[[Parameters], Allocation]:
    """Return the allocation that a function of shrunk covariances gives."""

    def build(parameters: Parameters) -> Allocation:
        window = int(parameters["window"])

        def formula(book: Book, market: PriceHistory, rows: int) -> Allocated:
            known = _known(indicators.volatility(market, rows), book)

            def of(held: Bools) -> Floats:
                shrunk = indicators.shrunk_covariance(market, rows)
                return weights(shrunk.of(book.assets, held), held)

            return _scaled_to_strategic(of, book, known)

        return Allocation(formula, window, window + 1, FEWEST_RETURNS)

    return build
