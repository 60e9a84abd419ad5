"""The way in and out of a browser: answers with tokens end here, the browser gets a cookie."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any
from urllib.parse import urlsplit

import attrs
import httpx
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from rebalancer_app.gateway import account, gains, rebalance, users
from rebalancer_app.gateway.client import Client, Endpoint
from rebalancer_app.gateway.problems import Offline, Problem, SignedOut
from rebalancer_app.gateway.tokens import Tokens
from rebalancer_app.gateway.users import Credentials, Login, NewAccount
from rebalancer_app.web.sessions import WebSessions

COOKIE, DEVICE_COOKIE = "rebalancer_session", "rebalancer_device"
SECURE_PREFIX = "__Host-"
"""Browsers accept a cookie with this prefix only over TLS, and from this host alone."""

DEVICE_HEADER = "Device-Token"
_TEN_YEARS = 10 * 365 * 24 * 3600

WAYS: Mapping[str, Endpoint[Any]] = {
    "password": users.LOG_IN,
    "second-factor": users.SECOND_FACTOR,
    "passkey": users.PASSKEY_LOGIN,
    "new-passkey": users.REGISTER_WITH_PASSKEY,
}
"""Ways to sign in, by the last part of their path."""

PERSONAL: Mapping[str, Endpoint[Any]] = {
    "passkey-options": users.PASSKEY_OPTIONS,
    "passkey": users.ADD_PASSKEY,
    "confirm": users.REAUTHENTICATE,
}
"""What pages with scripts do for a signed-in person, because it needs the browser itself."""

FILES: Mapping[str, Endpoint[Any]] = {
    "/session/own/export": account.EXPORT,
    "/session/own/worksheet/{proposal_id:uuid}": rebalance.WORKSHEET,
    "/session/own/gains/{portfolio_id:uuid}/{method}.{format}": gains.TABLE,
}
"""Files that a browser saves, by path."""

_OF_FILES = ("content-type", "content-disposition")


@attrs.frozen
class Entrance:
    """Routes of signing in and out.

    Attributes:
        sessions: Of the browsers.
        connect: Makes a client for the browser of a request, signed in with a session.
        guest: Public account for looking around; None without one.
    """

    sessions: WebSessions
    connect: Callable[[Request, Tokens | None], Client]
    guest: Credentials | None = None

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route("/session", self.sign_out, methods=["DELETE"]),
            *(
                [Route("/session/in/guest", self.sign_in_guest, methods=["POST"])]
                * bool(self.guest)
            ),
            Route("/session/in/{way}", self.sign_in, methods=["POST"]),
            Route("/session/own/{name}", self.act, methods=["POST"]),
            *(Route(path, self._saver(FILES[path]), methods=["GET"]) for path in FILES),
        ]

    async def sign_in(self, request: Request) -> Response:
        """Sign in; the tokens stay here."""
        endpoint = WAYS.get(str(request.path_params["way"]))
        body = await _read(request)
        if endpoint is None or body is None:
            return _refused(request)
        return await self._enter(request, endpoint, body)

    async def sign_in_guest(self, request: Request) -> Response:
        """Sign in to the account for looking around."""
        if await _read(request) is None:
            return _refused(request)
        return await self._enter(request, users.LOG_IN, self.guest)

    async def _enter(self, request: Request, endpoint: Endpoint[Any], body: Any) -> Response:
        client = self.connect(request, None)
        device = read_cookie(request, DEVICE_COOKIE)
        headers = {DEVICE_HEADER: device} if device else {}
        try:
            answer = await client.call(endpoint, body, headers=headers)
        except Problem as problem:
            return problem_response(problem)
        except Offline:
            return _unreachable()
        login: Login = answer.data
        cookie, _ = self.sessions.open(client, login)
        shown: dict[str, Any] = {"name": login.user.name}
        if isinstance(login, NewAccount):
            shown["recovery_codes"] = login.recovery_codes
        response = JSONResponse(shown)
        secure = is_secure(request)
        prefix = SECURE_PREFIX if secure else ""
        common: dict[str, Any] = {"httponly": True, "secure": secure, "path": "/"}
        # Lax: a link in a mail opens the app signed in; requests of other sites are refused anyway.
        response.set_cookie(
            prefix + COOKIE, cookie, expires=login.refresh_expires, samesite="lax", **common
        )
        if login.device_token is not None:
            response.set_cookie(
                prefix + DEVICE_COOKIE,
                login.device_token,
                max_age=_TEN_YEARS,
                samesite="strict",
                **common,
            )
        return response

    async def act(self, request: Request) -> Response:
        """Do something for the signed-in person."""
        endpoint = PERSONAL.get(str(request.path_params["name"]))
        body = await _read(request)
        session = self.sessions.find(read_cookie(request, COOKIE))
        if endpoint is None or body is None:
            return _refused(request)
        if session is None:
            return JSONResponse({"code": "signed_out", "detail": "sign in first"}, 401)
        try:
            answer = await self.connect(request, session).call(endpoint, body or None)
        except Problem as problem:
            return problem_response(problem)
        except Offline:
            return _unreachable()
        return JSONResponse(answer.data if answer.data is not None else {})

    def _saver(self, endpoint: Endpoint[Any]) -> Callable[[Request], Awaitable[Response]]:
        async def save(request: Request) -> Response:
            return await self._save(request, endpoint)

        return save

    async def _save(self, request: Request, endpoint: Endpoint[Any]) -> Response:
        """Pass on a file of the server, part by part."""
        if request.headers.get("sec-fetch-site") not in (None, "same-origin", "none"):
            return _refused(request)
        session = self.sessions.find(read_cookie(request, COOKIE))
        if session is None:
            return RedirectResponse("/sign-in", 303)
        client = self.connect(request, session)
        async with AsyncExitStack() as stack:
            try:
                found = await stack.enter_async_context(
                    client.stream(endpoint, "*/*", **request.path_params)
                )
            except SignedOut:
                return RedirectResponse("/sign-in", 303)
            except Problem as problem:
                if problem.code == "reauthentication_required":
                    return RedirectResponse("/confirm?next=/settings/data", 303)
                return problem_response(problem)
            except Offline:
                return _unreachable()
            headers = {name: found.headers[name] for name in _OF_FILES if name in found.headers}
            return StreamingResponse(
                _parts(found, stack.pop_all()), headers=headers | {"cache-control": "no-store"}
            )

    async def sign_out(self, request: Request) -> Response:
        """End the session of the browser."""
        if not is_own(request):
            return _refused(request)
        session = self.sessions.find(read_cookie(request, COOKIE))
        if session is not None:
            with suppress(Problem, Offline):  # the session has ended at the server already
                await session.sign_out()
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
        response.delete_cookie(
            SECURE_PREFIX + COOKIE, path="/", secure=True, httponly=True, samesite="lax"
        )
        return response


async def _parts(found: httpx.Response, stack: AsyncExitStack) -> AsyncIterator[bytes]:
    """Yield the body of an answer, and close it at the end or when the browser is gone."""
    async with stack:
        async for part in found.aiter_bytes():
            yield part


def is_secure(request: Request) -> bool:
    """Return whether the browser uses TLS, which may end at a proxy; its origin shows that."""
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https:")


def read_cookie(connection: HTTPConnection, name: str) -> str | None:
    """Return a cookie of this client; one that was set over TLS has precedence."""
    return connection.cookies.get(SECURE_PREFIX + name) or connection.cookies.get(name)


def problem_response(problem: Problem) -> Response:
    """Return a problem of the server for a page of this client."""
    body = {
        "code": problem.code,
        "detail": problem.detail,
        "fields": dict(problem.fields),
        **problem.members,
    }
    after = problem.retry_after
    headers = {} if after is None else {"retry-after": f"{after:.0f}"}
    return JSONResponse(body, problem.status, headers=headers)


def is_own(request: Request) -> bool:
    """Return whether a page of this site has made a request."""
    site = request.headers.get("sec-fetch-site")
    origin = urlsplit(request.headers.get("origin", ""))
    return site in (None, "same-origin") and origin.netloc == request.headers.get("host")


async def _read(request: Request) -> dict[str, Any] | None:
    """Return the body of a request of an own page; None if it is not one."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if not is_own(request) or kind != "application/json":
        return None
    try:
        body = await request.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _refused(request: Request) -> Response:
    status = 400 if is_own(request) else 403
    return JSONResponse({"code": "refused", "detail": "this request is not understood"}, status)


def _unreachable() -> Response:
    return JSONResponse(
        {"code": "unreachable", "detail": "the server cannot be reached; try again"}, 503
    )
