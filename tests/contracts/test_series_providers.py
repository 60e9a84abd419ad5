"""Every provider of economic series keeps the promises of `MarketProvider`."""

from __future__ import annotations

import json
import logging
from datetime import date

import pytest

from rebalancer.adapters.market_data.providers.ecb import EuropeanCentralBank
from rebalancer.application.ports.providers import (
    Garbled,
    ProviderFault,
    Refused,
    Throttled,
    UnknownSymbol,
    Unreachable,
)
from tests.contracts.provider_hosts import KEY, NOW, SERIES_HOSTS
from tests.internet import Internet, Reply, environment


def _series(value):
    """Return an answer of each provider with one observation."""
    rows = [{"date": "2024-01-31", "value": value, "realtime_start": "2024-02-01"}]
    answer = {
        "observations": rows,
        "seriess": [{"title": "Rate", "units": "Percent"}],
        "dataset": {
            "name": "Rate",
            "column_names": ["Date", "Percent"],
            "data": [["2024-01-31", value]],
        },
    }
    return json.dumps(answer)


@pytest.fixture(params=sorted(SERIES_HOSTS))
def host(request):
    return SERIES_HOSTS[request.param]


@pytest.fixture
def internet(host, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    hosts = dict.fromkeys(host.hosts(), host.answer)
    with Internet(hosts) as running, environment(running.environment(tmp_path)):
        yield running
    for record in caplog.records:
        assert KEY not in record.getMessage()


@pytest.fixture
def provider(host, internet):
    opened = host.provider(timeout=60.0)
    yield opened
    opened.close()


def test_observations_are_in_order_and_without_gaps_of_data(provider):
    series = provider.series("ABC/RATE", since=None)
    assert (series.id, series.title, series.unit) == ("ABC/RATE", "Rate", "Percent")
    values = [(one.day, one.value) for one in series.observations]
    assert values == [(date(2024, 1, 31), 5.25), (date(2024, 3, 31), 5.5)]
    for one in series.observations:
        assert one.known is None or one.known > one.day


def test_only_observations_from_a_day_on_are_returned(provider):
    series = provider.series("ABC/RATE", since=date(2024, 2, 1))
    assert [one.value for one in series.observations] == [5.5]


def test_an_unknown_series_is_reported(provider):
    with pytest.raises(UnknownSymbol):
        provider.series("NO/SUCH", since=None)


def test_a_wrong_key_is_refused(host, internet):
    provider = host.provider("wrong")
    with pytest.raises(Refused):
        provider.series("ABC/RATE", since=None)
    provider.close()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(500, "oops"), Unreachable),
        (Reply(429, "slow down"), Throttled),
        (Reply(200, "<html>busy</html>"), Garbled),
        (Reply(200, "{}"), Garbled),
        (Reply(200, "[]"), Garbled),
        (Reply(200, '{"observations": null, "dataset": null, "seriess": []}'), Garbled),
        (Reply(302, "", {"location": "https://example.com/"}), Garbled),
        (Reply(200, _series("NaN")), Garbled),
        (Reply(200, _series("Infinity")), Garbled),
        (Reply(200, _series("")), Garbled),
        (Reply(200, _series(True)), Garbled),
        (Reply(200, _series("5.25")[:-30]), Garbled),
        (Reply(hang_up=True), Unreachable),
    ],
)
def test_faults_have_names(provider, internet, reply, expected):
    internet.hosts = dict.fromkeys(internet.hosts, lambda _: reply)
    with pytest.raises(ProviderFault) as raised:
        provider.series("ABC/RATE", since=None)
    assert isinstance(raised.value, expected)


def test_a_late_answer_is_unreachable(host, internet):
    internet.hosts = dict.fromkeys(internet.hosts, lambda _: Reply(delay=30))
    provider = host.provider(timeout=0.5)
    with pytest.raises(Unreachable):
        provider.series("ABC/RATE", since=None)
    provider.close()


RATES = (
    "KEY,TIME_PERIOD,OBS_VALUE\r\nE,2024-03-07,1.0895\r\nE,2024-03-08,1.0932\r\nE,2024-03-11,\r\n"
)


@pytest.fixture
def bank(tmp_path):
    replies = {"default": Reply(body=RATES)}
    with (
        Internet({"data-api.ecb.europa.eu": lambda _: replies["default"]}) as running,
        environment(running.environment(tmp_path)),
    ):
        provider = EuropeanCentralBank()
        yield provider, replies, running
        provider.close()


def test_reference_rates_are_bars_of_a_rate(bank):
    provider, _, internet = bank
    bars = provider.bars("EURUSD", since=date(2024, 3, 7), now=NOW).bars
    assert bars.close.tolist() == [1.0895, 1.0932]
    (request,) = internet.requests()
    assert request.path == "/service/data/EXR/D.USD.EUR.SP00.A"
    assert request.parameter("startPeriod") == "2024-03-07"


@pytest.mark.parametrize("symbol", ["USDJPY", "VTI", "EUR"])
def test_other_symbols_are_unknown_without_a_request(bank, symbol):
    provider, _, internet = bank
    with pytest.raises(UnknownSymbol):
        provider.bars(symbol, since=None, now=NOW)
    assert internet.requests() == []


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(200, "<html>maintenance</html>"), Garbled),
        (Reply(200, ""), Garbled),
        (Reply(200, RATES.replace("1.0895", "Infinity")), Garbled),
        (Reply(200, RATES.replace("1.0895", "-1")), Garbled),
        (Reply(200, RATES.replace("2024-03-08", "2024-03-07")), Garbled),
        (Reply(200, RATES[:50]), Garbled),
        (Reply(302, "", {"location": "https://example.com/"}), Garbled),
        (Reply(404, "No results found."), UnknownSymbol),
        (Reply(503, ""), Unreachable),
    ],
)
def test_faults_of_the_bank_have_names(bank, reply, expected):
    provider, replies, _ = bank
    replies["default"] = reply
    with pytest.raises(expected):
        provider.bars("EURUSD", since=None, now=NOW)


def test_missing_newer_rates_are_not_a_fault(bank):
    provider, replies, _ = bank
    replies["default"] = Reply(200, "")
    assert len(provider.bars("EURUSD", since=date(2024, 3, 9), now=NOW).bars) == 0


def test_holidays_have_no_rate(bank):
    provider, replies, _ = bank
    replies["default"] = Reply(body=RATES.replace("1.0895", "NaN"))
    bars = provider.bars("EURUSD", since=None, now=NOW).bars
    assert bars.days.tolist() == [date(2024, 3, 8)]


def test_a_redirect_does_not_mean_that_nothing_is_new(bank):
    provider, replies, _ = bank
    replies["default"] = Reply(302, "", {"location": "https://example.com/"})
    with pytest.raises(Garbled):
        provider.bars("EURUSD", since=date(2024, 3, 9), now=NOW)
