"""Rate limits by client address, by user, and stricter ones for logins.

Responses state what is left in the fields of draft-ietf-httpapi-ratelimit-headers-06.
"""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Message, Receive, Send

from rebalancer.application.ports.accounts import Tokens
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.rate_limits import Limit, RateLimits, Verdict
from rebalancer.config import Settings
from rebalancer.domain.accounts.api_keys import has_valid_checksum
from rebalancer.domain.accounts.guessing import networks_of
from rebalancer.domain.errors import NotAuthenticated
from rebalancer.entrypoints.http.auth import parse_bearer_token
from rebalancer.entrypoints.http.errors import TooManyRequests, to_problem

_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
_VERDICT = "rebalancer.verdict"
"""Key of the latest verdict in the scope of a request."""

_DECIDED = b"ratelimit-limit"
"""Header of answers that state another limit, which the request exceeds."""

_LOGINS = {"login": 1, "login-56": 2, "login-48": 4}
"""Limits of logins from an address, or an IPv6 network of 64, 56 and 48 bits: their multiples of
the configured one."""

_REGISTRATION = "registration"
_HEALTH_FACTOR = 10
"""Multiple of the usual limit for monitoring."""


class RateLimiter:
    """Applies the configured rate limits to addresses and to the users of access tokens."""

    def __init__(
        self, limits: RateLimits, tokens: Tokens, clock: Clock, settings: Settings
    ) -> None:
        self._limits = limits
        self._tokens = tokens
        self._clock = clock
        self._proxies = settings.trusted_proxies
        most = settings.rate_limit
        self._usual = Limit("requests", most, _MINUTE) if most else None
        self._health = Limit("health", most * _HEALTH_FACTOR, _MINUTE) if most else None
        few = settings.login_limit
        self._logins = tuple(
            Limit(name, few * factor, _MINUTE) for name, factor in _LOGINS.items() if few
        )
        registrations = settings.most_registrations_a_day
        daily = Limit(_REGISTRATION, registrations, _DAY) if registrations and few else None
        self._registration = daily

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """Return an application that rejects requests over the limit.

        It runs before the router, so that requests to unknown paths count too.
        """
        if self._usual is None and not self._logins:
            return app

        async def limited_app(scope: Any, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return

            async def send_with_headers(message: Message) -> None:
                verdict = scope.get(_VERDICT)
                if message["type"] == "http.response.start" and verdict is not None:
                    headers = list(message.get("headers", ()))
                    if all(name.lower() != _DECIDED for name, _ in headers):
                        message["headers"] = [*headers, *_headers(verdict)]
                await send(message)

            if self._usual is not None:
                verdict = await self._limits.hit(*self._counters(scope))
                scope[_VERDICT] = verdict
                if not verdict.allowed:
                    await _reject(scope, receive, send_with_headers, verdict)
                    return
            await app(scope, receive, send_with_headers)

        return limited_app

    async def login_from(self, scope: Any) -> None:
        """Count an attempt to log in from an address, and from its larger networks with IPv6.

        Raises:
            TooManyRequests: the address exceeds its limit.
        """
        address = address_of(scope, self._proxies)
        networks = [network for network, _ in networks_of(address)] or [address]
        await self._attempt(
            scope,
            *(
                (limit, f"address:{network}")
                for limit, network in zip(self._logins, networks, strict=False)
            ),
        )

    async def register_from(self, scope: Any) -> None:
        """Count a registration from an address, whether or not it succeeds.

        Raises:
            TooManyRequests: the address exceeds its limit of a day.
        """
        address = f"address:{address_of(scope, self._proxies)}"
        if self._registration is not None:
            await self._attempt(scope, (self._registration, address))

    async def _attempt(self, scope: Any, *counters: tuple[Limit, str]) -> None:
        if not counters:
            return
        verdict = await self._limits.hit(*counters)
        before = scope.get(_VERDICT)
        scope[_VERDICT] = verdict if before is None else Verdict.deciding((before, verdict))
        if not verdict.allowed:
            raise _error(verdict)

    def _counters(self, scope: Any) -> list[tuple[Limit, str]]:
        """Return the limits and counters of a request."""
        assert self._usual is not None and self._health is not None  # checked by `wrap`
        address = f"address:{address_of(scope, self._proxies)}"
        if scope["path"].startswith("/health/"):
            return [(self._health, address)]
        counters = [(self._usual, address)]
        for name, value in scope["headers"]:
            if name == b"authorization":
                with suppress(NotAuthenticated):  # the route rejects the request
                    token = parse_bearer_token(value.decode("latin-1"))
                    if has_valid_checksum(token):
                        counters.append((self._usual, f"key:{self._tokens.digest(token)}"))
                        break
                    owner = self._tokens.authenticate(token, self._clock()).owner
                    counters.append((self._usual, f"user:{owner}"))
                break
        return counters


async def limit_login_attempts(
    connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler
) -> None:
    """Guard: limit the attempts to log in or register from one address.

    Raises:
        TooManyRequests: the address exceeds its limit.
    """
    await connection.app.state.rate_limiter.login_from(connection.scope)


async def limit_registrations(
    connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler
) -> None:
    """Guard: limit the accounts that are registered from one address in a day.

    Raises:
        TooManyRequests: the address exceeds its limit.
    """
    await connection.app.state.rate_limiter.register_from(connection.scope)


def address_of(scope: Any, proxies: int) -> str:
    """Return the address by which a client is counted; for IPv6 its /64 network."""
    return _network_of(_host_of(scope, proxies))


def client_address(scope: Any, proxies: int) -> str | None:
    """Return the full address of the client, without its port; None if it is unknown."""
    host = _bare(_host_of(scope, proxies))
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(address if mapped is None else mapped)


def _host_of(scope: Any, proxies: int) -> str:
    """Return the host of the client: of the connection, or as trusted proxies report it.

    Each proxy appends the address of its peer to X-Forwarded-For. Entries further to the left than
    the trusted proxies wrote can be forged, and without proxies all entries can.
    """
    client = scope.get("client")
    host = str(client[0]) if client else "unknown"
    if proxies:
        header = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        hops = header.decode("latin-1").split(",") if header else []
        if len(hops) >= proxies:
            host = hops[-proxies].strip()
    return host[:100]


@lru_cache(4096)
def _network_of(host: str) -> str:
    """Return a host without its port; for IPv6 its /64 network, which one customer owns."""
    try:
        address = ip_address(_bare(host))
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        network = int(address) >> 64 << 64
        return f"{IPv6Address(network)}/64"
    return str(address)


def _bare(host: str) -> str:
    """Return a host without brackets and port."""
    bare = host.strip("[]") if "]:" not in host else host[1 : host.index("]:")]
    return bare.partition(":")[0] if bare.count(":") == 1 else bare


def _seconds(verdict: Verdict) -> int:
    return max(1, math.ceil(verdict.reset))


def _headers(verdict: Verdict) -> list[tuple[bytes, bytes]]:
    most, window = verdict.limit.most, verdict.limit.window.total_seconds()
    return [
        (b"ratelimit-limit", b"%d" % most),
        (b"ratelimit-remaining", b"%d" % verdict.remaining),
        (b"ratelimit-reset", b"%d" % _seconds(verdict)),
        (b"ratelimit-policy", b"%d;w=%d" % (most, window)),
    ]


def _error(verdict: Verdict) -> TooManyRequests:
    is_login = verdict.limit.name in _LOGINS
    subject = "attempts to log in or register" if is_login else "requests"
    window = "a minute"
    if verdict.limit.name == _REGISTRATION:
        subject, window = "registrations", "a day"
    seconds = _seconds(verdict)
    return TooManyRequests(
        f"more than {verdict.limit.most} {subject} within {window}; try again in {seconds} seconds",
        seconds,
    )


async def _reject(scope: Any, receive: Receive, send: Send, verdict: Verdict) -> None:
    request: Request[Any, Any, Any] = Request(scope, receive, send)
    response = to_problem(_error(verdict)).to_response(request).to_asgi_response(None, request)
    await response(scope, receive, send)
