"""Requests to an ASGI application in this process, whose answers may be endless."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import attrs
import httpx

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
Message = MutableMapping[str, Any]


@attrs.frozen
class InProcessTransport(httpx.AsyncBaseTransport):
    """Calls an application as if a browser at an address had sent the request.

    Unlike `httpx.ASGITransport`, it passes parts of an answer on as they come, and signals to the
    application when its client is gone.

    Attributes:
        app: The application.
        client: Address and port of the browser.
    """

    app: Asgi
    client: tuple[str, int]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; see `httpx.AsyncBaseTransport`."""
        body = await request.aread()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.partition(b"?")[0],
            "query_string": request.url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "server": (request.url.host, request.url.port),
            "client": self.client,
            "state": {},
        }
        messages: asyncio.Queue[Message | BaseException | None] = asyncio.Queue(maxsize=16)
        gone = asyncio.Event()
        sent = False

        async def receive() -> Message:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def run() -> None:
            try:
                await self.app(scope, receive, messages.put)
                await messages.put(None)
            except Exception as error:
                await messages.put(error)

        task = asyncio.create_task(run())
        start = await messages.get()
        if not isinstance(start, MutableMapping):
            raise httpx.ReadError("the application gave no answer", request=request) from start
        return httpx.Response(
            start["status"],
            headers=list(start.get("headers", ())),
            stream=_Body(messages, gone, task),
            request=request,
        )


@attrs.frozen
class _Body(httpx.AsyncByteStream):
    """The body of an answer, part by part."""

    messages: asyncio.Queue[Message | BaseException | None]
    gone: asyncio.Event
    task: asyncio.Task[None]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            message = await self.messages.get()
            if isinstance(message, BaseException):
                raise httpx.ReadError("the application failed") from message
            if message is None:
                return
            if message["type"] == "http.response.body":
                if message.get("body"):
                    yield message["body"]
                if not message.get("more_body", False):
                    return

    async def aclose(self) -> None:
        """Signal that the client is gone, and wait for its end."""
        self.gone.set()
        while not self.task.done():
            if self.messages.full():
                self.messages.get_nowait()
            await asyncio.wait([self.task], timeout=0.05)
