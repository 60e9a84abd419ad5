"""What servers, networks and data do wrong never becomes a wrong price, and shows no key."""

from __future__ import annotations

import json
import logging
import random
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from urllib.parse import quote, quote_plus, unquote

import attrs
import pytest

from rebalancer.application.ports.providers import (
    Fetched,
    Garbled,
    Offer,
    ProviderFault,
    Refused,
    UnknownSymbol,
    Unreachable,
)
from rebalancer.domain.market.actions import ActionKind
from tests.contracts import provider_hosts
from tests.contracts.provider_hosts import CLOSES, DAYS, HOSTS, NOW, YahooHost
from tests.internet import Internet, Reply, environment

ODD_KEY = "a/b+c=d&e%f\"g'h<i"
"""A key whose form differs in URLs, JSON, HTML and messages."""

PATIENCE = 60.0
"""Seconds a server may take to answer; only a test of a late answer has a shorter limit."""

SATURDAY, HOLIDAY = date(2024, 3, 2), date(2024, 1, 1)


@pytest.fixture(params=sorted(HOSTS))
def host(request):
    return HOSTS[request.param]


@pytest.fixture(params=sorted(name for name, one in HOSTS.items() if one.takes_key))
def keyed(request, tmp_path):
    """A host that wants a key, and its internet."""
    host = HOSTS[request.param]
    with (
        Internet(dict.fromkeys(host.hosts(), host.answer)) as running,
        environment(running.environment(tmp_path)),
    ):
        yield host, running


@pytest.fixture
def internet(host, tmp_path):
    with (
        Internet(dict.fromkeys(host.hosts(), host.answer)) as running,
        environment(running.environment(tmp_path)),
    ):
        yield running


@pytest.fixture
def provider(host, internet):
    opened = host.provider(timeout=PATIENCE)
    yield opened
    opened.close()


def answer_with(internet, handler):
    internet.hosts = dict.fromkeys(internet.hosts, handler)


def fetch(provider, since=None, now=NOW):
    return provider.bars("ABC", since=since, now=now)


def fault_of(provider):
    with pytest.raises(ProviderFault) as raised:
        fetch(provider)
    return raised.value


def closes_of(provider, host, internet, rows, **options):
    answer_with(internet, lambda request: host.rows(request, rows))
    bars = fetch(provider, **options).bars
    return dict(zip(bars.days.tolist(), bars.close.tolist(), strict=True))


def test_a_server_that_does_not_answer_in_time_is_unreachable(host, internet):
    provider = host.provider(timeout=0.5)
    answer_with(internet, lambda _: Reply(delay=30))
    assert isinstance(fault_of(provider), Unreachable)  # its answer after 30 s would be garbled
    assert len(internet.requests()) <= 1  # none where a busy machine takes long to connect
    provider.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307])
def test_a_redirect_to_another_page_is_not_followed(provider, internet, status):
    consent = {"location": "https://consent.example.com/collect?lang=en"}
    answer_with(internet, lambda _: Reply(status, "", consent))
    assert isinstance(fault_of(provider), Garbled)
    with pytest.raises(Garbled):  # nor does an empty body mean that nothing is new
        fetch(provider, since=DAYS[0])
    assert len(internet.requests()) == 2


@pytest.mark.parametrize("cut", [1, 40, 200, -1])
def test_half_of_an_answer_is_garbled(provider, host, internet, cut):
    def answer(request):
        whole = host.answer(request)
        body = whole.body.encode() if isinstance(whole.body, str) else whole.body
        return attrs.evolve(whole, body=body[:cut])

    answer_with(internet, answer)
    assert isinstance(fault_of(provider), Garbled)


