"""Live values on screens: their age in words, and streams that break and resume."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import httpx
import pytest
from examples import NOW, ONE, portfolio, proposal
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from rebalancer_app.gateway import live as gateway
from rebalancer_app.gateway.client import Client
from rebalancer_app.gateway.live import (
    Assets,
    Hours,
    LivePortfolio,
    LivePosition,
    Quote,
    WatchedAsset,
)
from rebalancer_app.model.formats import Formats
from rebalancer_app.model.live import Link, live_price, live_value, position_line, quote_age
from rebalancer_app.model.portfolio import portfolio_screen
from rebalancer_app.model.proposal import execution_text, offers_quotes, proposal_screen
from rebalancer_app.texts import load_texts

FORMATS, TEXTS, GERMAN = Formats.of("en-GB"), load_texts("en"), load_texts("de")
OPEN = Hours(True, NOW - timedelta(hours=1), NOW + timedelta(hours=5))
CLOSED = Hours(False, NOW - timedelta(hours=3), NOW + timedelta(hours=15))


@pytest.mark.parametrize(
    ("seconds", "hours", "text"),
    [
        (5, OPEN, "Live"),
        (900, OPEN, "Delayed 15 min"),
        (4 * 3600, CLOSED, "Market closed 3 hours ago"),
        (5, CLOSED, "Market closed 3 hours ago"),
        (5, None, "Live"),
        (7200, None, "Last trade 2 hours ago"),
        (2 * 86400, OPEN, "Last trade 2 days ago"),
        (-5, OPEN, "Live"),
    ],
)
def test_age_of_a_quote_is_in_words(seconds, hours, text):
    assert quote_age(NOW - timedelta(seconds=seconds), hours, FORMATS, TEXTS, NOW) == text


def test_age_is_in_german():
    formats = Formats.of("de-DE")
    said = quote_age(NOW - timedelta(hours=4), CLOSED, formats, GERMAN, NOW)
    assert said == "Börse geschlossen vor 3 Stunden"
    said = quote_age(NOW - timedelta(minutes=15), OPEN, formats, GERMAN, NOW)
    assert said == "15 Min. verzögert"


def position(symbol, **more):
    found = {
        "price": Decimal("110.275"),
        "currency": "USD",
        "value": Decimal("1157.89"),
        "priced_by": "quote",
        "price_date": date(2026, 1, 2),
        "traded": NOW - timedelta(seconds=3),
        "fault": None,
        "hours": OPEN,
    }
    return LivePosition(symbol, **(found | more))


def live(one, *positions, **more):
    found = {
        "live": True,
        "as_of": one.as_of,
        "value": one.value + Decimal("105.26"),
        "change": Decimal("105.26"),
        "change_fraction": 0.07,
    }
    return LivePortfolio(ONE, one.version, positions=list(positions), **(found | more))


def shown(one, found, link=Link.LIVE):
    value = live_value(one, found, link, FORMATS, TEXTS, NOW)
    return value, portfolio_screen(value.portfolio, FORMATS, TEXTS, lines=value.lines)


def test_portfolio_shows_its_value_at_quotes():
    one = portfolio()
    symbol = next(iter(one.holdings))
    value, screen = shown(one, live(one, position(symbol)))
    assert value.status == "Live"
    assert value.change.text == "▲ +7.0%"
    assert value.portfolio.value == one.value + Decimal("105.26")
    row = next(row for row in screen.rows if row.symbol == symbol)
    assert row.line == "Live"
    assert row.value == FORMATS.money(Decimal("1157.89"), one.currency)
    weight = float(Decimal("1157.89") / value.portfolio.value)
    assert row.weight == FORMATS.percent(weight)


def test_portfolio_without_quotes_names_its_close():
    one = portfolio()
    symbol = next(iter(one.holdings))
    before, screen = shown(one, None, Link.NONE)
    assert before.status == "At the close of 2 Jan 2026" and before.change is None
    assert screen.rows[0].line == "At the close of 2 Jan 2026"
    at_close = position(symbol, priced_by="close", traded=None)
    value, _ = shown(one, live(one, at_close, change_fraction=0.0))
    assert value.status == "No live prices now; at the close of 2 Jan 2026"
    value, _ = shown(one, live(one, at_close, live=False))
    assert value.status == "At the close of 2 Jan 2026"
    assert value.change is None


def test_value_of_another_version_is_not_shown():
    one = portfolio()
    symbol = next(iter(one.holdings))
    old = live(one, position(symbol))
    value, _ = shown(portfolio(version=one.version + 1), old)
    assert value.portfolio.value == one.value


def test_doubtful_quote_leaves_the_close():
    doubted = position("X", priced_by="close", traded=None, fault="unit_change")
    said = position_line(doubted, FORMATS, TEXTS, NOW)
    assert said == "Live price is doubtful; at the close of 2 Jan 2026"


def test_broken_connection_is_shown():
    one = portfolio()
    value, _ = shown(one, live(one, position(next(iter(one.holdings)))), Link.BROKEN)
    assert value.status == "Live, reconnecting"


def test_asset_shows_its_quote():
    assets = Assets(True, [WatchedAsset("VTI", 250.0, date(2026, 1, 1), "USD", OPEN)])
    quote = Quote("VTI", 251.25, "USD", NOW - timedelta(minutes=15), 0.005)
    found = live_price(assets, quote, Link.LIVE, FORMATS, TEXTS, NOW)
    assert (found.price, found.change.text, found.status) == (
        "US$251.25",
        "▲ +0.5%",
        "Delayed 15 min",
    )
    assert live_price(assets, None, Link.LIVE, FORMATS, TEXTS, NOW) is None


def test_client_reads_events_and_continues_after_the_last_one():
    asked = []

    async def stream(request):
        asked.append((request.url.path, dict(request.query_params), dict(request.headers)))

        async def events():
            yield b': still here\n\nid: 7\nevent: assets\ndata: {"live": true, "assets": []}\n\n'
            yield b"id: 8\nevent: other\ndata: {}\n\n"
            yield (
                b'id: 9\nevent: quote\ndata: {"symbol": "VTI", "price": 1.5, "currency": "USD", '
                b'"traded": "2026-01-02T12:00:00Z", "change": null}\n\n'
            )

        return StreamingResponse(events(), media_type="text/event-stream")

    async def converse():
        app = Starlette(routes=[Route("/api/market/stream", stream)])
        client = Client("http://localhost", transport=httpx.ASGITransport(app))
        watch = client.watch(
            gateway.MARKET, gateway.MARKET_EVENTS, query={"symbols": "VTI"}, after="5"
        )
        found = [(id, data) async for id, data in watch]
        await client.close()
        return found

    (first, assets), (last, quote) = asyncio.run(converse())
    assert (first, assets) == ("7", Assets(True, []))
    assert (last, quote) == (
        "9",
        Quote("VTI", 1.5, "USD", datetime(2026, 1, 2, 12, tzinfo=UTC), None),
    )
    ((path, query, headers),) = asked
    assert (path, query) == ("/api/market/stream", {"symbols": "VTI"})
    assert headers["last-event-id"] == "5"


def test_classes_of_events_fit_what_the_server_sends():
    import msgspec

    from rebalancer.entrypoints.schemas import streams as server
    from rebalancer_app.gateway.decoding import decode

    pairs = {
        LivePortfolio: server.LivePortfolioView,
        LivePosition: server.LivePositionView,
        Assets: server.AssetsView,
        WatchedAsset: server.WatchedView,
        Quote: server.QuoteView,
        Hours: server.HoursView,
    }
    for ours, theirs in pairs.items():
        known = {field.name for field in msgspec.structs.fields(theirs)}
        assert {field.name for field in ours.__attrs_attrs__} <= known, ours
    view = server.HoursView(open=True, since=NOW, until=None)
    assert decode(msgspec.to_builtins(view), Hours) == Hours(True, NOW, None)


def test_proposal_names_its_prices():
    quotes = [
        {"symbol": "AAPL", "traded": (NOW - timedelta(minutes=4)).isoformat()},
        {"symbol": "BND", "traded": (NOW - timedelta(minutes=1)).isoformat()},
    ]
    one = proposal(live={"at": NOW.isoformat(), "quotes": quotes})
    screen = proposal_screen(one, FORMATS, TEXTS, NOW)
    assert screen.as_of == "At live prices, the oldest from 4 minutes ago"
    assert "at the quotes" in execution_text(one, FORMATS, TEXTS)
    german = proposal_screen(one, Formats.of("de-DE"), GERMAN, NOW)
    assert german.as_of == "Zu aktuellen Kursen, der älteste vor 4 Minuten"
    at_closes = proposal()
    assert "closes of 2 Jan 2026" in execution_text(at_closes, FORMATS, TEXTS)
    assert proposal_screen(at_closes, FORMATS, TEXTS, NOW).as_of == TEXTS(
        "home.as_of", day="2 Jan 2026"
    )


def test_live_prices_are_offered_where_there_are_quotes():
    one = portfolio()
    assert offers_quotes(live(one, position("AAPL")))
    assert offers_quotes(live(one))
    assert not offers_quotes(live(one, position("AAPL", priced_by="close")))
    assert not offers_quotes(live(one, live=False))
    assert not offers_quotes(None)
