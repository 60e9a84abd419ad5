"""The connection to the server: tokens, retries, conditional requests, what was last known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Generic, Protocol, TypeVar
from uuid import uuid4

import attrs
import httpx

from rebalancer_app.gateway.decoding import decode, encode
from rebalancer_app.gateway.problems import Offline, Problem, SignedOut

T = TypeVar("T")

MOST_KNOWN = 100
"""Answers that are remembered."""

ATTEMPTS = 3
"""Attempts at a request whose answer was lost; a write is repeated with the same key."""


class TokenSource(Protocol):
    """Access tokens of the signed-in person, refreshed in one place only."""

    async def access(self) -> str:
        """Return an access token; raise SignedOut if the session has ended."""

    async def renew(self, refused: str) -> str:
        """Return another token than the refused one; raise SignedOut if the session has ended."""


@attrs.frozen
class Endpoint(Generic[T]):
    """An operation of the server.

    Attributes:
        method: Such as ``GET``.
        path: As in the OpenAPI document, such as ``/api/portfolios/{portfolio_id}``.
        answer: Class of the answer; None if it has no body.
        body: Class of the request's body; None without one.
        query: Names of the query parameters that the client sends.
        keyed: Whether a repetition of a write can be recognised by its key.
    """

    method: str
    path: str
    answer: type[T] | None = None
    body: type[Any] | None = None
    query: tuple[str, ...] = ()
    keyed: bool = True


@attrs.frozen
class Answer(Generic[T]):
    """An answer of the server.

    Attributes:
        data: The decoded body.
        etag: Version of the resource, for a later change; None without one.
        received: When it was received from the server.
        is_old: Whether the server could not be reached, and this is an earlier answer.
    """

    data: T
    etag: str | None
    received: datetime
    is_old: bool = False


@attrs.frozen
class File:
    """A file of the server.

    Attributes:
        name: That the server suggests; empty without one.
    """

    name: str
    data: bytes


@attrs.define(eq=False, repr=False)
class Client:
    """Sends requests to one server for one person.

    Attributes:
        address: Such as ``https://example.org``.
        tokens: Of the person; None before signing in.
        transport: Carries the requests; None: the network.
        headers: Sent with each request.
    """

    address: str
    tokens: TokenSource | None = None
    transport: httpx.AsyncBaseTransport | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    timeout: float = 20.0
    pause: float = 0.3
    _http: httpx.AsyncClient = attrs.field(init=False)
    _known: dict[str, Answer[Any]] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._http = httpx.AsyncClient(
            base_url=self.address,
            transport=self.transport,
            timeout=self.timeout,
            headers=dict(self.headers),
        )

    async def call(
        self,
        endpoint: Endpoint[T],
        body: Any = None,
        *,
        key: str | None = None,
        etag: str | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        **path: Any,
    ) -> Answer[T]:
        """Send a request and return the decoded answer.

        Args:
            endpoint: The operation.
            body: Instance of the endpoint's body.
            key: Identifies a write, so that a repetition has no second effect; None: a new one.
            etag: Version on which a change is based.
            query: Query parameters; None among them are left out.
            headers: Further headers.
            path: Values for the names in the path.

        Raises:
            Problem: the server refused the request.
            SignedOut: the session has ended.
            Offline: the server cannot be reached, and the answer is not known from before.
        """
        url = endpoint.path.format(**path)
        parameters = {name: value for name, value in (query or {}).items() if value is not None}
        headers = dict(headers or {})
        if endpoint.method == "POST" and endpoint.keyed:
            headers["Idempotency-Key"] = key or str(uuid4())
        if etag is not None:
            headers["If-Match"] = etag
        name = str(httpx.URL(url, params=parameters))
        known = self._known.get(name) if endpoint.method == "GET" else None
        if known is not None and known.etag is not None:
            headers["If-None-Match"] = known.etag
        try:
            response = await self._send(endpoint.method, url, parameters, body, headers)
        except Offline:
            if known is None:
                raise
            return attrs.evolve(known, is_old=True)
        if response.status_code == 304 and known is not None:
            known = attrs.evolve(known, received=datetime.now(UTC), is_old=False)
            self._known[name] = known
            return known
        _raise_problem(response)
        decoded: Any = None
        if endpoint.answer is not None:
            decoded = decode(json.loads(response.content, parse_float=Decimal), endpoint.answer)
        answer: Answer[T] = Answer(decoded, response.headers.get("ETag"), datetime.now(UTC))
        if endpoint.method == "GET":
            self._remember(name, answer)
        return answer

    def _remember(self, name: str, answer: Answer[Any]) -> None:
        """Remember an answer for the time without a connection; the oldest one gives way."""
        self._known.pop(name, None)
        self._known[name] = answer
        if len(self._known) > MOST_KNOWN:
            self._known.pop(next(iter(self._known)))

    async def follow(self, endpoint: Endpoint[T], **path: Any) -> AsyncIterator[T]:
        """Yield the data of server-sent events until the server ends the stream.

        After an interruption it asks again, a few times.

        Raises:
            As `call`.
        """
        assert endpoint.answer is not None
        failures = 0
        while True:
            try:
                async with self.stream(endpoint, "text/event-stream", **path) as response:
                    kind = ""
                    async for line in response.aiter_lines():
                        name, _, value = line.partition(":")
                        if name == "event":
                            kind = value.strip()
                        elif name == "data":
                            failures = 0
                            yield decode(json.loads(value, parse_float=Decimal), endpoint.answer)
                            if kind == "end":
                                return
            except (httpx.TransportError, Offline) as error:
                failures += 1
                if failures == ATTEMPTS:
                    raise Offline(str(error)) from error
            await asyncio.sleep(self.pause * 2**failures)

    async def watch(
        self,
        endpoint: Endpoint[Any],
        kinds: Mapping[str, type[Any]],
        *,
        query: Mapping[str, str] | None = None,
        after: str = "",
        **path: Any,
    ) -> AsyncIterator[tuple[str, Any]]:
        """Yield the id and the data of server-sent events until the stream ends.

        Args:
            endpoint: The stream.
            kinds: Classes of the data, by names of events; others are left out.
            query: Query parameters.
            after: Id of the last event that is known; empty: none.
            path: Values for the names in the path.

        Raises:
            As `call`.
        """
        headers = {"Last-Event-ID": after} if after else {}
        async with self.stream(
            endpoint, "text/event-stream", query=query, headers=headers, **path
        ) as response:
            id = kind = ""
            try:
                async for line in response.aiter_lines():
                    name, _, value = line.partition(":")
                    value = value.strip()
                    if name == "event":
                        kind = value
                    elif name == "id":
                        id = value
                    elif name == "data" and kind in kinds:
                        yield id, decode(json.loads(value, parse_float=Decimal), kinds[kind])
            except httpx.TransportError as error:
                raise Offline(str(error)) from error

    async def download(self, endpoint: Endpoint[Any], **path: Any) -> File:
        """Return a file of the server.

        Raises:
            As `call`.
        """
        async with self.stream(endpoint, "*/*", **path) as response:
            try:
                data = await response.aread()
            except httpx.TransportError as error:
                raise Offline(str(error)) from error
        _, _, name = response.headers.get("Content-Disposition", "").partition('filename="')
        return File(name.partition('"')[0], data)

    @asynccontextmanager
    async def stream(
        self,
        endpoint: Endpoint[Any],
        accept: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **path: Any,
    ) -> AsyncIterator[httpx.Response]:
        """Open an answer whose body is read part by part.

        Raises:
            As `call`.
        """
        token = None if self.tokens is None else await self.tokens.access()
        more = query, {"Accept": accept, **(headers or {})}
        response = await self._open(endpoint, token, path, *more)
        if response.status_code == 401 and token is not None and self.tokens is not None:
            await response.aclose()
            renewed = await self.tokens.renew(token)
            response = await self._open(endpoint, renewed, path, *more)
        try:
            if not response.is_success:
                await response.aread()
                _raise_problem(response)
            yield response
        finally:
            await response.aclose()

    async def _open(
        self,
        endpoint: Endpoint[Any],
        token: str | None,
        path: Mapping[str, Any],
        query: Mapping[str, str] | None,
        headers: dict[str, str],
    ) -> httpx.Response:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        url = endpoint.path.format(**path)
        parameters = {name: path[name] for name in endpoint.query if path.get(name) is not None}
        parameters |= query or {}
        request = self._http.build_request(
            endpoint.method, url, params=parameters, headers=headers, timeout=60.0
        )
        try:
            return await self._http.send(request, stream=True)
        except httpx.TransportError as error:
            raise Offline(str(error)) from error

    async def _send(
        self,
        method: str,
        url: str,
        parameters: Mapping[str, Any],
        body: Any,
        headers: dict[str, str],
    ) -> httpx.Response:
        token = None if self.tokens is None else await self.tokens.access()
        repeatable = method != "POST" or "Idempotency-Key" in headers
        for attempt in range(ATTEMPTS):
            if token is not None:
                headers["Authorization"] = f"Bearer {token}"
            try:
                response = await self._http.request(
                    method,
                    url,
                    params=parameters,
                    json=None if body is None else encode(body),
                    headers=headers,
                )
            except httpx.TransportError as error:
                if not repeatable or attempt == ATTEMPTS - 1:
                    raise Offline(str(error)) from error
                await asyncio.sleep(self.pause * 2**attempt)
                continue
            if response.status_code == 401 and token is not None and self.tokens is not None:
                renewed = await self.tokens.renew(token)
                if renewed == token:
                    return response
                token = renewed
                continue
            if response.status_code == 503 and attempt < ATTEMPTS - 1:
                await asyncio.sleep(self.pause * 2**attempt)
                continue
            return response
        return response

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def forget(self) -> None:
        """Forget what was known of the person, at sign-out."""
        self._known.clear()


def _raise_problem(response: httpx.Response) -> None:
    """Raise the problem that an answer describes, if any."""
    if response.is_success:
        return
    try:
        document = response.json()
        if not isinstance(document, dict):
            raise ValueError
    except ValueError:
        document = {}
    extra = {
        str(fault["field"]): str(fault["message"])
        for fault in document.get("errors", ())
        if isinstance(fault, dict) and "field" in fault and "message" in fault
    }
    after = response.headers.get("Retry-After", "")
    kind = SignedOut if response.status_code == 401 else Problem
    known = {"type", "title", "status", "detail", "code", "errors", "instance"}
    raise kind(
        response.status_code,
        str(document.get("code", f"http_{response.status_code}")),
        str(document.get("detail") or document.get("title") or response.reason_phrase),
        extra,
        float(after) if after.isdigit() else None,
        {name: value for name, value in document.items() if name not in known},
    )
