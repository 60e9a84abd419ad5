"""How often somebody may ask: for each address and each user, and more strictly for logins.

Every answer says how much is left, in the header fields of draft-ietf-httpapi-ratelimit-headers-06.
"""

from __future__ import annotations

import hmac
import math
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any

from dishka import AsyncContainer
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Message, Receive, Send

from rebalancer.application.ports.accounts import Tokens
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.limits import Limit, RateLimits, Verdict
from rebalancer.config import Settings
from rebalancer.domain.errors import NotAuthenticated
from rebalancer.entrypoints.http.auth import parse_bearer_token
from rebalancer.entrypoints.http.errors import TooManyRequests, to_problem

_MINUTE = timedelta(minutes=1)
_VERDICT = "rebalancer.verdict"
"""Where the scope of a request keeps what was last said of it."""

HEALTH = "/health/"
_LOGIN, _ACCOUNT = "login", "account"
_GENEROUS = 10
"""Times the usual limit, for those who watch our health."""

_ANYWHERE = 10
"""Times the limit of an address, for attempts on one account from everywhere: whoever tries
passwords from one address must not keep its owner out, who is at another one."""


class RateLimiter:
    """What holds whoever asks to the limits that an operator set.

    Args:
        limits: Where requests are counted.
        tokens: Tell users by what they show.
        clock: When that ends.
        settings: How many requests, and how many proxies stand in front of us.
    """

    def __init__(
        self, limits: RateLimits, tokens: Tokens, clock: Clock, settings: Settings
    ) -> None:
        self._limits = limits
        self._tokens = tokens
        self._clock = clock
        self._proxies = settings.trusted_proxies
        most = settings.rate_limit
        self._usual = Limit("requests", most, _MINUTE) if most else None
        self._health = Limit("health", most * _GENEROUS, _MINUTE) if most else None
        few = settings.login_limit
        self._login = Limit(_LOGIN, few, _MINUTE) if few else None
        self._account = Limit(_ACCOUNT, few * _ANYWHERE, _MINUTE) if few else None
        self._key = settings.secret_key.encode()

    @classmethod
    async def of(cls, container: AsyncContainer) -> RateLimiter:
        """As everything is wired."""
        return cls(
            await container.get(RateLimits),
            await container.get(Tokens),
            await container.get(Clock),
            await container.get(Settings),
        )

    def around(self, app: ASGIApp) -> ASGIApp:
        """The same application, which lets nobody in who asks too often.

        It stands before the router, so that paths that do not exist are no way around it.
        """
        if self._usual is None and self._login is None:
            return app

        async def limited(scope: Any, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return

            async def telling(message: Message) -> None:
                verdict = scope.get(_VERDICT)
                if message["type"] == "http.response.start" and verdict is not None:
                    message["headers"] = [*message.get("headers", ()), *_headers(verdict)]
                await send(message)

            if self._usual is not None:
                verdict = await self._limits.hit(*self._asked(scope))
                scope[_VERDICT] = verdict
                if not verdict.allowed:
                    await _refuse(scope, receive, telling, verdict)
                    return
            await app(scope, receive, telling)

        return limited

    async def login_from(self, scope: Any) -> None:
        """Somebody tries to get in, from an address.

        Raises:
            TooManyRequests: too many did from there.
        """
        await self._attempt(scope, self._login, f"address:{address_of(scope, self._proxies)}")

    async def login_as(self, scope: Any, email: str) -> None:
        """Somebody tries to get in, as the owner of an account or of none.

        How many may from one address, `login_from` says; this is about those from everywhere. Whose
        account it is cannot be told from what is counted.

        Raises:
            TooManyRequests: too many did.
        """
        account = email.strip().casefold().encode(errors="surrogatepass")
        who = hmac.digest(self._key, account, "sha256").hex()
        await self._attempt(scope, self._account, f"account:{who}")

    async def _attempt(self, scope: Any, limit: Limit | None, who: str) -> None:
        if limit is None:
            return
        verdict = await self._limits.hit((limit, who))
        before = scope.get(_VERDICT)
        scope[_VERDICT] = verdict if before is None else Verdict.deciding((before, verdict))
        if not verdict.allowed:
            raise TooManyRequests(_told(verdict), _seconds(verdict))

    def _asked(self, scope: Any) -> list[tuple[Limit, str]]:
        """What a request is counted against."""
        assert self._usual is not None and self._health is not None  # or it is not asked
        address = f"address:{address_of(scope, self._proxies)}"
        if scope["path"].startswith(HEALTH):
            return [(self._health, address)]
        asked = [(self._usual, address)]
        for name, value in scope["headers"]:
            if name == b"authorization":
                try:
                    token = parse_bearer_token(value.decode("latin-1"))
                    owner = self._tokens.authenticate(token, self._clock()).owner
                except NotAuthenticated:  # which whoever answers says
                    break
                asked.append((self._usual, f"user:{owner}"))
                break
        return asked


async def limit_login_attempts(
    connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler
) -> None:
    """A guard of routes through which strangers get in, by what can be guessed.

    Raises:
        TooManyRequests: too many tried, from one address.
    """
    await connection.app.state.limiting.login_from(connection.scope)


def address_of(scope: Any, proxies: int) -> str:
    """Who asks: the address at the other end, or what the outermost proxy of ours says it was.

    Each proxy adds to X-Forwarded-For, on the right, from whom it heard. What stands further to the
    left anybody may have written, and without proxies all of it.

    Args:
        scope: Of the request.
        proxies: How many stand in front of us.
    """
    client = scope.get("client")
    host = str(client[0]) if client else "unknown"
    if proxies:
        said = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        hops = said.decode("latin-1").split(",") if said else []
        if len(hops) >= proxies:
            host = hops[-proxies].strip()
    return _household(host[:100])


@lru_cache(4096)
def _household(host: str) -> str:
    """A host without its port; of IPv6 the network, as one customer has all addresses in it."""
    bare = host.strip("[]") if "]:" not in host else host[1 : host.index("]:")]
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare)
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        network = int(address) >> 64 << 64
        return f"{IPv6Address(network)}/64"
    return str(address)


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


def _told(verdict: Verdict) -> str:
    entering = verdict.limit.name in (_LOGIN, _ACCOUNT)
    what = "attempts to log in or register" if entering else "requests"
    return (
        f"more than {verdict.limit.most} {what} within a minute; "
        f"try again in {_seconds(verdict)} seconds"
    )


async def _refuse(scope: Any, receive: Receive, send: Send, verdict: Verdict) -> None:
    request: Request[Any, Any, Any] = Request(scope, receive, send)
    problem = to_problem(TooManyRequests(_told(verdict), _seconds(verdict)))
    response = problem.to_response(request).to_asgi_response(None, request)
    await response(scope, receive, send)