def test_a_proxy_that_refuses_is_unreachable(host, internet):
    internet.hosts = {}
    provider = host.provider(timeout=PATIENCE)
    assert isinstance(fault_of(provider), Unreachable)
    provider.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "http://user:hidden-password@127.0.0.1:9"),
        ("HTTPS_PROXY", "nonsense://user:hidden-password@127.0.0.1:9"),
        ("HTTPS_PROXY", "http://user:hidden-password@[bad"),
        ("SSL_CERT_FILE", "/nowhere/authority.pem"),
    ],
)
def test_settings_that_prevent_requests_make_a_provider_unreachable(
    host, internet, monkeypatch, name, value
):
    names = (
        (name, name.lower()) if "PROXY" in name else (name, "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
    )
    for one in names:
        monkeypatch.setenv(one, value)
    provider = host.provider(timeout=PATIENCE)
    fault = fault_of(provider)
    assert isinstance(fault, Unreachable)
    assert "hidden-password" not in str(fault)
    provider.close()


@pytest.mark.parametrize("wrong", [None, 0.0, -52.0, float("inf"), float("-inf"), float("nan")])
def test_a_row_without_a_price_never_becomes_one(provider, host, internet, wrong):
    rows = [(DAYS[0], 100.0), (DAYS[1], wrong), (DAYS[2], 102.0)]
    try:
        found = closes_of(provider, host, internet, rows)
    except ProviderFault as fault:
        assert isinstance(fault, Garbled)
    else:
        assert found == {DAYS[0]: 100.0, DAYS[2]: 102.0}


def test_rows_that_all_lack_a_price_are_garbled(provider, host, internet):
    answer_with(internet, lambda request: host.rows(request, [(day, None) for day in DAYS]))
    for since in (None, DAYS[0]):
        with pytest.raises(Garbled):
            fetch(provider, since=since)


def test_a_second_row_of_a_day_does_not_count(provider, host, internet):
    rows = [(DAYS[0], 100.0), (DAYS[1], 101.0), (DAYS[1], 777.0)]
    try:
        found = closes_of(provider, host, internet, rows)
    except Garbled:
        return
    if host.name != "alpha_vantage":  # its rows are members of an object, of which the last counts
        assert found == {DAYS[0]: 100.0, DAYS[1]: 101.0}


def test_days_out_of_order_are_sorted_or_refused(provider, host, internet):
    rows = [(DAYS[2], 102.0), (DAYS[0], 100.0), (DAYS[1], 101.0)]
    try:
        found = closes_of(provider, host, internet, rows)
    except Garbled:
        return
    assert found == dict(sorted(rows))


def test_rows_of_weekends_and_holidays_stay_as_they_are(provider, host, internet):
    rows = [(HOLIDAY, 99.0), (SATURDAY, 100.0), (DAYS[0], 101.0)]
    assert closes_of(provider, host, internet, rows) == dict(rows)


def test_a_price_beyond_all_bounds_is_garbled(provider, host, internet):
    answer_with(internet, lambda request: host.rows(request, [(DAYS[0], 1e15)]))
    assert isinstance(fault_of(provider), Garbled)


def test_an_asset_without_any_row_is_unknown_at_first_and_unchanged_later(provider, host, internet):
    answer_with(internet, lambda request: host.rows(request, []))
    assert isinstance(fault_of(provider), UnknownSymbol | Garbled)
    assert len(fetch(provider, since=DAYS[0]).bars) == 0


@pytest.mark.parametrize(
    "forms",
    [
        lambda key: key,
        lambda key: quote(key, safe=""),
        quote,
        quote_plus,
        lambda key: quote(key, safe="").replace("%2F", "%2f").replace("%3D", "%3d"),
        lambda key: json.dumps(key)[1:-1],
        repr,
    ],
)
def test_no_form_of_a_key_is_ever_shown(keyed, caplog, forms):
    host, internet = keyed
    caplog.set_level(logging.DEBUG)
    shown = forms(ODD_KEY)
    bodies = [
        f"You asked https://x.example.com/?apikey={shown}&q=1",
        json.dumps({"Error Message": f"no {shown}", "detail": shown, "error_message": shown}),
        json.dumps({"quandl_error": {"code": "QECx02", "message": f"not {shown}"}}),
        json.dumps({"Time Series (Daily)": {shown: {"4. close": shown}}}),
        json.dumps([{"date": shown, "close": 1.0}]),
        json.dumps({"datatable": {"columns": [{"name": "date"}], "data": [[shown]]}}),
    ]
    provider = host.provider(ODD_KEY, timeout=PATIENCE)
    texts = []
    for status in (200, 302, 400, 401, 403, 404, 429, 500):
        for body in bodies:
            answer_with(internet, lambda _, status=status, body=body: Reply(status, body))
            with pytest.raises(ProviderFault) as raised:
                fetch(provider)
            texts += [*traceback.format_exception(raised.value), repr(raised.value)]
    provider.close()
    text = "\n".join([*texts, *(record.getMessage() for record in caplog.records)])
    hidden = {ODD_KEY, quote(ODD_KEY, safe=""), quote_plus(ODD_KEY), json.dumps(ODD_KEY)[1:-1]}
    assert not [one for one in hidden if one in text or one in unquote(text)]


@pytest.mark.parametrize("key", ["with blank", "line\n", "übel", "tab\t", ""])
def test_a_key_that_cannot_be_sent_is_refused_without_a_request(keyed, key):
    host, internet = keyed
    provider = host.provider(key, timeout=PATIENCE)
    fault = fault_of(provider)
    assert isinstance(fault, Refused)
    assert not key or key not in str(fault)
    assert internet.requests() == []
    provider.close()


ODD_VALUES = (
    *(None, True, False, "", "x", "2024-13-45", "9" * 30, "1e999", "NaN", "-1"),
    *(0, -1, 1e308, 10**30, -(10**30), 0.1, [], {}, [[]], [None], {"a": {}}),
)


def mutate(answer, dice):
    """Return a decoded answer with one odd value in a random place; the answer is changed."""
    holder, key = None, None
    at = answer
    while isinstance(at, dict | list) and at and (holder is None or dice.random() < 0.9):
        holder = at
        key = dice.choice(list(at)) if isinstance(at, dict) else dice.randrange(len(at))
        at = at[key]
    if holder is None:
        return dice.choice(ODD_VALUES)
    if dice.random() < 0.2:
        del holder[key]
    else:
        holder[key] = dice.choice(ODD_VALUES)
    return answer


def test_an_odd_value_anywhere_is_a_fault_or_harmless(provider, host, internet):
    dice = random.Random(14)

    def answer(request):
        whole = host.answer(request)
        changed = mutate(json.loads(whole.body), dice)
        return attrs.evolve(whole, body=json.dumps(changed))

    answer_with(internet, answer)
    outcomes = []
    for turn in range(250):
        ask = (
            lambda: provider.bars("ABC", since=DAYS[1] if turn % 2 else None, now=NOW),  # noqa: B023
            lambda: provider.find("ABC", limit=3),
        )[turn % 5 == 0 and Offer.SEARCH in provider.offers]
        try:
            found = ask()
        except ProviderFault as fault:
            outcomes.append(type(fault))
        else:
            outcomes.append(type(found))
            if isinstance(found, Fetched):
                assert (found.bars.close > 0).all()
                assert all(action.value > 0 for action in found.actions)
            else:
                assert all(listing.symbol for listing in found)
    assert {Fetched, Garbled} <= set(outcomes)


@pytest.mark.parametrize(("hour", "last"), [(20, DAYS[-2]), (22, DAYS[-1])])
def test_a_session_is_complete_soon_after_its_end(provider, host, internet, hour, last):
    if host.name == "yahoo":  # it states the end
        begins = int(datetime(2024, 3, 8, 14, 30, tzinfo=UTC).timestamp())
        hours = {"regular": {"start": begins, "end": begins + 23_400}}

        def answer(request):
            whole = json.loads(host.answer(request).body)
            whole["chart"]["result"][0]["meta"]["currentTradingPeriod"] = hours
            return Reply(body=json.dumps(whole))

        answer_with(internet, answer)
    now = datetime(2024, 3, 8, hour, tzinfo=UTC)
    assert fetch(provider, now=now).bars.days[-1].item() == last


def test_threads_share_a_provider(provider, host, internet):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: fetch(provider), range(64)))
    assert {tuple(one.bars.close.tolist()) for one in found} == {CLOSES}
    assert {one.actions for one in found} == {found[0].actions}


