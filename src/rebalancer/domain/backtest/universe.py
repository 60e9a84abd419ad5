"""The universe of a backtest: assets that list late, are suspended, or are delisted.

What is not tradable at a close is not traded. The target of an asset that is not held goes to the
other targets or stays in cash, see `Unlisted`. A holding stays at its last price until the
asset is tradable again. When it never is, because the source has no later close, it becomes cash at
its last price, without cost, on the first day on which that price is no longer current.
"""

from __future__ import annotations

from enum import StrEnum

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, Rows, safe_divide
from rebalancer.domain.market.caution import Caution
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quality import Severity
from rebalancer.domain.portfolio.book import Book
from rebalancer.domain.portfolio.withheld import lock_withheld

_A_SHARE_IS_WHOLE = 1e-7
"""Fraction of a step that a quantity may lack through rounding of float64."""

_MOST_NAMED = 10
"""Assets that cautions describe one by one."""

_MOST_FINDINGS = 3
"""Findings on one asset that a caution describes."""


class Unlisted(StrEnum):
    """Where the target of an asset goes while it is not tradable."""

    OTHERS = "others"
    CASH = "cash"


@attrs.frozen(eq=False)
class Universe:
    """Assets of a backtest over time.

    Attributes:
        prices: (T, N) prices for values: the last ones, and 1 before an asset's first.
        levels: (T, N) prices of single shares in the currency of the history, for numbers of
            shares; the same array without corporate actions.
        tradable: (T, N) see `PriceHistory.tradable`.
        paid_out: (N,) row at which holdings become cash because an asset has ended; T if it has
            not.
        changes: Rows, after the window's first, at which a targeted asset begins or ceases to be
            tradable, or is paid out; empty if the universe is constant.
        targets: (N,) strategic weights.
        unlisted: Where targets go that cannot be bought.
    """

    prices: Floats
    levels: Floats
    tradable: Bools
    paid_out: Rows
    changes: Rows
    targets: Floats
    unlisted: Unlisted

    @classmethod
    def of(cls, history: PriceHistory, first: int, targets: Floats, unlisted: Unlisted) -> Universe:
        """Return the universe of a window that begins at row ``first``."""
        known = history.last_total_returns
        tradable = history.tradable
        wanted = tradable[:, targets > 0]
        changed = (wanted[1:] != wanted[:-1]).any(axis=1)
        paid_out = _payout_rows(history)
        changes = np.union1d(np.flatnonzero(changed) + 1, paid_out[targets > 0])
        prices = known if not np.isnan(known).any() else np.where(np.isnan(known), 1.0, known)
        shares = history.valuations
        same = np.array_equal(shares, known, equal_nan=True)
        return cls(
            prices=prices,
            levels=prices if same else np.where(np.isnan(shares), 1.0, shares),
            tradable=tradable,
            paid_out=paid_out,
            changes=changes[(changes > first) & (changes < len(history))],
            targets=targets,
            unlisted=unlisted,
        )

    def is_constant(self, first: int) -> bool:
        """Return whether every targeted asset is tradable from row ``first`` on."""
        return not self.changes.size and bool(self.tradable[first, self.targets > 0].all())

    def payouts(self, first: int) -> Rows:
        """Return the rows after ``first`` at which a targeted asset is paid out, increasing."""
        rows = np.unique(self.paid_out[self.targets > 0])
        return rows[(rows > first) & (rows < len(self.tradable))]

    def pay_out(self, book: Book, row: int) -> Book:
        """Return the book of one with the holdings in cash that are paid out by a row."""
        ended = self.paid_out <= row
        if not (book.values[:, ended] > 0).any():
            return book
        paid = np.where(ended, book.values, 0.0)
        return attrs.evolve(book, values=book.values - paid, cash=book.cash + paid.sum(axis=1))

    def cash_fractions(self, book: Book, row: int, steps: Floats) -> Book:
        """Return the book of one with holdings in multiples of their steps, and the rest in cash.

        Between reviews distributions are reinvested, and splits change numbers of shares; what is
        then less than a step is cash in lieu. Holdings that are not tradable stay.

        Args:
            book: The portfolio at the row.
            row: Row of the review.
            steps: (N,) quantities.
        """
        if self.levels is self.prices:
            return book
        unit = self.levels[row] * steps
        whole = np.floor(book.values / unit + _A_SHARE_IS_WHOLE) * unit
        kept = np.where(self.tradable[row], whole, book.values)
        paid = (book.values - kept).sum(axis=1)
        return attrs.evolve(book, values=kept, cash=book.cash + paid)

    def targets_at(
        self, book: Book, row: int, *, resolved: bool = False
    ) -> tuple[Book, Bools | None]:
        """Return the book of one with the targets of a row, and (1, N) its locked holdings.

        Args:
            book: The portfolio at the row.
            row: Row of the review.
            resolved: Whether the book has targets that were resolved for the row.
        """
        closed = ~self.tradable[row]
        locked = (closed & (book.values > 0)) if closed.any() else None
        locked = locked if locked is not None and locked.any() else None
        strategic = book.targets[0] if resolved else self.targets
        goals = np.where(closed, 0.0, strategic)
        if self.unlisted is Unlisted.OTHERS:
            total = float(strategic.sum())
            if locked is not None:
                kept = np.where(locked, safe_divide(book.values, book.total[:, None]), 0.0)
                total = max(total - float(kept.sum()), 0.0)
            goals = goals * (total / positive) if (positive := float(goals.sum())) > 0 else goals
        book = attrs.evolve(book, targets=goals[None, :])
        return (book, None) if locked is None else (lock_withheld(book, locked), locked)


