"""Events of the streams of quotes, and the command that prints them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from rebalancer.application.live_values import LivePortfolio, LivePosition, WatchedAsset
from rebalancer.domain.market.live_quotes import LiveQuote
from rebalancer.domain.market.sessions import MarketHours
from rebalancer.domain.money import Currency
from rebalancer.entrypoints.schemas.wire import DecimalText, View, about


class TicketView(View, frozen=True, kw_only=True):
    """A ticket that opens one stream, once."""

    ticket: Annotated[str, about("Send it as the query parameter `ticket`.")]
    expires: Annotated[datetime, about("A stream must be opened before.")]


class HoursView(View, frozen=True, kw_only=True):
    """Whether a market trades now."""

    open: bool
    since: Annotated[datetime | None, about("When it has opened or closed; null if it never does.")]
    until: Annotated[datetime | None, about("When it closes or opens next; null if unknown.")]


class QuoteView(View, frozen=True, kw_only=True):
    """The last trade of an asset. It is never a close."""

    symbol: str
    price: Annotated[float, about("In the currency.")]
    currency: Annotated[str, about("ISO 4217 code.")]
    bid: float | None
    ask: float | None
    traded: Annotated[datetime, about("Time of the trade, as the provider states it.")]
    received: datetime
    age: Annotated[float, about("Seconds since the trade when this was sent.")]
    source: Annotated[str, about("Name of the provider.")]
    phase: Annotated[str | None, about("pre_market, regular, post_market or extended.")]
    change: Annotated[float | None, about("Since the last close, as a fraction of it.")]


class WatchedView(View, frozen=True, kw_only=True):
    """An asset of a stream, at its last close."""

    symbol: str
    close: float | None
    close_date: date | None
    currency: str | None
    market: Annotated[str | None, about("ISO 10383 code, or 24/7.")]
    hours: Annotated[HoursView | None, about("null if the sessions are not known.")]


class AssetsView(View, frozen=True, kw_only=True):
    """The assets of a stream."""

    live: Annotated[bool, about("Whether quotes are received at all.")]
    assets: list[WatchedView]


class LivePositionView(View, frozen=True, kw_only=True):
    """A holding at its quote, or at its last close."""

    symbol: str
    quantity: DecimalText
    price: DecimalText | None
    currency: str
    value: Annotated[DecimalText | None, about("In the portfolio's currency.")]
    value_at_close: DecimalText | None
    change: Annotated[float | None, about("Since the last close, as a fraction.")]
    priced_by: Annotated[Literal["quote", "close"] | None, about("null without a price.")]
    price_date: Annotated[date | None, about("Day of the last close.")]
    traded: Annotated[datetime | None, about("Time of the quote; null if the close counts.")]
    age: Annotated[float | None, about("Seconds since the trade when this was sent.")]
    fault: Annotated[str | None, about("Why a quote is not used, such as unit_change.")]
    hours: Annotated[HoursView | None, about("null if the sessions are not known.")]


class LivePortfolioView(View, frozen=True, kw_only=True):
    """A portfolio at quotes where they are known, and at closes elsewhere."""

    portfolio_id: UUID
    version: int
    currency: str
    live: Annotated[bool, about("Whether quotes are received at all.")]
    at: Annotated[datetime, about("When this was computed.")]
    as_of: Annotated[date | None, about("Day of the last close.")]
    value: DecimalText | None
    value_at_close: DecimalText | None
    change: Annotated[DecimalText | None, about("Since the last close.")]
    change_fraction: float | None
    positions: list[LivePositionView]
    notes: list[str]


class StreamEvent(View, frozen=True, kw_only=True):
    """A server-sent event of quotes."""

    event: Literal["assets", "quote", "portfolio"]
    id: Annotated[str, about("Number of the latest quote in it.")]
    data: Annotated[str, about("JSON: AssetsView, QuoteView or LivePortfolioView.")]


def hours_view(hours: MarketHours | None) -> HoursView | None:
    """Show whether a market is open."""
    if hours is None:
        return None
    return HoursView(open=hours.is_open, since=hours.since, until=hours.until)


def quote_view(quote: LiveQuote, asset: WatchedAsset | None, now: datetime) -> QuoteView:
    """Show a quote beside the last close of its asset."""
    close = None if asset is None else asset.close
    change = None
    if close is not None and close.currency == quote.currency:
        change = round(quote.price / close.price - 1, 8)
    return QuoteView(
        symbol=quote.symbol,
        price=quote.price,
        currency=quote.currency,
        bid=quote.bid,
        ask=quote.ask,
        traded=quote.traded,
        received=quote.received,
        age=_seconds(quote.age(now)),
        source=quote.source,
        phase=None if quote.phase is None else quote.phase.value,
        change=change,
    )


def watched_view(asset: WatchedAsset, hours: MarketHours | None) -> WatchedView:
    """Show an asset at its last close."""
    return WatchedView(
        symbol=asset.symbol,
        close=None if asset.close is None else asset.close.price,
        close_date=None if asset.close is None else asset.close.day,
        currency=None if asset.close is None else asset.close.currency,
        market=asset.market,
        hours=hours_view(hours),
    )


def live_portfolio_view(live: LivePortfolio, now: datetime, *, is_live: bool) -> LivePortfolioView:
    """Show a portfolio at quotes."""
    portfolio = live.valued.portfolio
    currency = portfolio.mandate.currency
    return LivePortfolioView.of(
        {
            "portfolio_id": portfolio.id,
            "version": portfolio.version,
            "currency": currency.code,
            "live": is_live,
            "at": now,
            "as_of": live.valued.as_of,
            "value": live.value,
            "value_at_close": live.value_at_close,
            "change": live.change,
            "change_fraction": _rounded(live.change_fraction),
            "positions": [_position(one, currency, now) for one in live.positions],
            "notes": list(live.valued.notes),
        }
    )


def _position(one: LivePosition, currency: Currency, now: datetime) -> dict[str, object]:
    change = None
    if one.value is not None and one.value_at_close:
        change = float(one.value / one.value_at_close) - 1
    return {
        "symbol": one.symbol,
        "quantity": one.quantity,
        "price": one.price,
        "currency": one.currency,
        "value": None if one.value is None else currency.round(one.value),
        "value_at_close": (
            None if one.value_at_close is None else currency.round(one.value_at_close)
        ),
        "change": _rounded(change),
        "priced_by": None if one.price is None else "close" if one.quote is None else "quote",
        "price_date": one.close_day,
        "traded": None if one.quote is None else one.quote.traded,
        "age": None if one.quote is None else _seconds(one.quote.age(now)),
        "fault": None if one.fault is None else one.fault.fault.value,
        "hours": hours_view(one.hours),
    }


def _seconds(age: timedelta) -> float:
    return round(age.total_seconds(), 1)


def _rounded(fraction: float | None) -> float | None:
    return None if fraction is None else round(fraction, 8)