@pytest.fixture
def yahoo(tmp_path):
    host = YahooHost()
    with (
        Internet(dict.fromkeys(host.hosts(), host.answer)) as internet,
        environment(internet.environment(tmp_path)),
    ):
        provider = host.provider(timeout=PATIENCE)
        yield provider, internet
        provider.close()


def chart(internet, *, days, closes, splits=(), dividends=(), headers=None, offset=-18000):
    """Let Yahoo answer with adjusted closes and events; the ratio or amount of each by day."""

    def stamp(day):
        opens = datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=14, minutes=30)
        return int(opens.timestamp())

    result = {
        "meta": {"currency": "USD", "exchangeName": "NMS", "gmtoffset": offset},
        "timestamp": [stamp(day) for day in days],
        "events": {
            "splits": {
                str(stamp(day)): {"date": stamp(day), "numerator": ratio, "denominator": 1.0}
                for day, ratio in splits
            },
            "dividends": {
                str(stamp(day)): {"date": stamp(day), "amount": amount} for day, amount in dividends
            },
        },
        "indicators": {"quote": [{"close": closes}]},
    }
    body = json.dumps({"chart": {"result": [result], "error": None}})
    answer_with(internet, lambda _: Reply(body=body, headers=headers or {}))


def test_a_dividend_on_the_day_of_a_split_counts_per_old_share(yahoo):
    provider, internet = yahoo
    chart(
        internet,
        days=DAYS[:3],
        closes=[50.0, 51.0, 52.0],
        splits=[(DAYS[1], 2.0)],
        dividends=[(DAYS[1], 0.25), (DAYS[2], 0.3)],
    )
    fetched = fetch(provider)
    assert fetched.bars.close.tolist() == [100.0, 51.0, 52.0]
    paid = {one.ex_day: one.value for one in fetched.actions if one.kind is ActionKind.DIVIDEND}
    assert paid == {DAYS[1]: Decimal("0.5"), DAYS[2]: Decimal("0.3")}


