"""Every remote provider keeps the promises of `MarketProvider`, whatever its server does."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from rebalancer.application.ports.providers import (
    Garbled,
    Offer,
    ProviderFault,
    QuotaSpent,
    Refused,
    Throttled,
    UnknownSymbol,
    Unreachable,
)
from rebalancer.domain.market.actions import ActionKind
from tests.contracts.provider_hosts import (
    CLOSES,
    DAYS,
    DIVIDEND_DAY,
    HOSTS,
    KEY,
    NOW,
    SPLIT_DAY,
)
from tests.internet import Internet, Reply, environment


@pytest.fixture(params=sorted(HOSTS))
def host(request):
    return HOSTS[request.param]


@pytest.fixture
def internet(host, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    hosts = dict.fromkeys(host.hosts(), host.answer)
    with Internet(hosts) as running, environment(running.environment(tmp_path)):
        yield running
    for record in caplog.records:  # no provider's key is ever written
        assert KEY not in record.getMessage()


@pytest.fixture
def connect(host, internet):
    """Returns the adapter under test for a key; all are closed at the end."""
    opened = []

    def open_(key=KEY):
        opened.append(host.provider(key))
        return opened[-1]

    yield open_
    for provider in opened:
        provider.close()


def answer_with(internet, handler):
    internet.hosts = dict.fromkeys(internet.hosts, handler)
    internet.forget()


def fault_of(provider, symbol="ABC"):
    with pytest.raises(ProviderFault) as raised:
        provider.bars(symbol, since=None, now=NOW)
    assert KEY not in str(raised.value)
    assert provider.title in str(raised.value)
    return raised.value


def test_bars_are_as_traded_and_carry_actions(connect, internet):
    fetched = connect().bars("ABC", since=None, now=NOW)
    assert fetched.bars.symbol == "ABC"
    assert not fetched.bars.adjusted
    assert tuple(fetched.bars.days.tolist()) == DAYS
    assert tuple(fetched.bars.close.tolist()) == CLOSES
    actions = {action.kind: action for action in fetched.actions}
    assert (actions[ActionKind.SPLIT].ex_day, actions[ActionKind.SPLIT].value) == (SPLIT_DAY, 2)
    paid = actions[ActionKind.DIVIDEND]
    assert (paid.ex_day, paid.value) == (DIVIDEND_DAY, Decimal("0.5"))


def test_only_bars_from_a_day_on_are_returned(connect, internet):
    fetched = connect().bars("ABC", since=DAYS[3], now=NOW)
    assert tuple(fetched.bars.days.tolist()) == DAYS[3:]
    assert {action.ex_day for action in fetched.actions} <= set(DAYS[3:])


def test_the_same_call_gives_the_same_answer(connect, internet):
    provider = connect()
    first, second = (provider.bars("ABC", since=None, now=NOW) for _ in range(2))
    assert first.bars.close.tolist() == second.bars.close.tolist()
    assert first.actions == second.actions


def test_search_finds_by_name_and_symbol(connect, internet):
    provider = connect()
    if Offer.SEARCH not in provider.offers:
        return
    for text in ("ABC", "Alphabet Soup"):
        (found,) = provider.find(text, limit=5)
        assert (found.symbol, found.name) == ("ABC", "Alphabet Soup")
    assert list(provider.find("nothing like it", limit=5)) == []


def test_an_unknown_symbol_is_reported(connect, internet):
    assert isinstance(fault_of(connect(), symbol="NOSUCH"), UnknownSymbol)


def test_a_wrong_key_is_refused(connect, host, internet):
    if host.takes_key:
        assert isinstance(fault_of(connect("wrong")), Refused)


def test_an_exhausted_plan_is_reported(connect, host, internet):
    answer_with(internet, host.exhausted)
    assert isinstance(fault_of(connect()), Throttled | QuotaSpent | Refused)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "30"}, timedelta(seconds=30)),
        (
            {
                "retry-after": "Wed, 21 Oct 2015 07:28:45 GMT",
                "date": "Wed, 21 Oct 2015 07:28:00 GMT",  # a clock that is years behind
            },
            timedelta(seconds=45),
        ),
    ],
)
def test_throttling_states_its_end(connect, internet, headers, wait):
    answer_with(internet, lambda _: Reply(429, "slow down", headers))
    begins = datetime.now(UTC)
    fault = fault_of(connect())
    assert isinstance(fault, Throttled)
    if wait is None:
        assert fault.until is None
    else:
        assert fault.until is not None
        assert wait <= fault.until - begins <= wait + timedelta(seconds=60)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(500, "oops"), Unreachable),
        (Reply(503, "<html>busy</html>"), Unreachable),
        (Reply(200, "<html><body>Please enable JavaScript</body></html>"), Garbled),
        (Reply(200, '[{"date": "2024-03-04T00:00'), Garbled),
        (Reply(200, ""), Garbled),
        (Reply(200, "{}"), Garbled),
        (Reply(200, "null"), Garbled),
        (Reply(200, '{"a": 1, "b": [1, 2, 3]}' * 50, cut_after=100), Unreachable),
        (Reply(hang_up=True), Unreachable),
    ],
)
def test_faults_of_a_server_have_names_and_take_one_request(connect, internet, reply, expected):
    answer_with(internet, lambda _: reply)
    assert isinstance(fault_of(connect()), expected)
    assert len(internet.requests()) <= 2


def test_bars_without_figures_are_never_prices(connect, host, internet):
    answer_with(internet, host.null_bars)
    try:
        fetched = connect().bars("ABC", since=None, now=NOW)
    except ProviderFault as fault:
        assert isinstance(fault, Garbled | UnknownSymbol)
    else:
        assert len(fetched.bars) == 0


def test_an_untrusted_certificate_is_unreachable(connect, host, internet):
    internet.broken_tls = set(host.hosts())
    assert isinstance(fault_of(connect()), Unreachable)


def test_no_bad_answer_is_remembered(connect, host, internet):
    provider = connect()
    answer_with(internet, lambda _: Reply(200, "<html>consent</html>"))
    with pytest.raises(ProviderFault):
        provider.bars("ABC", since=None, now=NOW)
    answer_with(internet, host.answer)
    assert tuple(provider.bars("ABC", since=None, now=NOW).bars.close.tolist()) == CLOSES


def test_a_session_that_is_still_open_is_left_out(connect, internet):
    now = datetime(2024, 3, 8, 12, tzinfo=UTC)
    days = connect().bars("ABC", since=None, now=now).bars.days.tolist()
    assert tuple(days) == DAYS[:-1]
