"""The ASGI application that serves the web client and the interface of the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote, urlsplit

import attrs
import flet as ft
from flet_web.fastapi.flet_app import FletApp
from flet_web.fastapi.flet_app_manager import app_manager
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from rebalancer_app.gateway import users
from rebalancer_app.gateway.client import Client
from rebalancer_app.gateway.problems import Offline, Problem
from rebalancer_app.gateway.users import Credentials
from rebalancer_app.main import start
from rebalancer_app.web.assets import Assets
from rebalancer_app.web.sessions import WebSession, WebSessions
from rebalancer_app.web.transport import Asgi, InProcessTransport

Scope = MutableMapping[str, Any]

COOKIE = "rebalancer_session"
SERVER_PATHS = ("/api", "/docs", "/health")
PAGES = ("sign-in",)

_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""CanvasKit is WebAssembly, and Flutter sets styles inline."""

_browser: ContextVar[tuple[WebSession, Client]] = ContextVar("browser")


@attrs.define(eq=False)
class WebClient:
    """Serves pages, files and the app's socket; passes the rest to the server.

    Attributes:
        server: The server's application, which is asked in this process.
        sessions: Of the browsers.
        assets: Static files.
    """

    server: Asgi
    sessions: WebSessions = attrs.field(factory=WebSessions)
    assets: Assets = attrs.field(factory=Assets)
    _pages: Starlette = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pages = Starlette(
            routes=[
                Route("/static/{version}/{name:path}", self._file),
                Route("/session", self._sign_in, methods=["POST"]),
                Route("/session", self._sign_out, methods=["DELETE"]),
                *(Route(f"/{name}", self._page, name=name) for name in PAGES),
                WebSocketRoute("/ws", self._socket),
                Route("/{path:path}", self._app),
            ]
        )

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve a request."""
        if scope["type"] == "lifespan":
            await app_manager.start()
            try:
                await self.server(scope, receive, send)
            finally:
                await app_manager.shutdown()
            return
        path = scope.get("path", "")
        if any(path == one or path.startswith(f"{one}/") for one in SERVER_PATHS):
            await self.server(scope, receive, send)
            return
        await self._pages(scope, receive, _with_headers(send))

    async def _file(self, request: Request) -> Response:
        return await asyncio.to_thread(
            self.assets.respond, request, str(request.path_params["name"])
        )

    async def _page(self, request: Request) -> Response:
        return _html(self.assets.page(request.url.path.strip("/")))

    async def _app(self, request: Request) -> Response:
        if self.sessions.find(request.cookies.get(COOKIE)) is None:
            wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/sign-in?next={quote(wanted, safe='')}", 303)
        return _html(self.assets.page("app"))

    async def _sign_in(self, request: Request) -> Response:
        """Sign in with a password; the tokens stay here."""
        refused = _refuse_foreign(request)
        if refused is not None:
            return refused
        try:
            document = await request.json()
            credentials = Credentials(str(document["email"]), str(document["password"]))
        except (ValueError, KeyError, TypeError):
            return JSONResponse({"detail": "email and password are needed"}, 400)
        client = self._client(request.scope)
        try:
            answer = await client.call(users.LOG_IN, credentials)
        except Problem as problem:
            return _problem(problem)
        except Offline:
            return JSONResponse({"code": "unreachable", "detail": "try again in a moment"}, 503)
        cookie, _ = self.sessions.open(client, answer.data)
        response = JSONResponse({"name": answer.data.user.name})
        response.set_cookie(
            COOKIE,
            cookie,
            expires=answer.data.refresh_expires,
            httponly=True,
            secure=request.url.scheme == "https",
            samesite="strict",
            path="/",
        )
        return response

    async def _sign_out(self, request: Request) -> Response:
        refused = _refuse_foreign(request)
        if refused is not None:
            return refused
        session = self.sessions.find(request.cookies.get(COOKIE))
        if session is not None:
            await session.sign_out()
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, path="/")
        return response

    async def _socket(self, socket: WebSocket) -> None:
        """Run the app for a browser that is signed in; the browser shows what it draws."""
        origin = urlsplit(socket.headers.get("origin", ""))
        session = self.sessions.find(socket.cookies.get(COOKIE))
        if session is None or origin.netloc != socket.headers.get("host"):
            await socket.close(4401)
            return
        client = self._client(socket.scope, session)
        _browser.set((session, client))
        await FletApp(
            loop=asyncio.get_running_loop(),
            executor=app_manager.executor,
            main=_run,
            before_main=None,
        ).handle(socket)

    def _client(self, scope: Scope, session: WebSession | None = None) -> Client:
        """Return a client that asks the server as the browser would."""
        passed = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in (b"x-forwarded-for", b"user-agent", b"accept-language")
        }
        peer = scope.get("client") or ("127.0.0.1", 0)
        scheme = "https" if scope.get("scheme") in ("https", "wss") else "http"
        host = dict(scope["headers"]).get(b"host", b"localhost").decode("latin-1")
        return Client(
            f"{scheme}://{host}",
            tokens=session,
            transport=InProcessTransport(self.server, (str(peer[0]), int(peer[1]))),
            headers=passed,
        )


async def _run(page: ft.Page) -> None:
    """Start the app in a new window of a browser."""
    _, client = _browser.get()
    start(page, client)


def _with_headers(send: Any) -> Any:
    async def wrapped(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message.get("headers", ()),
                (b"content-security-policy", _POLICY.encode()),
                (b"x-content-type-options", b"nosniff"),
                (b"referrer-policy", b"same-origin"),
                (b"cross-origin-opener-policy", b"same-origin"),
                (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
            ]
        await send(message)

    return wrapped


def _html(text: str) -> Response:
    return HTMLResponse(text, headers={"cache-control": "no-cache"})


def _problem(problem: Problem) -> Response:
    body = {
        "code": problem.code,
        "detail": problem.detail,
        "fields": dict(problem.fields),
        **problem.members,
    }
    headers = {} if problem.retry_after is None else {"retry-after": str(problem.retry_after)}
    return JSONResponse(body, problem.status, headers=headers)


def _refuse_foreign(request: Request) -> Response | None:
    """Refuse a request that a page of another site has made."""
    site = request.headers.get("sec-fetch-site")
    origin = urlsplit(request.headers.get("origin", ""))
    own = site in (None, "same-origin") and origin.netloc == request.headers.get("host")
    json = request.method == "DELETE" or request.headers.get("content-type", "").startswith(
        "application/json"
    )
    return None if own and json else JSONResponse({"detail": "not from this site"}, 403)


logging.getLogger("flet").setLevel(logging.WARNING)
logging.getLogger("flet_web").setLevel(logging.WARNING)
