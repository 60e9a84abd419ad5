"""Protocol of policies, and the decisions they return."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, Self, runtime_checkable

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows
from rebalancer.domain.market.frequency import ObservationFrequency
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.book import Book


class Frequency(StrEnum):
    """Review schedule: the first trading day of each calendar period."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    YEARLY = "yearly"
    ONCE = "once"

    def period(self, days: Dates) -> NDArray[np.int64]:
        """Return the number of each day's calendar period; weeks begin on Monday."""
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
        """Return whether a portfolio is due: a period began since its last review, if any."""
        later: Bools = np.isnat(reviewed) | (self.period(as_of) > self.period(reviewed))
        return later

    def reviews(self, dates: Dates) -> Bools:
        """Return which days are review dates, beginning with the first day."""
        periods = self.period(dates)
        first = np.empty(len(dates), dtype=bool)
        first[0] = True
        first[1:] = periods[1:] > periods[:-1]
        return first


@attrs.frozen(eq=False)
class Decision:
    """Target weights of B portfolios, and the deviations that justify a trade.

    Attributes:
        targets: (B, K) weights, each >= 0, rows sum to at most 1; the rest should be cash.
        due: (B,) whether today is a review date.
        band: (B, K) half-width around the target within which an asset is not traded; None to
            trade every asset to its target.
        cash_band: (B,) the same for cash; None with ``band``.
        landing: Where an asset outside its band goes, as a share of the half-width: 0 is the
            target, 1 the band's edge; one value for all, or (B,).
        most_turnover: (B,) most one-way turnover of the policy's own trades, a fraction of value;
            cash flows and limits may add to it. None: unlimited.
        informed: (B,) whether history was long enough; otherwise the monthly rule applies to the
            strategic targets. None means everywhere.
    """

    targets: Floats
    due: Bools
    band: Floats | None = None
    cash_band: Floats | None = None
    landing: float | Floats = 0.0
    informed: Bools | None = None
    most_turnover: Floats | None = None

    def only(self, rows: Rows) -> Self:
        """Return the decision for some of the portfolios."""
        values = {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}
        return type(self)(
            **{name: v[rows] if isinstance(v, np.ndarray) else v for name, v in values.items()}
        )


class Policy(Protocol):
    """A policy for rebalancing portfolios of any universe of assets.

    Its targets are feasible, equal inputs give equal decisions, the currency unit, the order of
    assets and other portfolios of the book have no effect, and it uses no price after the last
    close.
    """

    @property
    def name(self) -> str:
        """Text by which it was requested, such as ``volatility_target:target=0.1``."""

    @property
    def lookback(self) -> int:
        """Number of closes it needs, the last included; 1 if it uses no prices.

        A policy that uses no prices depends on the book alone, so a backtest may evaluate many
        days at once.
        """

    @property
    def frequency(self) -> Frequency:
        """Review schedule."""

    def decide(self, book: Book, market: PriceHistory) -> Decision:
        """Decide for each portfolio; ``market`` ends at the close of the book."""

    def remarks(self, decision: Decision, book: Book, market: PriceHistory, row: int) -> list[str]:
        """Explain the decision for one portfolio in sentences for investors."""


@runtime_checkable
class Identified(Protocol):
    """A policy whose name does not determine its decisions, as its weights may change."""

    @property
    def identity(self) -> str:
        """Identifier of the decisions: equal identities always decide equally."""


@runtime_checkable
class LooksBack(Protocol):
    """A policy that needs a number of closes in its look-back."""

    def suits(self, frequency: ObservationFrequency) -> bool:
        """Return whether its look-back holds enough closes; otherwise a simpler rule decides."""


def identity(policy: Policy) -> str:
    """Return what determines a policy's decisions, apart from its inputs."""
    return policy.identity if isinstance(policy, Identified) else policy.name
