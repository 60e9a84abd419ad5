"""Requests to an application in the same process."""

import asyncio

import httpx
import pytest

from rebalancer_app.web.transport import InProcessTransport

START = {"type": "http.response.start", "status": 200, "headers": [(b"x-kind", b"test")]}


def ask(app, read):
    async def scenario():
        transport = InProcessTransport(app, ("192.0.2.1", 99))
        async with httpx.AsyncClient(transport=transport, base_url="https://host:8443") as client:
            await asyncio.wait_for(read(client), 30)

    asyncio.run(scenario())


def test_the_application_sees_the_request():
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope, message=await receive())
        await send(START)
        await send({"type": "http.response.body", "body": b"done"})

    async def read(client):
        response = await client.post("/a%20b?x=1", content=b"body")
        assert (response.text, response.headers["x-kind"]) == ("done", "test")

    ask(app, read)
    assert (seen["method"], seen["path"], seen["query_string"]) == ("POST", "/a b", b"x=1")
    assert (seen["scheme"], seen["server"], seen["client"]) == (
        "https",
        ("host", 8443),
        ("192.0.2.1", 99),
    )
    assert seen["message"]["body"] == b"body"


def test_parts_arrive_before_the_end():
    reached = asyncio.Event()

    async def app(scope, receive, send):
        await send(START)
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await reached.wait()  # it goes on only when the first part was read
        await send({"type": "http.response.body", "body": b"second"})

    async def read(client):
        async with client.stream("GET", "/") as response:
            parts = []
            async for part in response.aiter_bytes():
                parts.append(part)
                reached.set()
        assert parts == [b"first", b"second"]

    ask(app, read)


def test_the_application_learns_that_its_client_is_gone():
    messages = []

    async def app(scope, receive, send):
        await receive()
        await send(START)
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        messages.append(await receive())

    async def read(client):
        async with client.stream("GET", "/") as response:
            assert await anext(response.aiter_bytes()) == b"first"

    ask(app, read)
    assert messages == [{"type": "http.disconnect"}]


def test_a_client_that_leaves_does_not_block_a_writer():
    async def app(scope, receive, send):
        await send(START)
        for _ in range(200):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async def read(client):
        async with client.stream("GET", "/"):
            pass

    ask(app, read)


def test_an_application_that_fails_is_a_lost_connection():
    async def early(scope, receive, send):
        raise RuntimeError("early")

    async def silent(scope, receive, send):
        return

    async def late(scope, receive, send):
        await send(START)
        raise RuntimeError("late")

    async def read(client):
        with pytest.raises(httpx.ReadError):
            await client.get("/")

    for app in (early, silent, late):
        ask(app, read)


def test_an_answer_may_have_no_body():
    async def app(scope, receive, send):
        await send(START | {"status": 204})

    async def read(client):
        assert (await client.get("/")).content == b""

    ask(app, read)
