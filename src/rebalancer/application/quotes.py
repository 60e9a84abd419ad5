"""Live quotes for decisions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

import attrs

from rebalancer.application.ports.quotes import QuoteBoard
from rebalancer.domain.market.live_quotes import (
    FaultyQuote,
    LastClose,
    LiveQuote,
    QuoteLimits,
    find_fault,
)


@attrs.frozen
class CheckedQuotes:
    """Quotes that may be used in a decision, and why others may not.

    Attributes:
        quotes: By symbol.
        faults: By symbol, of quotes that are stale or implausible.
    """

    quotes: Mapping[str, LiveQuote]
    faults: Mapping[str, FaultyQuote]


@attrs.frozen
class ReadQuotes:
    """Read the latest quotes of assets."""

    board: QuoteBoard

    def __call__(self, symbols: Collection[str]) -> dict[str, LiveQuote]:
        """Return the latest quotes of those assets that have one, however old.

        Raises:
            Unavailable: the board cannot be reached.
        """
        return {symbol: one.quote for symbol, one in self.board.latest(symbols).items()}

    def checked(
        self,
        symbols: Collection[str],
        closes: Mapping[str, LastClose],
        *,
        now: datetime,
        limits: QuoteLimits | None = None,
    ) -> CheckedQuotes:
        """Return the quotes that may be used in a decision.

        Args:
            symbols: Assets.
            closes: Last closes with which the quotes are compared, by symbol.
            now: Time of the decision.
            limits: Limits of age and spread; None: the default ones.

        Raises:
            Unavailable: the board cannot be reached.
        """
        quotes, faults = {}, {}
        for symbol, quote in self(symbols).items():
            fault = find_fault(quote, closes.get(symbol), now=now, limits=limits or QuoteLimits())
            if fault is None:
                quotes[symbol] = quote
            else:
                faults[symbol] = fault
        return CheckedQuotes(quotes, faults)
