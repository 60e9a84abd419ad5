"""Values at live quotes, and how old they are."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

import attrs

from rebalancer_app.gateway.live import Assets, Hours, LivePortfolio, LivePosition, Quote
from rebalancer_app.gateway.portfolios import Portfolio
from rebalancer_app.model.formats import Change, Formats
from rebalancer_app.texts import Texts

FRESH = timedelta(seconds=90)
"""Age up to which a quote counts as live, while its market is open."""


class Link(StrEnum):
    """State of the connection to a stream."""

    NONE = "none"
    LIVE = "live"
    BROKEN = "broken"


@attrs.frozen
class LiveValue:
    """The value of a portfolio at quotes, for its screen.

    Attributes:
        portfolio: The portfolio with the prices and values of the quotes.
        status: How current the value is.
        change: Since the last close; None if nothing is known.
        lines: How current each holding is, by symbol.
    """

    portfolio: Portfolio
    status: str
    change: Change | None
    lines: dict[str, str]


def live_value(
    one: Portfolio,
    live: LivePortfolio | None,
    link: Link,
    formats: Formats,
    texts: Texts,
    now: datetime,
) -> LiveValue:
    """Return a portfolio at quotes; at its closes without any, or of another version."""
    at_close = texts("home.as_of", day=formats.day(one.as_of))
    if live is None or live.version != one.version or live.value is None:
        lines = {
            symbol: texts("home.as_of", day=formats.day(held.price_date))
            for symbol, held in one.holdings.items()
            if held.price_date is not None
        }
        return LiveValue(one, at_close, None, lines)
    found = {position.symbol: position for position in live.positions}
    total = live.value
    holdings = {}
    for symbol, held in one.holdings.items():
        position = found.get(symbol)
        if position is None or position.priced_by != "quote" or position.value is None:
            weight = held.weight
            value = held.value
        else:
            value = position.value
            weight = None
            held = attrs.evolve(held, price=position.price, currency=position.currency)
        if value is not None and total:
            weight = float(value / total)
        holdings[symbol] = attrs.evolve(held, value=value, weight=weight)
    words = texts("app.up"), texts("app.down"), texts("app.same")
    quoted = [one for one in live.positions if one.priced_by == "quote"]
    newest = max((one for one in quoted if one.traded is not None), key=_traded, default=None)
    if newest is None or newest.traded is None:
        status = texts("live.no_quotes", day=formats.day(one.as_of)) if live.live else at_close
    else:
        status = quote_age(newest.traded, newest.hours, formats, texts, now)
    if link is Link.BROKEN:
        status = texts("live.reconnecting", status=status)
    return LiveValue(
        attrs.evolve(one, value=total, holdings=holdings),
        status,
        formats.change(live.change_fraction, words) if quoted else None,
        {one.symbol: position_line(one, formats, texts, now) for one in live.positions},
    )


def position_line(one: LivePosition, formats: Formats, texts: Texts, now: datetime) -> str:
    """Return how current the price of a holding is."""
    if one.priced_by == "quote" and one.traded is not None:
        return quote_age(one.traded, one.hours, formats, texts, now)
    if one.fault is not None:
        return texts("live.doubted", day=formats.day(one.price_date))
    return texts("home.as_of", day=formats.day(one.price_date))


def quote_age(
    traded: datetime, hours: Hours | None, formats: Formats, texts: Texts, now: datetime
) -> str:
    """Return how current a quote is: live, delayed, or of a market that has closed."""
    age = max(now - traded, timedelta())
    if hours is not None and not hours.open and hours.since is not None:
        return texts("live.closed", age=formats.age(hours.since, now))
    if age <= FRESH:
        return texts("live.live")
    if hours is not None and hours.open and age < timedelta(hours=1):
        return texts("live.delayed", minutes=round(age / timedelta(minutes=1)))
    return texts("live.traded", age=formats.age(traded, now))


@attrs.frozen
class LivePrice:
    """The price of an asset at its quote, for its screen."""

    price: str
    change: Change | None
    status: str


def live_price(
    assets: Assets | None,
    quote: Quote | None,
    link: Link,
    formats: Formats,
    texts: Texts,
    now: datetime,
) -> LivePrice | None:
    """Return the price of an asset at its quote; None without one, so that the close counts."""
    if assets is None or quote is None:
        return None
    hours = next((one.hours for one in assets.assets if one.symbol == quote.symbol), None)
    words = texts("app.up"), texts("app.down"), texts("app.same")
    status = quote_age(quote.traded, hours, formats, texts, now)
    if link is Link.BROKEN:
        status = texts("live.reconnecting", status=status)
    return LivePrice(
        formats.money(Decimal(str(round(quote.price, 6))), quote.currency),
        formats.change(quote.change, words),
        status,
    )


def _traded(one: LivePosition) -> datetime:
    assert one.traded is not None
    return one.traded