def universe_cautions(
    history: PriceHistory, first: int, targets: Floats, unlisted: Unlisted
) -> list[Caution]:
    """Describe what a backtest from row ``first`` does about prices that are not there."""
    goes = "goes to the other assets" if unlisted is Unlisted.OTHERS else "stays in cash"
    paid_out = _payout_rows(history)
    doubted = {one.symbol for one in history.findings if one.severity is Severity.ERROR}
    found = []
    for column in np.flatnonzero((targets > 0) & ~history.tradable[first:].all(axis=0)).tolist():
        symbol, own = history.symbols[column], np.flatnonzero(history.observed[:, column])
        ended = paid_out[column] < len(history)
        if symbol in history.excluded:
            found.append(f"{symbol} has {history.excluded[symbol]}; its target {goes}")
            continue
        if not own.size or (ended and own[-1] < first):
            last = "" if not own.size else f" since {history.dates[own[-1]]}"
            found.append(f"{symbol} has no prices{last}; its target {goes}")
            continue
        parts = []
        if history.dates[own[0]] > history.dates[first]:
            parts.append(f"begins on {history.dates[own[0]]}")
        if ended:
            parts.append(f"ends on {history.dates[own[-1]]}, when its holding becomes cash")
        if not parts and symbol in doubted:
            continue  # `quality_cautions` reports the reason
        if not parts:
            missing = int((~history.tradable[first:, column]).sum())
            parts.append(f"is not tradable on {missing} of {len(history) - first} days")
        found.append(f"{symbol} {' and '.join(parts)}; while it is not tradable, its target {goes}")
    return _as_cautions("universe_changes", found)


def quality_cautions(history: PriceHistory, first: int, symbols: frozenset[str]) -> list[Caution]:
    """Describe what the check of prices found about some assets from row ``first`` on."""
    begins = history.dates[first].item()
    by_symbol: dict[str, list[str]] = {}
    for finding in sorted(history.findings, key=lambda one: one.severity is Severity.WARNING):
        lasts = finding.withholds or finding.day >= begins or (finding.until or begins) > begins
        if finding.symbol in symbols and lasts:
            by_symbol.setdefault(finding.symbol, []).append(finding.text)
    found = []
    for texts in by_symbol.values():
        more = len(texts) - _MOST_FINDINGS
        rest = [f"and {more} further such changes"] if more > 0 else []
        found.append("; ".join([*texts[:_MOST_FINDINGS], *rest]))
    return _as_cautions("doubtful_prices", found)


def cash_cautions(history: PriceHistory, symbol: str, first: int) -> list[Caution]:
    """Describe the gaps and jumps of a price column that gives the return of cash."""
    column = history.column(symbol)
    usable = history.tradable[first:, column]
    found = quality_cautions(history, first, frozenset([symbol]))
    if usable.all():
        return found
    if usable[-1]:
        text = (
            f"no usable price on {int((~usable).sum())} of {len(usable)} days; cash earns over "
            "them at the next price"
        )
    else:
        known = np.flatnonzero(history.observed[:, column] & history.tradable[:, column])
        text = f"no usable price after {history.dates[known[-1]]}; cash earns nothing from then on"
    return [
        Caution("cash_prices_missing", f"{symbol}, the return of cash, has {text}."),
        *found,
    ]


def _as_cautions(code: str, texts: list[str]) -> list[Caution]:
    named, more = texts[:_MOST_NAMED], len(texts) - _MOST_NAMED
    rest = [f"{more} further assets have such prices"] if more > 0 else []
    return [Caution(code, f"{text}.") for text in [*named, *rest]]


def _payout_rows(history: PriceHistory) -> Rows:
    """(N,) first row at which an asset that has ended has no current close; T if it has not."""
    count = len(history)
    rows = np.full(len(history.symbols), count, dtype=np.intp)
    reported = history.reported_closes
    for column in np.flatnonzero(np.isnan(history.last_closes)).tolist():
        own = np.flatnonzero(~np.isnan(reported[:, column]))
        if own.size and own[-1] < count - 1:
            later = np.flatnonzero(np.isnan(history.closes[own[-1] + 1 :, column]))
            rows[column] = own[-1] + 1 + later[0]
    return rows