def test_a_split_to_come_changes_no_price_and_is_not_reported(yahoo):
    provider, internet = yahoo
    later = date(2024, 3, 12)
    chart(internet, days=DAYS, closes=[100.0] * 5, splits=[(later, 4.0)], dividends=[(later, 1.0)])
    fetched = fetch(provider)
    assert fetched.bars.close.tolist() == [100.0] * 5
    assert fetched.actions == ()


def test_a_split_that_prices_do_not_show_yet_changes_none(yahoo):
    provider, internet = yahoo
    closes = [100.0, 101.0, 102.0, 25.7, 25.5]  # as traded, because no figure is adjusted yet
    chart(internet, days=DAYS, closes=closes, splits=[(DAYS[3], 4.0)], dividends=[(DAYS[1], 0.4)])
    fetched = fetch(provider)
    assert fetched.bars.close.tolist() == closes
    assert [str(one.value) for one in fetched.actions] == ["0.4", "4"]


def test_a_reverse_split_is_undone(yahoo):
    provider, internet = yahoo
    chart(internet, days=DAYS[:2], closes=[10.0, 10.5], splits=[(DAYS[1], 0.1)])
    assert fetch(provider).bars.close.tolist() == [1.0, 10.5]


def test_a_fast_clock_here_does_not_close_a_session(yahoo):
    provider, internet = yahoo
    at_noon = datetime(2024, 3, 8, 17, tzinfo=UTC)
    headers = {"date": format_datetime(at_noon, usegmt=True)}
    chart(internet, days=DAYS, closes=[100.0] * 5, headers=headers)
    days = fetch(provider, now=at_noon + timedelta(days=2)).bars.days.tolist()
    assert tuple(days) == DAYS[:-1]


def test_every_fault_of_the_matrix_is_covered_for_every_provider():
    listed = {name for name in dir(provider_hosts) if name.endswith("Host") and name != "Host"}
    covered = {type(one).__name__ for one in HOSTS.values()}
    covered |= {type(one).__name__ for one in provider_hosts.SERIES_HOSTS.values()}
    assert listed == covered
