"""A small server that signs people in and out, as the client sees the real one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import attrs
import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

EMAIL, PASSWORD, CODE = "ada@example.org", "correct horse battery staple", "123456"
USER = {
    "id": str(UUID(int=1)),
    "email": EMAIL,
    "name": "Ada",
    "created": "2026-01-02T03:04:05Z",
    "email_verified": True,
    "assessment": None,
}


def problem(status: int, code: str, **members: Any) -> JSONResponse:
    body = {"status": status, "title": "No", "detail": f"refused: {code}", "code": code}
    return JSONResponse(body | members, status)


@attrs.define(eq=False)
class FakeServer:
    """Signs Ada in by password, and by a second step if it is wanted.

    Attributes:
        second_step: Whether a code is wanted after the password.
        needs_proof: Whether a fresh proof of identity is missing.
        seconds: How long access tokens are valid.
        requests: Method, path and headers of each request.
        refreshes: How often a token was renewed.
    """

    second_step: bool = False
    needs_proof: bool = False
    seconds: int = 600
    days: int = 30
    requests: list[tuple[str, str, dict[str, str]]] = attrs.field(factory=list)
    refreshes: int = 0
    number: int = 0
    access: set[str] = attrs.field(factory=set)
    refresh: set[str] = attrs.field(factory=set)
    app: Starlette = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.app = Starlette(
            routes=[
                Route("/api/users/login", self.log_in, methods=["POST"]),
                Route("/api/users/login/second-factor", self.finish, methods=["POST"]),
                Route("/api/users/login/passkey", self.by_passkey, methods=["POST"]),
                Route("/api/users/register/passkey", self.register, methods=["POST"]),
                Route("/api/users/refresh", self.renew, methods=["POST"]),
                Route("/api/users/logout", self.log_out, methods=["POST"]),
                Route("/api/users/profile", self.profile),
                Route("/api/users/reauthenticate", self.prove, methods=["POST"]),
                Route("/api/users/passkeys/options", self.options, methods=["POST"]),
                Route("/api/users/export", self.export),
                Route("/api/rebalance/{id}/worksheet", self.worksheet),
                Route("/api/portfolios/{id}/gains", self.gains),
            ]
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope.get("headers", ())}
        self.requests.append((scope["method"], scope["path"], headers))
        await self.app(scope, receive, send)

    def login(self, **more: Any) -> dict[str, Any]:
        self.number += 1
        access, refresh = f"access-{self.number}", f"refresh-{self.number}"
        self.access.add(access)
        self.refresh.add(refresh)
        ends = datetime.now(UTC) + timedelta(days=self.days)
        return {
            "access_token": access,
            "expires_in": self.seconds,
            "refresh_token": refresh,
            "refresh_expires": ends.isoformat(),
            "user": USER,
            "device_token": None,
        } | more

    def signed_in(self, request: Request) -> bool:
        return request.headers.get("authorization", "").removeprefix("Bearer ") in self.access

    async def log_in(self, request: Request) -> Response:
        body = await request.json()
        if (body.get("email"), body.get("password")) != (EMAIL, PASSWORD):
            fault = [{"field": "password", "message": "is wrong"}]
            response = problem(401, "credentials_wrong", errors=fault)
            response.headers["retry-after"] = "2"
            return response
        if self.second_step:
            return problem(401, "second_factor_required", ticket="t-1", methods=["totp"])
        return JSONResponse(self.login())

    async def finish(self, request: Request) -> Response:
        body = await request.json()
        if body.get("ticket") != "t-1" or CODE not in (body.get("code"), body.get("recovery_code")):
            return problem(401, "code_wrong")
        return JSONResponse(self.login(device_token="device-1"))

    async def by_passkey(self, request: Request) -> Response:
        return JSONResponse(self.login())

    async def register(self, request: Request) -> Response:
        return JSONResponse(self.login(recovery_codes=["aaaa-bbbb", "cccc-dddd"]), 201)

    async def renew(self, request: Request) -> Response:
        token = (await request.json())["refresh_token"]
        if token not in self.refresh:
            return problem(401, "refresh_unknown")
        self.refresh.discard(token)
        self.refreshes += 1
        return JSONResponse(self.login())

    async def log_out(self, request: Request) -> Response:
        token = (await request.json())["refresh_token"]
        if token not in self.refresh:
            return problem(401, "refresh_unknown")
        self.refresh.discard(token)
        return Response(status_code=204)

    async def profile(self, request: Request) -> Response:
        return JSONResponse(USER) if self.signed_in(request) else problem(401, "token_unknown")

    async def prove(self, request: Request) -> Response:
        if (await request.json()).get("password") != PASSWORD:
            return problem(401, "credentials_wrong")
        self.needs_proof = False
        return JSONResponse({"authenticated": "now"})

    async def options(self, request: Request) -> Response:
        if not self.signed_in(request):
            return problem(401, "token_unknown")
        return JSONResponse({"public_key": {"challenge": "c"}})

    async def export(self, request: Request) -> Response:
        if not self.signed_in(request):
            return problem(401, "token_unknown")
        if self.needs_proof:
            return problem(403, "reauthentication_required")

        async def parts():
            for part in (b"PK", b"\x03\x04"):
                yield part

        headers = {"content-disposition": 'attachment; filename="rebalancer-2026-01-02.zip"'}
        return StreamingResponse(parts(), media_type="application/zip", headers=headers)

    async def gains(self, request: Request) -> Response:
        return Response(f"{request.query_params}\n", media_type="text/csv")

    async def worksheet(self, request: Request) -> Response:
        if request.path_params["id"] != str(UUID(int=7)):
            return problem(404, "proposal_not_found")
        return Response("side,symbol\n", media_type="text/csv")


@attrs.define(eq=False)
class Flaky(httpx.AsyncBaseTransport):
    """Loses the first requests or answers, then carries them.

    Attributes:
        failures: How many are lost.
        carried: Whether the server gets a request whose answer is lost.
    """

    inner: httpx.AsyncBaseTransport
    failures: int = 0
    carried: bool = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.failures:
            self.failures -= 1
            if self.carried:
                await (await self.inner.handle_async_request(request)).aread()
            raise httpx.ConnectError("no network", request=request)
        return await self.inner.handle_async_request(request)
