"""The connection to the server: retries, renewed tokens, what was known, events."""

import asyncio
import json
from decimal import Decimal

import attrs
import httpx
import pytest
from fake_server import EMAIL, PASSWORD, FakeServer, Flaky
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rebalancer_app.gateway import account, rebalance, users
from rebalancer_app.gateway.client import Client, Endpoint
from rebalancer_app.gateway.problems import Offline, Problem, SignedOut
from rebalancer_app.gateway.users import Credentials
from rebalancer_app.web.transport import InProcessTransport


@attrs.frozen
class Amount:
    amount: Decimal


READ = Endpoint("GET", "/api/amount", Amount, query=("unit",))
WRITE = Endpoint("POST", "/api/amount", Amount, Amount)
WRITE_ONCE = Endpoint("POST", "/api/amount", Amount, Amount, keyed=False)
CHANGE = Endpoint("PATCH", "/api/amount", Amount, Amount)
EVENTS = Endpoint("GET", "/api/events", Amount)


@attrs.define(eq=False)
class Tokens:
    """Tokens that the server accepts in turn."""

    current: str = "old"
    renewed: int = 0
    ended: bool = False

    async def access(self):
        return self.current

    async def renew(self, refused):
        self.renewed += 1
        if self.ended:
            raise SignedOut(401, "ended", "sign in")
        self.current = "new"
        return self.current


def connect(*routes, failures=0, carried=False, tokens=None, **more):
    flaky = Flaky(InProcessTransport(Starlette(routes=list(routes)), ("::1", 1)), failures, carried)
    return Client("http://localhost", tokens, flaky, pause=0, **more)


def serve(handle, methods=("GET", "POST", "PATCH"), path="/api/amount"):
    return Route(path, handle, methods=list(methods))


def test_a_lost_answer_to_a_write_is_asked_again_under_the_same_key():
    keys = []

    async def handle(request):
        keys.append(request.headers["idempotency-key"])
        return JSONResponse(await request.json())

    async def scenario():
        client = connect(serve(handle), failures=2, carried=True)
        answer = await client.call(WRITE, Amount(Decimal("0.10")))
        assert answer.data == Amount(Decimal("0.10"))
        assert len(keys) == 3 and len(set(keys)) == 1
        await client.call(WRITE, Amount(Decimal(1)), key="mine")
        assert keys[-1] == "mine"
        await client.call(WRITE, Amount(Decimal(1)))
        assert len(set(keys)) == 3

    asyncio.run(scenario())


def test_a_write_without_a_key_is_not_repeated():
    sent = []

    async def handle(request):
        sent.append(request.headers.get("idempotency-key"))
        return JSONResponse({"amount": "1"})

    async def scenario():
        client = connect(serve(handle), failures=1, carried=True)
        with pytest.raises(Offline):
            await client.call(WRITE_ONCE, Amount(Decimal(1)))
        assert sent == [None]

    asyncio.run(scenario())


def test_three_lost_attempts_are_offline():
    async def scenario():
        client = connect(serve(lambda request: JSONResponse({})), failures=3)
        with pytest.raises(Offline):
            await client.call(READ)
        assert client.transport.failures == 0

    asyncio.run(scenario())


def test_a_refused_token_is_renewed_once():
    async def handle(request):
        ok = request.headers["authorization"] == "Bearer new"
        return JSONResponse({"amount": "1"}, 200 if ok else 401)

    async def scenario():
        tokens = Tokens()
        client = connect(serve(handle), tokens=tokens)
        await client.call(READ)
        await client.call(READ)
        assert tokens.renewed == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("ended", [False, True])
def test_a_login_that_has_ended_is_signed_out(ended):
    async def handle(request):
        return JSONResponse({"code": "token_unknown", "detail": "sign in"}, 401)

    async def scenario():
        tokens = Tokens(ended=ended)
        with pytest.raises(SignedOut):
            await connect(serve(handle), tokens=tokens).call(READ)
        assert 1 <= tokens.renewed <= 2  # it asks no more when the renewed token is the same

    asyncio.run(scenario())


def test_what_has_not_changed_is_not_sent_again():
    seen = []

    async def handle(request):
        seen.append(request.headers.get("if-none-match"))
        if seen[-1] == '"1"':
            return Response(status_code=304)
        return JSONResponse({"amount": "1.50"}, headers={"etag": '"1"'})

    async def scenario():
        client = connect(serve(handle))
        first = await client.call(READ, query={"unit": "a", "other": None})
        second = await client.call(READ, query={"unit": "a"})
        assert seen == [None, '"1"']
        assert second.data == first.data and second.received >= first.received
        await client.call(READ, query={"unit": "b"})
        client.forget()
        await client.call(READ, query={"unit": "a"})
        assert seen[2:] == [None, None]
        await client.close()

    asyncio.run(scenario())


def test_offline_the_last_answer_is_old():
    async def handle(request):
        return JSONResponse({"amount": "1"})

    async def scenario():
        client = connect(serve(handle))
        fresh = await client.call(READ)
        client.transport.failures = 3
        old = await client.call(READ)
        assert old == attrs.evolve(fresh, is_old=True)
        client.transport.failures = 3
        with pytest.raises(Offline):
            await client.call(CHANGE, Amount(Decimal(1)), etag='"1"')
        assert not (await client.call(READ)).is_old

    asyncio.run(scenario())


