"""Live quotes: the latest trade of an asset, as a provider states it during the day.

A live quote is never a close. It is kept apart from bars and histories, so that no indicator,
backtest or proposal at closes can see it.
"""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from enum import StrEnum

import attrs
import numpy as np

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.bar_quality import is_not_positive
from rebalancer.domain.market.close_quality import (
    LARGE,
    is_decimal_shift,
    is_implausible,
    is_unit_change,
)
from rebalancer.domain.market.currencies import divide_quotes, quote_unit
from rebalancer.domain.market.quality import A_WEEK, count_weekdays

CLOCK_TOLERANCE = timedelta(minutes=2)
"""Time by which a trade may lie in the future: clocks of providers and of this machine differ."""


class TradingPhase(StrEnum):
    """Part of the trading day in which a provider reports a trade."""

    PRE_MARKET = "pre_market"
    REGULAR = "regular"
    POST_MARKET = "post_market"
    EXTENDED = "extended"


def _checked_time(_: object, attribute: attrs.Attribute[datetime], value: datetime) -> None:
    if value.tzinfo is None:
        raise ValueError(f"{attribute.name} needs a time zone")


@attrs.frozen
class Tick:
    """Trade as a provider reports it; its figures have not been checked.

    Attributes:
        symbol: As the provider writes it.
        price: In the quote unit.
        traded: Time of the trade, with a time zone.
        source: Name of the provider.
        unit: Currency or quote unit, such as USD or GBp; None if the report does not state it.
        bid: Best price of a buyer, in the quote unit; None if unknown.
        ask: Best price of a seller, in the quote unit; None if unknown.
        phase: Part of the trading day; None if unknown.
    """

    symbol: str
    price: float
    traded: datetime = attrs.field(validator=_checked_time)
    source: str
    unit: str | None = None
    bid: float | None = None
    ask: float | None = None
    phase: TradingPhase | None = None


