"""Providers that offer quotes, with real clients and recorded forms of their answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from rebalancer.adapters.market_data.providers.guard import GuardedProvider, Pace
from rebalancer.adapters.market_data.providers.tiingo import Tiingo
from rebalancer.adapters.market_data.providers.yahoo import Yahoo
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.ports.providers import (
    Garbled,
    Offer,
    Refused,
    Throttled,
    UnknownSymbol,
    Unreachable,
)
from rebalancer.application.provider_chain import ProviderChain
from rebalancer.domain.market.live_quotes import Tick
from tests.internet import Internet, Reply, environment

TRADED = datetime(2026, 11, 30, 15, 0, 3, tzinfo=UTC)
KEY = "planted-key-0123456789"


@pytest.fixture(scope="module")
def internet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("internet")
    with Internet({}) as running, environment(running.environment(folder)):
        yield running


@pytest.fixture
def yahoo():
    provider = Yahoo()
    yield provider
    provider.close()


@pytest.fixture
def tiingo():
    provider = Tiingo(KEY)
    yield provider
    provider.close()


def chart(**meta):
    document = {"chart": {"result": [{"meta": meta}], "error": None}}
    return lambda _: Reply(body=json.dumps(document))


def answering(internet, host, answer):
    internet.hosts = {host: answer}
    internet.forget()


YAHOO, TIINGO = "query2.finance.yahoo.com", "api.tiingo.com"


def test_yahoo_has_the_last_trade_in_its_unit(internet, yahoo):
    seconds = int(TRADED.timestamp())
    meta = {"regularMarketPrice": 70.55, "regularMarketTime": seconds, "currency": "GBp"}
    answering(internet, YAHOO, chart(**meta))
    assert yahoo.quote("VOD.L") == Tick("VOD.L", 70.55, TRADED, "yahoo", "GBp")


def test_yahoo_is_asked_for_a_rate_by_its_own_symbol(internet, yahoo):
    meta = {"regularMarketPrice": 1.0853, "regularMarketTime": 1, "currency": "USD"}
    answering(internet, YAHOO, chart(**meta))
    assert yahoo.quote("EURUSD").symbol == "EURUSD"
    assert internet.requests()[0].path.endswith("/EURUSD=X")


def test_yahoo_without_a_trade_does_not_know_the_asset(internet, yahoo):
    answering(internet, YAHOO, chart(currency="USD"))
    with pytest.raises(UnknownSymbol):
        yahoo.quote("VTI")


def test_yahoo_with_an_impossible_time_is_garbled(internet, yahoo):
    meta = {"regularMarketPrice": 1.0, "regularMarketTime": 10**15, "currency": "USD"}
    answering(internet, YAHOO, chart(**meta))
    with pytest.raises(Garbled):
        yahoo.quote("VTI")


def test_tiingo_has_the_last_trade_with_bid_and_ask(internet, tiingo):
    last = {
        "ticker": "VTI",
        "timestamp": "2026-11-30T15:00:03+00:00",
        "tngoLast": 250.5,
        "bidPrice": 250.4,
        "askPrice": None,
    }
    answering(internet, TIINGO, lambda _: Reply(body=json.dumps([last])))
    assert tiingo.quote("VTI") == Tick("VTI", 250.5, TRADED, "tiingo", "USD", 250.4)
    (request,) = internet.requests()
    assert (request.path, request.parameter("tickers")) == ("/iex/", "vti")


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (Reply(body="[]"), UnknownSymbol),
        (Reply(body='[{"timestamp": "2026-11-30T15:00:03Z", "tngoLast": null}]'), UnknownSymbol),
        (Reply(body='[{"timestamp": "soon", "tngoLast": 1.0}]'), Garbled),
        (Reply(body="<html>"), Garbled),
        (Reply(401, "{}"), Refused),
        (Reply(429, "{}"), Throttled),
        (Reply(503, ""), Unreachable),
        (Reply(hang_up=True), Unreachable),
    ],
)
def test_faults_of_tiingo_are_distinguished(internet, tiingo, reply, fault):
    answering(internet, TIINGO, lambda _: reply)
    with pytest.raises(fault):
        tiingo.quote("VTI")


def test_chain_asks_the_next_provider_and_keeps_the_pace_of_each(internet, yahoo, tiingo):
    last = [{"timestamp": "2026-11-30T15:00:03Z", "tngoLast": 250.5}]
    internet.hosts = {
        YAHOO: lambda _: Reply(404, json.dumps({"chart": {"result": None}})),
        TIINGO: lambda _: Reply(body=json.dumps(last)),
    }
    work, pace = MemoryWork(), Pace(rates=((100, 1.0),), a_day=1)
    guarded = {
        one.name: GuardedProvider(one, pace, work, lambda: TRADED) for one in (yahoo, tiingo)
    }
    chain = ProviderChain(guarded)
    assert chain.quote("VTI").source == "tiingo"
    assert [guarded[name].quota_left() for name in ("yahoo", "tiingo")] == [0, 0]


def test_provider_without_quotes_is_not_asked():
    class Bars:
        name, title, terms, offers = "bars", "Bars", "", frozenset({Offer.BARS})

    with pytest.raises(Refused, match="no provider is set up"):
        ProviderChain({"bars": Bars()}).quote("VTI")