@pytest.mark.parametrize(("busy", "status"), [(2, 200), (3, 503)])
def test_a_busy_server_is_asked_again(busy, status):
    left = [busy]

    async def handle(request):
        left[0] -= 1
        if left[0] >= 0:
            return JSONResponse({"code": "busy"}, 503, headers={"retry-after": "1"})
        return JSONResponse({"amount": "1"})

    async def scenario():
        client = connect(serve(handle))
        if status == 200:
            assert (await client.call(READ)).data.amount == 1
            return
        with pytest.raises(Problem) as caught:
            await client.call(READ)
        assert (caught.value.status, caught.value.code, caught.value.retry_after) == (
            503,
            "busy",
            1.0,
        )

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "code", "text", "fields"),
    [
        (
            {
                "code": "invalid_request",
                "detail": "no",
                "errors": [{"field": "amount", "message": "too small"}, "odd"],
                "ticket": "t",
            },
            "invalid_request",
            "no",
            {"amount": "too small"},
        ),
        ({"title": "Bad"}, "http_400", "Bad", {}),
        ([1], "http_400", "Bad Request", {}),
        ("<html>", "http_400", "Bad Request", {}),
    ],
)
def test_refusals_become_problems(body, code, text, fields):
    async def handle(request):
        content = body if isinstance(body, str) else json.dumps(body)
        return Response(content, 400)

    async def scenario():
        with pytest.raises(Problem) as caught:
            await connect(serve(handle)).call(CHANGE, Amount(Decimal(1)), etag='"7"')
        found = caught.value
        assert (found.code, str(found), found.fields) == (code, text, fields)
        assert found.members == ({"ticket": "t"} if fields else {})

    asyncio.run(scenario())


def event(amount, kind="progress"):
    return f'event: {kind}\ndata: {{"amount": "{amount}"}}\n\n'.encode()


def test_events_are_followed_to_their_end_over_lost_connections():
    streams = [[event(1), b": still here\n\n", event(2)], [None], [event(3), event(4, "end")]]
    accepted = []

    async def handle(request):
        accepted.append(request.headers["accept"])
        parts = streams.pop(0)

        async def body():
            for part in parts:
                if part is None:
                    raise RuntimeError("gone")
                yield part

        return StreamingResponse(body(), media_type="text/event-stream")

    async def scenario():
        client = connect(serve(handle, path="/api/events"), failures=1, tokens=Tokens())
        found = [one.amount async for one in client.follow(EVENTS)]
        assert found == [1, 2, 3, 4]
        assert set(accepted) == {"text/event-stream"}

    asyncio.run(scenario())


def test_events_that_cannot_be_had_end_the_waiting():
    async def refused(request):
        return JSONResponse({"code": "job_not_found"}, 404)

    async def scenario():
        with pytest.raises(Problem):
            await anext(connect(serve(refused, path="/api/events")).follow(EVENTS))
        with pytest.raises(Offline):
            await anext(connect(failures=9).follow(EVENTS))

    asyncio.run(scenario())


def test_files_are_downloaded_with_their_name():
    async def scenario():
        server = FakeServer()
        carrier = InProcessTransport(server, ("::1", 1))
        client = Client("http://localhost", transport=carrier, pause=0)
        login = (await client.call(users.LOG_IN, Credentials(EMAIL, PASSWORD))).data

        class Renewing(Tokens):
            async def renew(self, refused):
                self.renewed += 1
                return login.access_token

        client.tokens = tokens = Renewing()
        file = await client.download(account.EXPORT)
        assert (file.name, file.data) == ("rebalancer-2026-01-02.zip", b"PK\x03\x04")
        assert tokens.renewed == 1
        with pytest.raises(Problem, match="proposal_not_found"):
            await client.download(rebalance.WORKSHEET, proposal_id="x")
        client = Client("http://localhost", transport=Flaky(carrier, 1))
        with pytest.raises(Offline):
            await client.download(account.EXPORT)

    asyncio.run(scenario())


def test_a_file_that_breaks_off_is_offline():
    async def handle(request):
        async def body():
            yield b"PK"
            raise RuntimeError("gone")

        return StreamingResponse(body())

    async def scenario():
        client = connect(serve(handle, path="/api/users/export"))
        with pytest.raises(Offline):
            await client.download(account.EXPORT)

    asyncio.run(scenario())


def test_the_network_is_the_default_carrier():
    async def scenario():
        client = Client("http://127.0.0.1:9", pause=0)  # no server listens there
        assert client.transport is None
        with pytest.raises(Offline):
            await client.call(READ)
        await client.close()

    asyncio.run(scenario())


def test_headers_go_with_each_request():
    seen = {}

    async def handle(request):
        seen.update(request.headers)
        return JSONResponse({"amount": "1"})

    async def scenario():
        client = connect(serve(handle), headers={"X-One": "1"})
        await client.call(CHANGE, Amount(Decimal(1)), etag='"7"', headers={"X-Two": "2"})
        assert (seen["x-one"], seen["x-two"], seen["if-match"]) == ("1", "2", '"7"')
        assert isinstance(client._http, httpx.AsyncClient)

    asyncio.run(scenario())
