"""What every policy is: something that looks at a book and a market, and decides."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, runtime_checkable

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.book import Book


class Frequency(StrEnum):
    """How often a policy looks: at the first trading day of each calendar period."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    YEARLY = "yearly"
    ONCE = "once"

    def period(self, days: Dates) -> NDArray[np.int64]:
        """Number of the calendar period that each day lies in; weeks begin on Monday."""
        match self:
            case Frequency.DAILY:
                return days.astype("datetime64[D]").view(np.int64)
            case Frequency.WEEKLY:
                return (days.astype("datetime64[D]").view(np.int64) + 3) // 7
            case Frequency.MONTHLY:
                return days.astype("datetime64[M]").view(np.int64)
            case Frequency.QUARTERLY:
                return days.astype("datetime64[M]").view(np.int64) // 3
            case Frequency.YEARLY:
                return days.astype("datetime64[Y]").view(np.int64)
            case Frequency.ONCE:
                return np.zeros(len(days), dtype=np.int64)

    def due(self, reviewed: Dates, as_of: Dates) -> Bools:
        """Whether ``as_of`` lies in a later period than the last review; always when unknown."""
        later: Bools = np.isnat(reviewed) | (self.period(as_of) > self.period(reviewed))
        return later

    def reviews(self, dates: Dates) -> Bools:
        """Rows of a history at which a portfolio that was reviewed at row 0 is due, row 0 too."""
        periods = self.period(dates)
        first = np.empty(len(dates), dtype=bool)
        first[0] = True
        first[1:] = periods[1:] > periods[:-1]
        return first


@attrs.frozen(eq=False)
class Decision:
    """What B portfolios should hold, and when a deviation is worth a trade.

    Attributes:
        targets: (B, K) weights, each >= 0, rows sum to at most 1; the rest should be cash.
        due: (B,) whether the policy looks at the portfolio today.
        band: (B, K) half-width around the target within which an asset is left alone; None: every
            asset goes to its target.
        cash_band: (B,) the same for cash; None with ``band``.
        landing: Where an asset outside its band lands, as a share of the half-width: 0 is the
            target, 1 the band's edge; one for all, or (B,) one a portfolio.
        informed: (B,) whether there was history enough; where not, the strategic targets hold by
            the monthly rule.
    """

    targets: Floats
    due: Bools
    band: Floats | None = None
    cash_band: Floats | None = None
    landing: float | Floats = 0.0
    informed: Bools | None = None

    def only(self, rows: Rows) -> Decision:
        """The decision for some of the portfolios."""
        return Decision(
            targets=self.targets[rows],
            due=self.due[rows],
            band=None if self.band is None else self.band[rows],
            cash_band=None if self.cash_band is None else self.cash_band[rows],
            landing=self.landing if isinstance(self.landing, float) else self.landing[rows],
            informed=None if self.informed is None else self.informed[rows],
        )


class Policy(Protocol):
    """A way to rebalance, for any universe of assets.

    A policy is law-abiding: its targets are feasible, the same input gives the same decision, the
    currency unit and the order of assets do not matter, and it sees nothing after the last close.
    """

    @property
    def name(self) -> str:
        """How it was asked for, parameters included: ``volatility_target:target=0.1``."""

    @property
    def lookback(self) -> int:
        """Closes that it needs, the last included; 1 when it looks at none.

        A policy that looks at no prices judges by the book alone, so that a backtest may ask it
        about many days at once.
        """

    @property
    def frequency(self) -> Frequency:
        """How often it looks."""

    def decide(self, book: Book, market: PriceHistory) -> Decision:
        """Decide for each portfolio; ``market`` ends at the close at which the book stands."""

    def remarks(self, decision: Decision, book: Book, market: PriceHistory, row: int) -> list[str]:
        """What a person should know of the decision for one portfolio, in plain language."""


@runtime_checkable
class Identified(Protocol):
    """A policy whose name does not say all of it: other weights may serve under the same name."""

    @property
    def identity(self) -> str:
        """What decides, exactly: equal ones give equal decisions for ever."""


def identity(policy: Policy) -> str:
    """What a policy's decisions follow from, beside what it is shown."""
    return policy.identity if isinstance(policy, Identified) else policy.name
