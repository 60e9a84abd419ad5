"""Fundamentals of Yahoo need a cookie and a crumb: no fault of either is remembered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest

from rebalancer.adapters.market_data.providers.yahoo import Yahoo
from rebalancer.application.ports.providers import (
    Garbled,
    ProviderFault,
    Refused,
    Throttled,
    UnknownSymbol,
    Unreachable,
)
from tests.internet import Internet, Reply, environment

COOKIE_HOST, CRUMB_HOST = "fc.yahoo.com", "query1.finance.yahoo.com"
SUMMARY = {
    "summaryDetail": {"trailingPE": {"raw": 20.5, "fmt": "20.50"}, "beta": {}},
    "assetProfile": {"sector": "Technology"},
    "price": {"currency": "USD"},
}
PAGE = Reply(200, "<html><body>Before you continue</body></html>", {"content-type": "text/html"})


@attrs.define
class FactServers:
    """Servers that give a cookie and a crumb, and want both.

    Attributes:
        number: Of the current cookie and crumb; a higher one makes earlier ones invalid.
        instead: Answers in place of the right ones, by host or path.
    """

    number: int = 1
    instead: dict[str, Reply] = attrs.field(factory=dict)

    def __call__(self, request):
        for part, reply in self.instead.items():
            if part in (request.host, request.path):
                return reply
        if request.host == COOKIE_HOST:
            cookie = f"A3=cookie-{self.number}; Domain=.yahoo.com; Path=/; Secure"
            return Reply(404, "", {"set-cookie": cookie, "content-type": "text/html"})
        if f"A3=cookie-{self.number}" not in request.headers.get("cookie", ""):
            return Reply(401, '{"finance": {"error": {"description": "Invalid Cookie"}}}')
        if request.path == "/v1/test/getcrumb":
            return Reply(200, f"crumb.{self.number}", {"content-type": "text/plain"})
        if request.parameter("crumb") != f"crumb.{self.number}":
            return Reply(401, '{"finance": {"error": {"description": "Invalid Crumb"}}}')
        if not request.path.endswith("/ABC"):
            error = {"code": "Not Found", "description": "Quote not found"}
            return Reply(404, json.dumps({"quoteSummary": {"result": None, "error": error}}))
        return Reply(body=json.dumps({"quoteSummary": {"result": [SUMMARY], "error": None}}))


SUMMARY_PATH = "/v10/finance/quoteSummary/ABC"


@pytest.fixture
def servers():
    return FactServers()


@pytest.fixture
def internet(servers, tmp_path):
    hosts = (COOKIE_HOST, CRUMB_HOST, "query2.finance.yahoo.com")
    with (
        Internet(dict.fromkeys(hosts, servers)) as running,
        environment(running.environment(tmp_path)),
    ):
        yield running


@pytest.fixture
def yahoo(internet):
    provider = Yahoo(timeout=60.0)
    yield provider
    provider.close()


def paths(internet):
    return [one.path for one in internet.requests()]


def test_figures_and_texts_are_read(yahoo, internet):
    facts = yahoo.facts("ABC")
    assert facts.figures == {"price_to_earnings": 20.5}
    assert facts.texts == {"sector": "Technology", "currency": "USD"}
    assert len(internet.requests()) == 3
    yahoo.facts("ABC")
    assert len(internet.requests()) == 4  # the cookie and the crumb are still valid


def test_an_unknown_symbol_takes_one_request_and_keeps_the_crumb(yahoo, internet):
    yahoo.facts("ABC")
    internet.forget()
    with pytest.raises(UnknownSymbol):
        yahoo.facts("NOSUCH")
    yahoo.facts("ABC")
    assert len(internet.requests()) == 2


def test_an_expired_crumb_is_renewed(yahoo, internet, servers):
    yahoo.facts("ABC")
    servers.number = 2
    internet.forget()
    assert yahoo.facts("ABC").figures
    assert len(internet.requests()) == 4  # one more than with a valid crumb and a new one


@pytest.mark.parametrize("part", [COOKIE_HOST, "/v1/test/getcrumb", SUMMARY_PATH])
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(429, "Too Many Requests"), Throttled),
        (Reply(503, "busy"), Unreachable),
        (Reply(hang_up=True), Unreachable),
        (Reply(200, "x" * 500, cut_after=100), Unreachable),
    ],
)
def test_a_fault_at_any_step_has_its_name_and_is_forgotten(
    yahoo, internet, servers, part, reply, expected
):
    servers.instead = {part: reply}
    with pytest.raises(ProviderFault) as raised:
        yahoo.facts("ABC")
    assert isinstance(raised.value, expected)
    assert len(internet.requests()) <= 3
    servers.instead = {}
    assert yahoo.facts("ABC").figures


@pytest.mark.parametrize("part", ["/v1/test/getcrumb", SUMMARY_PATH])
@pytest.mark.parametrize(
    "reply",
    [
        PAGE,
        Reply(200, ""),
        Reply(302, "", {"location": "https://query2.finance.yahoo.com/page"}),
        Reply(200, '{"quoteSummary": {"result": [{"summaryDe'),
        Reply(200, '{"quoteSummary": {"result": null, "error": null}}'),
    ],
)
def test_a_page_in_place_of_an_answer_is_garbled_and_forgotten(
    yahoo, internet, servers, part, reply
):
    servers.instead = {part: reply, "/page": PAGE}
    with pytest.raises(Garbled):
        yahoo.facts("ABC")
    assert len(internet.requests()) <= 4
    servers.instead = {}
    assert yahoo.facts("ABC").figures


def test_a_text_in_place_of_a_crumb_throttles(yahoo, internet, servers):
    servers.instead = {"/v1/test/getcrumb": Reply(200, "Too Many Requests")}
    with pytest.raises(Throttled):
        yahoo.facts("ABC")
    assert len(internet.requests()) == 2


def test_a_refusal_that_lasts_takes_no_further_request(yahoo, internet, servers):
    servers.instead = {SUMMARY_PATH: Reply(403, "")}
    with pytest.raises(Refused):
        yahoo.facts("ABC")
    assert paths(internet)[1:] == ["/v1/test/getcrumb", SUMMARY_PATH]


def test_a_closed_provider_starts_afresh(yahoo, internet):
    yahoo.facts("ABC")
    yahoo.close()
    internet.forget()
    assert yahoo.facts("ABC").figures
    assert len(internet.requests()) == 3


def test_threads_obtain_one_crumb(yahoo, internet):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: yahoo.facts("ABC").figures, range(32)))
    assert found == [{"price_to_earnings": 20.5}] * 32
    assert paths(internet).count("/v1/test/getcrumb") == 1


def test_no_file_is_written_and_nothing_is_loaded_before_the_first_request(internet, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    program = (
        "import sys\n"
        "from rebalancer.adapters.market_data.providers.registry import REMOTE_PROVIDERS\n"
        "provider = REMOTE_PROVIDERS['yahoo'].create('')\n"
        "late = {'yfinance', 'curl_cffi', 'pandas', 'httpx', 'peewee'}\n"
        "assert not late & set(sys.modules), late & set(sys.modules)\n"
        "assert provider.facts('ABC').figures\n"
        "provider.close()\n"
    )
    folders = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), str(home))
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | internet.environment(tmp_path) | folders,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(home.rglob("*")) == []
