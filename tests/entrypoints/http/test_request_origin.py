"""Each answer has a request id, which its log lines carry, too."""

import asyncio
import json
import logging

import pytest

from rebalancer.application.audit import current_origin
from rebalancer.domain.audit.events import Origin
from rebalancer.entrypoints.http.request_batching import RequestBatcher
from rebalancer.entrypoints.http.request_origin import note_origins
from rebalancer.entrypoints.server import JsonLines

BEHIND_A_PROXY = [(b"x-forwarded-for", b"2001:db8:1:2::3"), (b"user-agent", b"curl/8")]


def ask(path="/api/users/profile", *, headers=(), proxies=0, peer="198.51.100.7"):
    """Ask an application that returns what it sees; return its origin and its answer's id."""
    seen, sent = [], []

    async def app(scope, receive, send):
        seen.append(await asyncio.to_thread(current_origin.get))
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": list(headers)}
    scope["client"] = (peer, 1)
    asyncio.run(note_origins(app, proxies=proxies)(scope, None, send))
    return seen[0], dict(sent[0]["headers"])[b"x-request-id"].decode()


def test_requests_without_a_proxy_get_new_ids():
    origin, answered = ask(headers=[(b"x-request-id", b"forged-by-a-client")])
    assert origin.request == answered != "forged-by-a-client"
    assert (origin.via, origin.address, origin.agent) == ("http", "198.51.100.7", None)
    assert ask()[1] != ask()[1]


def test_trusted_proxy_names_the_request_and_the_address():
    headers = [*BEHIND_A_PROXY, (b"x-request-id", b"a-7.b_Z0")]
    origin, answered = ask(headers=headers, proxies=1)
    assert origin.request == answered == "a-7.b_Z0"
    assert (origin.address, origin.agent) == ("2001:db8:1:2::3", "curl/8")


@pytest.mark.parametrize(
    "id", [b"", b"short", b"a" * 65, b"a b c d e f", b"abcdefgh\n", b"\xff" * 9]
)
def test_invalid_ids_are_replaced(id):
    assert len(ask(headers=[(b"x-request-id", id)], proxies=1)[1]) == 32


@pytest.mark.parametrize("peer", ["::ffff:192.0.2.1", "192.0.2.1"])
def test_mapped_addresses_are_written_as_ipv4(peer):
    assert ask(peer=peer)[0].address == "192.0.2.1"


def test_unknown_address_is_left_out():
    assert ask(peer="testclient")[0].address is None


def test_answers_and_log_lines_of_a_request_have_its_id_and_user(api, caplog, monkeypatch):
    ada = api.register()
    lines = []
    with caplog.at_level(logging.INFO, "rebalancer.access"):
        monkeypatch.setattr(
            caplog.handler,
            "format",
            lambda record: lines.append(JsonLines().format(record)) or "",
        )
        answer = ada.get("/api/users/profile")
        refused = api.client.get("/api/users/profile")
    first, second = map(json.loads, lines)
    keys = ("method", "path", "status", "request")
    expected = ["GET", "/api/users/profile", 200, answer.headers["X-Request-ID"]]
    assert [first[key] for key in keys] == expected
    assert first["user"] == ada.get("/api/users/profile").json()["id"]
    assert (second["status"], second["request"]) == (401, refused.headers["X-Request-ID"])
    assert "user" not in second


def test_only_a_batch_of_one_request_has_its_origin():
    computed, stored = [], []

    class Handler:
        def compute(self, requests):
            computed.append((len(requests), current_origin.get().request))
            return requests

        def store(self, results):
            stored.append((len(results), current_origin.get().request))

    async def ask(batcher, name):
        current_origin.set(Origin("http", request=name))
        await batcher(Handler(), name)

    async def run():
        batcher = RequestBatcher(concurrency=1)
        await asyncio.create_task(ask(batcher, "alone"))
        await asyncio.gather(*(ask(batcher, f"request-{n}") for n in range(3)))

    asyncio.run(run())
    assert computed == stored == [(1, "alone"), (3, None)]
