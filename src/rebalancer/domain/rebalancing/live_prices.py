"""Prices of a proposal at quotes: which quote counts, and which assets are not traded.

A proposal at quotes measures weights and prices orders at quotes. What policies and estimates of
risk compute from returns, they compute from closes alone: a quote is never a close.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

import attrs

from rebalancer.domain.market.actions import DISTRIBUTIONS
from rebalancer.domain.market.live_quotes import (
    LastClose,
    LiveQuote,
    QuoteFault,
    QuoteLimits,
    find_fault,
)
from rebalancer.domain.market.prices import PriceHistory


class QuoteBlock(StrEnum):
    """Why an asset is not traded at quotes; the reason codes of the same names."""

    MISSING = "quote_missing"
    STALE = "quote_stale"
    IMPLAUSIBLE = "quote_implausible"
    WIDE_SPREAD = "spread_too_wide"


_BLOCKS = {
    QuoteFault.STALE: QuoteBlock.STALE,
    QuoteFault.WIDE_SPREAD: QuoteBlock.WIDE_SPREAD,
}
"""All other faults are implausible."""


@attrs.frozen
class UsedQuote:
    """Quote at which an asset is valued and traded.

    Attributes:
        symbol: The asset.
        price: Price of the trade, in the currency.
        currency: ISO 4217 code.
        traded: Time of the trade.
        source: Name of the provider.
        bid: Best price of a buyer; None if unknown.
        ask: Best price of a seller; None if unknown.
    """

    symbol: str
    price: Decimal
    currency: str
    traded: datetime
    source: str
    bid: Decimal | None = None
    ask: Decimal | None = None

    @classmethod
    def of(cls, quote: LiveQuote) -> UsedQuote:
        """Return a quote in the digits in which it was received."""
        return cls(
            quote.symbol,
            Decimal(repr(quote.price)),
            quote.currency,
            quote.traded.astimezone(UTC),
            quote.source,
            None if quote.bid is None else Decimal(repr(quote.bid)),
            None if quote.ask is None else Decimal(repr(quote.ask)),
        )

    def age(self, at: datetime) -> timedelta:
        """Return the time since the trade; never negative."""
        return max(at - self.traded, timedelta())


@attrs.frozen
class BlockedAsset:
    """Asset that is not traded at quotes; it keeps its value at its last close.

    Attributes:
        symbol: The asset.
        block: Why, for programs.
        text: Why, as a clause with the figures.
    """

    symbol: str
    block: QuoteBlock
    text: str


@attrs.frozen
class LivePrices:
    """Prices of one proposal at quotes.

    Attributes:
        at: Time of the decision, in UTC.
        day: Its day, or that of the last close if it is later.
        quotes: Quotes that count, by symbol.
        blocked: Assets without one, by symbol.
        closed: Assets whose market is closed and has had no session since their last close, which
            therefore counts, by symbol.
        max_age: Seconds after a trade from which on its quote is stale.
        expires: Until when the proposal can be accepted.
    """

    at: datetime
    day: date
    quotes: tuple[UsedQuote, ...]
    blocked: tuple[BlockedAsset, ...]
    closed: tuple[str, ...]
    max_age: float
    expires: datetime

    @property
    def oldest(self) -> timedelta | None:
        """Age of the oldest quote that counts, at the decision; None without quotes."""
        return max((quote.age(self.at) for quote in self.quotes), default=None)

    def blocked_by(self, symbol: str) -> QuoteBlock | None:
        """Return why an asset is not traded; None if it is not blocked."""
        return next((one.block for one in self.blocked if one.symbol == symbol), None)

    def apply(self, closes: PriceHistory) -> PriceHistory:
        """Return the row of these prices after closes in one currency."""
        return closes.followed_by(
            self.day,
            {quote.symbol: float(quote.price) for quote in self.quotes},
            {one.symbol: one.text for one in self.blocked},
        )

    def canonical(self) -> tuple[object, ...]:
        """Return what determines a proposal, the same for equal prices."""
        return (
            self.at.isoformat(),
            str(self.day),
            [
                (
                    quote.symbol,
                    str(quote.price.normalize()),
                    quote.currency,
                    quote.traded.isoformat(),
                    quote.source,
                    *(None if one is None else str(one.normalize()) for one in quote_sides(quote)),
                )
                for quote in self.quotes
            ],
            [(one.symbol, one.block.value, one.text) for one in self.blocked],
            list(self.closed),
        )

    def staleness(self, traded: Collection[str], now: datetime) -> str | None:
        """Explain why the quotes of the assets to trade are too old; None if they are not."""
        limit = timedelta(seconds=self.max_age)
        old = [one for one in self.quotes if one.symbol in traded and one.age(now) > limit]
        if not old:
            return None
        oldest = min(old, key=lambda one: one.traded)
        minutes = f"{self.max_age / 60:g}"
        return (
            f"the quote of {oldest.symbol} is of {oldest.traded:%Y-%m-%d %H:%M} UTC, more than "
            f"{minutes} minutes ago"
        )

    def notes(self, closes: PriceHistory) -> list[str]:
        """Write at which prices a proposal is made, as sentences."""
        found = []
        oldest = self.oldest
        if oldest is not None:
            names = ", ".join(quote.symbol for quote in self.quotes)
            found.append(
                f"Prices are quotes of {self.at:%Y-%m-%d %H:%M} UTC ({names}), "
                f"{_age_text(oldest)}; returns and risk are measured at closes up to "
                f"{closes.last_date}."
            )
        else:
            found.append(
                f"No quote counts at {self.at:%Y-%m-%d %H:%M} UTC; prices are the last closes."
            )
        by_day: dict[date, list[str]] = {}
        for symbol in self.closed:
            last = closes.last_known(symbol)
            if last is not None:
                by_day.setdefault(last[0], []).append(symbol)
        for day, symbols in sorted(by_day.items()):
            one = len(symbols) == 1
            found.append(
                f"The market of {', '.join(symbols)} is closed; {'its close' if one else 'closes'} "
                f"of {day} {'counts' if one else 'count'}."
            )
        return found


def quote_sides(quote: UsedQuote) -> tuple[Decimal | None, Decimal | None]:
    """Return bid and ask."""
    return quote.bid, quote.ask


def _age_text(age: timedelta) -> str:
    minutes = int(age / timedelta(minutes=1))
    if minutes < 1:
        return "less than a minute old"
    return f"at most {minutes + 1} minutes old"


def take_quotes(
    symbols: Iterable[str],
    closes: PriceHistory,
    quotes: Mapping[str, LiveQuote],
    closed: Collection[str],
    *,
    at: datetime,
    limits: QuoteLimits,
    valid_for: timedelta,
) -> LivePrices:
    """Decide for each asset which price counts in a proposal at quotes.

    Assets that are withheld at the last close stay so, and need no quote.

    Args:
        symbols: Held and targeted assets.
        closes: Closes in the base currency.
        quotes: Latest quotes by symbol.
        closed: Assets whose market is closed and has had no session since their last close.
        at: Time of the decision.
        limits: Limits of age and spread.
        valid_for: How long the proposal can be accepted.
    """
    at = at.astimezone(UTC)
    used, blocked, at_close = [], [], []
    day = max(at.date(), closes.last_date)
    for symbol in sorted(set(symbols)):
        if symbol not in closes.columns or symbol in closes.withheld:
            continue
        if symbol in closed:
            at_close.append(symbol)
            continue
        found = _check(symbol, closes, quotes.get(symbol), at, day, limits)
        if isinstance(found, BlockedAsset):
            blocked.append(found)
        else:
            used.append(UsedQuote.of(found))
    return LivePrices(
        at,
        day,
        tuple(used),
        tuple(blocked),
        tuple(at_close),
        limits.age.total_seconds(),
        at + valid_for,
    )


def _check(
    symbol: str,
    closes: PriceHistory,
    quote: LiveQuote | None,
    at: datetime,
    day: date,
    limits: QuoteLimits,
) -> LiveQuote | BlockedAsset:
    """Return the quote of an asset, or why it must not be used."""
    last = closes.last_known(symbol)
    if quote is None:
        since = "" if last is None else f"; its last close is of {last[0]}"
        return BlockedAsset(symbol, QuoteBlock.MISSING, f"no quote of {symbol} is known{since}")
    close = None
    if last is not None:
        close = LastClose(last[1], last[0], closes.currency_of(symbol, quote.currency))
        actions = () if closes.quotes is None else closes.quotes.actions.by_symbol.get(symbol, ())
        for action in actions:
            if last[0] < action.ex_day <= day and action.kind not in DISTRIBUTIONS:
                return BlockedAsset(
                    symbol,
                    QuoteBlock.IMPLAUSIBLE,
                    f"{symbol} has a {action.kind.value.replace('_', ' ')} on {action.ex_day}, "
                    f"after its last close of {last[0]}",
                )
    fault = find_fault(quote, close, now=at, limits=limits)
    if fault is None:
        return quote
    block = _BLOCKS.get(fault.fault, QuoteBlock.IMPLAUSIBLE)
    return BlockedAsset(symbol, block, fault.text)
