"""The ASGI application that serves the web client and the interface of the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import attrs
import flet as ft
from flet_web.fastapi.flet_app import FletApp
from flet_web.fastapi.flet_app_manager import app_manager
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from rebalancer_app.gateway.client import Client
from rebalancer_app.gateway.tokens import Tokens
from rebalancer_app.gateway.users import Credentials
from rebalancer_app.main import start
from rebalancer_app.web.assets import Assets
from rebalancer_app.web.entrance import COOKIE, Entrance, read_cookie
from rebalancer_app.web.pages import APP, Pages, accepted_languages, choose_language
from rebalancer_app.web.sessions import WebSessions
from rebalancer_app.web.transport import Asgi, InProcessTransport

Scope = MutableMapping[str, Any]

SERVER_PATHS = ("/api", "/docs", "/health")
OPEN_PAGES = ("sign-in", "register", "forgotten-password", "reset-password", "confirm-email")
"""Pages that need no session."""

OWN_PAGES = ("passkey", "confirm")
"""Pages for a signed-in person, which use what only a page with scripts can."""

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

_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    (b"server", b"rebalancer"),
]

_PASSED = (b"x-forwarded-for", b"x-request-id", b"user-agent", b"accept-language")
"""Headers of the browser that the server sees, too."""

_browser: ContextVar[tuple[Client, str]] = ContextVar("browser")
"""The connection of a new window's person, and the languages that the browser accepts."""


@attrs.define(eq=False, repr=False)
class WebClient:
    """Serves pages, files and the app's socket; passes the rest to the server.

    Attributes:
        server: The server's application, which is asked in this process.
        secret: Seals the sessions in their file.
        file: Where sessions outlast a restart; None: nowhere.
        guest: Public account that the sign-in page offers; None without one.
    """

    server: Asgi
    secret: bytes = b""
    file: Path | None = None
    guest: Credentials | None = None
    sessions: WebSessions = attrs.field(init=False)
    assets: Assets = attrs.field(factory=Assets, init=False)
    pages: Pages = attrs.field(init=False)
    _routes: Starlette = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.sessions = WebSessions(self._unsigned, self.secret, self.file)
        entrance = Entrance(self.sessions, self._connect, self.guest)
        self.pages = Pages(self.assets.prefix, has_guest=self.guest is not None)
        self._routes = Starlette(
            routes=[
                Route("/sign-out", self._sign_out),
                Route("/static/{version}/{name:path}", self._file),
                *entrance.routes(),
                *(Route(f"/{name}", self._page) for name in OPEN_PAGES),
                *(Route(f"/{name}", self._own_page) for name in OWN_PAGES),
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
        await self._routes(scope, receive, _with_headers(send))

    async def _sign_out(self, request: Request) -> Response:
        """Show the page that ends the session; it does so at once if the app has opened it."""
        is_own = request.headers.get("sec-fetch-site") == "same-origin"
        return self._html(request, "sign-out", is_own=is_own)

    async def _file(self, request: Request) -> Response:
        name = str(request.path_params["name"])
        return await asyncio.to_thread(self.assets.respond, request, name)

    async def _page(self, request: Request) -> Response:
        return self._html(request, request.url.path.strip("/"))

    async def _own_page(self, request: Request) -> Response:
        return self._to_sign_in(request) or await self._page(request)

    async def _app(self, request: Request) -> Response:
        return self._to_sign_in(request) or self._html(request, APP)

    def _html(self, request: Request, name: str, *, is_own: bool = False) -> Response:
        """Return a page in the language that the browser prefers."""
        language = choose_language(request.headers.get("accept-language", ""))
        headers = {
            "cache-control": "no-cache",
            "content-language": language,
            "vary": "accept-language",
        }
        return HTMLResponse(self.pages.render(name, language, is_own=is_own), headers=headers)

    def _to_sign_in(self, request: Request) -> Response | None:
        """Lead to the sign-in and then back; None for a browser that is signed in."""
        if self.sessions.find(read_cookie(request, COOKIE)) is not None:
            return None
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?next={quote(wanted, safe='')}", 303)

    async def _socket(self, socket: WebSocket) -> None:
        """Run the app for a browser that is signed in; the browser shows what it draws."""
        origin = urlsplit(socket.headers.get("origin", ""))
        session = self.sessions.find(read_cookie(socket, COOKIE))
        if session is None or origin.netloc != socket.headers.get("host"):
            await socket.close(4401)
            return
        accepted = socket.headers.get("accept-language", "")
        _browser.set((self._connect(socket, session), accepted))
        await FletApp(
            loop=asyncio.get_running_loop(),
            executor=app_manager.executor,
            main=_run,
            before_main=None,
            session_timeout_seconds=0,
        ).handle(fresh_window(socket))

    def _connect(self, browser: HTTPConnection, session: Tokens | None) -> Client:
        """Return a client that asks the server as the browser would."""
        scope = browser.scope
        passed = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _PASSED
        }
        scheme = "https" if scope.get("scheme") in ("https", "wss") else "http"
        peer = scope.get("client") or ("127.0.0.1", 0)
        return Client(
            f"{scheme}://{browser.headers.get('host', 'localhost')}",
            tokens=session,
            transport=InProcessTransport(self.server, (str(peer[0]), int(peer[1]))),
            headers=passed,
        )

    def _unsigned(self) -> Client:
        """Return a client for sessions that were read from their file."""
        transport = InProcessTransport(self.server, ("127.0.0.1", 0))
        return Client("http://localhost", transport=transport)


def fresh_window(socket: WebSocket) -> WebSocket:
    """Return a socket under a path of its own, so that Flet starts the app afresh on it.

    Flet 1.0 finds the window of a lost connection by the socket's path and an id that the tab
    keeps, also when another person signs in there. It then sends components in place of what they
    draw, and the browser shows nothing. The browser names its route, so a fresh start opens the
    same screen with present data.
    """
    scope = {**socket.scope, "path": f"/{uuid4().hex}/ws", "root_path": ""}
    return WebSocket(scope, socket.receive, socket.send)


async def _run(page: ft.Page) -> None:
    """Start the app in a new window of a browser."""
    client, accepted = _browser.get()
    region = next((tag for tag in accepted_languages(accepted) if tag != "*"), "")
    start(page, client, region, language=choose_language(accepted) if region else "")


def _with_headers(send: Any) -> Any:
    async def wrapped(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_HEADERS]
        await send(message)

    return wrapped


logging.getLogger("flet").setLevel(logging.WARNING)
logging.getLogger("flet_web").setLevel(logging.WARNING)