def _positive(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{attribute.name} must be finite and positive, got {value}")


_OPTIONAL = attrs.validators.optional(_positive)


@attrs.frozen
class LiveQuote:
    """Latest price of one share.

    Attributes:
        symbol: The asset.
        price: In the currency, > 0.
        currency: ISO 4217 code; quote units such as pence have been converted.
        traded: Time of the trade, as the provider states it.
        received: When this deployment received it.
        source: Name of the provider.
        bid: Best price of a buyer, in the currency; None if unknown.
        ask: Best price of a seller, in the currency; None if unknown.
        phase: Part of the trading day; None if unknown.
    """

    symbol: str
    price: float = attrs.field(validator=_positive)
    currency: str
    traded: datetime = attrs.field(validator=_checked_time)
    received: datetime = attrs.field(validator=_checked_time)
    source: str
    bid: float | None = attrs.field(default=None, validator=_OPTIONAL)
    ask: float | None = attrs.field(default=None, validator=_OPTIONAL)
    phase: TradingPhase | None = None

    def age(self, now: datetime) -> timedelta:
        """Return the time since the trade; never negative."""
        return max(now - self.traded, timedelta())

    @property
    def spread(self) -> float | None:
        """Difference of ask and bid, as a fraction of their mean; None unless both are known.

        Negative where the bid is above the ask, which is an error of the provider.
        """
        if self.bid is None or self.ask is None:
            return None
        return 2 * (self.ask - self.bid) / (self.ask + self.bid)

    def replaces(self, other: LiveQuote | None) -> bool:
        """Return whether this is news after another quote: a later trade, or a later report of it.

        Reports of a provider may arrive out of order.
        """
        if other is None:
            return True
        if self.traded != other.traded:
            return self.traded > other.traded
        return self.received >= other.received and not self._tells_the_same(other)

    def _tells_the_same(self, other: LiveQuote) -> bool:
        return attrs.evolve(self, received=other.received) == other


@attrs.frozen
class PostedQuote:
    """Quote with its number on a board.

    Attributes:
        number: Larger than those of all quotes that were posted before it, of any asset.
        quote: The quote.
    """

    number: int
    quote: LiveQuote


class QuoteFault(StrEnum):
    """Why a quote is not used; stable names for programs."""

    NOT_POSITIVE = "not_positive"
    FUTURE = "future"
    STALE = "stale"
    OTHER_CURRENCY = "other_currency"
    UNIT_CHANGE = "unit_change"
    DECIMAL_SHIFT = "decimal_shift"
    IMPLAUSIBLE_MOVE = "implausible_move"
    LARGE_MOVE = "large_move"
    CROSSED = "crossed"
    WIDE_SPREAD = "wide_spread"


@attrs.frozen
class FaultyQuote:
    """Fault of a quote, and what it is in words."""

    symbol: str
    fault: QuoteFault
    text: str


@attrs.frozen
class LastClose:
    """Last close of an asset, with which its quote is compared.

    Attributes:
        price: As traded, in the currency.
        day: Its day.
        currency: ISO 4217 code.
    """

    price: float
    day: date
    currency: str


@attrs.frozen
class QuoteLimits:
    """Limits that a quote must keep to be used in a decision.

    Attributes:
        age: Time after the trade from which on the quote is stale.
        spread: Largest difference of ask and bid, as a fraction of their mean.
    """

    age: timedelta = timedelta(minutes=20)
    spread: float = 0.02


DEFAULT_LIMITS = QuoteLimits()


def read_tick(tick: Tick, *, unit: str, received: datetime) -> LiveQuote | FaultyQuote:
    """Return the quote of a reported trade, or its fault.

    A price that was sent as float32 gets the digits in which it was quoted, and is converted from
    its unit. A bid or an ask that is not a price counts as unknown.

    Args:
        tick: The report.
        unit: Unit of the asset's price if the report does not state one, see `quote_unit`.
        received: When it arrived.
    """
    if not _is_price(tick.price):
        return FaultyQuote(
            tick.symbol, QuoteFault.NOT_POSITIVE, f"{tick.price} is not a price of {tick.symbol}"
        )
    if tick.traded > received + CLOCK_TOLERANCE:
        return FaultyQuote(
            tick.symbol,
            QuoteFault.FUTURE,
            f"the trade of {tick.symbol} is dated {tick.traded:%Y-%m-%d %H:%M:%S} UTC, which is "
            "in the future; check the clock of this machine",
        )
    try:
        stated = quote_unit(tick.unit or unit)
    except InvalidRequest:
        return FaultyQuote(
            tick.symbol,
            QuoteFault.OTHER_CURRENCY,
            f"{tick.unit or unit!r} is neither a currency nor a quote unit of {tick.symbol}",
        )
    prices = [
        figure if figure is not None and _is_price(figure) else math.nan
        for figure in (tick.price, tick.bid, tick.ask)
    ]
    rounded = np.array([_round(figure) for figure in prices])
    price, bid, ask = divide_quotes(rounded[:, None], np.array([stated.divisor]))[:, 0].tolist()
    return LiveQuote(
        tick.symbol,
        price,
        stated.currency,
        tick.traded,
        received,
        tick.source,
        None if math.isnan(bid) else bid,
        None if math.isnan(ask) else ask,
        tick.phase,
    )


def find_fault(
    quote: LiveQuote, close: LastClose | None, *, now: datetime, limits: QuoteLimits
) -> FaultyQuote | None:
    """Return why a quote must not be used in a decision; None if it may.

    The rules of closes apply to the change since the last close, see
    `rebalancer.domain.market.close_quality`. A large move, of which closes only warn, is a fault
    here: no later price has confirmed it yet.

    Args:
        quote: The quote.
        close: Last close of the asset, adjusted for a split since; None if there is none, so that
            only time and spread are checked.
        now: Time of the decision.
        limits: Limits.
    """
    fault, text = _fault_of_time(quote, now, limits) or (None, "")
    if fault is None and close is not None:
        fault, text = _fault_of_change(quote, close) or (None, "")
    if fault is None:
        fault, text = _fault_of_spread(quote, limits) or (None, "")
    return None if fault is None else FaultyQuote(quote.symbol, fault, text)


_Found = tuple[QuoteFault, str] | None


def _fault_of_time(quote: LiveQuote, now: datetime, limits: QuoteLimits) -> _Found:
    if quote.traded > now + CLOCK_TOLERANCE:
        return QuoteFault.FUTURE, f"the quote of {quote.symbol} is dated in the future"
    if quote.age(now) > limits.age:
        return (
            QuoteFault.STALE,
            f"the last trade of {quote.symbol} was at {quote.traded:%Y-%m-%d %H:%M} UTC, more than "
            f"{limits.age / timedelta(minutes=1):g} minutes ago",
        )
    return None


def _fault_of_change(quote: LiveQuote, close: LastClose) -> _Found:
    if quote.currency != close.currency:
        return (
            QuoteFault.OTHER_CURRENCY,
            f"the quote of {quote.symbol} is in {quote.currency}, its closes are in "
            f"{close.currency}",
        )
    change = np.array([math.log(quote.price / close.price)])
    days = np.array([close.day, max(quote.traded.date(), close.day)], dtype="datetime64[D]")
    weekdays = np.maximum(count_weekdays(days)[1:], 1.0)
    fault = None
    if is_unit_change(change)[0]:
        fault = QuoteFault.UNIT_CHANGE
    elif is_decimal_shift(change, weekdays)[0]:
        fault = QuoteFault.DECIMAL_SHIFT
    elif is_implausible(change, weekdays)[0]:
        fault = QuoteFault.IMPLAUSIBLE_MOVE
    elif abs(change[0]) >= LARGE * math.sqrt(min(weekdays[0], A_WEEK)):
        fault = QuoteFault.LARGE_MOVE
    if fault is None:
        return None
    return (
        fault,
        f"{quote.symbol} is quoted at {quote.price:.12g} {quote.currency}, after a close of "
        f"{close.price:.12g} on {close.day}",
    )


def _fault_of_spread(quote: LiveQuote, limits: QuoteLimits) -> _Found:
    spread = quote.spread
    if spread is None:
        return None
    if spread < 0:
        return QuoteFault.CROSSED, f"the bid of {quote.symbol} is above its ask"
    if spread > limits.spread:
        return (
            QuoteFault.WIDE_SPREAD,
            f"bid and ask of {quote.symbol} are {spread:.1%} apart, more than {limits.spread:.1%}",
        )
    return None


def _is_price(figure: float) -> bool:
    return math.isfinite(figure) and not is_not_positive(np.array([figure]))[0]


def _round(figure: float) -> float:
    """Return the shortest decimal of a float32, in which a provider may have sent a price.

    A figure with more digits than a float32 has stays as it is.
    """
    with np.errstate(over="ignore", under="ignore"):
        short = np.float32(figure)
    return float(str(short)) if float(short) == figure else figure
