"""What the application asks of the outside world.

Adapters keep these promises; one contract suite a port holds every adapter to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Protocol

from rebalancer.domain.backtest.run import Backtest
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory


class PricesUnavailable(Unavailable):
    """A price provider did not answer, or answered nonsense; the message says which and what."""


class PriceSource(Protocol):
    """Daily adjusted closes, all in one currency."""

    def symbols(self) -> tuple[str, ...]:
        """Every symbol on offer, in the provider's order, each once."""

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        """Closes of ``symbols`` (all when None, else in the order asked for).

        Args:
            symbols: What is wanted.
            days: At most this many rows, counted back from the end; all when None.
            until: The last row is the last close at or before this day, at most 5 business days
                back; the last known close when None.

        Returns:
            Oldest first. A gap of at most 5 rows repeats the last close; an asset has NaN only
            before its first close. The same call gives the same answer.

        Raises:
            InvalidRequest: an unknown symbol (all of them are named), a day outside of the prices,
                or prices that are malformed: says where and how to mend it.
            PricesUnavailable: the provider did not answer.
        """


class InstrumentSource(Protocol):
    """What is known of each asset beside its prices."""

    def instruments(self) -> Instruments:
        """The whole list.

        Raises:
            InvalidRequest: the list is malformed: says where and how to mend it.
        """


class BacktestReports(Protocol):
    """Backtests as something that a person looks at."""

    def render(self, backtest: Backtest) -> str:
        """One self-contained HTML page; the same backtest gives the same text.

        Raises:
            Unavailable: what draws the plots is not installed; says how to install it.
        """
