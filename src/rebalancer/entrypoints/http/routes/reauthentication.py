"""`/api/users/reauthenticate`: prove an identity again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from dishka.integrations.litestar import FromDishka
from litestar import post
from litestar.params import JSONBody
from msgspec import Meta

from rebalancer.application.factors import Proof
from rebalancer.application.ports.clock import Clock
from rebalancer.application.reauthentication import Reauthenticate
from rebalancer.domain.accounts.sessions import RECENT
from rebalancer.entrypoints.http.auth import CurrentBearer, owner_router
from rebalancer.entrypoints.http.bodies import TINY_BODY
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY
from rebalancer.entrypoints.http.known_devices import DeviceToken
from rebalancer.entrypoints.http.rate_limits import limit_login_attempts
from rebalancer.entrypoints.http.threads import HASHING, run_in
from rebalancer.entrypoints.schemas import examples
from rebalancer.entrypoints.schemas.factors import CredentialJson
from rebalancer.entrypoints.schemas.wire import Body, View, about


class Reauthentication(Body, frozen=True, kw_only=True):
    """A proof of identity: the password, with a second factor if there is one, or a passkey."""

    verbatim = ("password", "code", "recovery_code", "credential")

    password: Annotated[str, Meta(max_length=200, examples=[examples.PASSWORD])] | None = None
    code: (
        Annotated[str, Meta(min_length=1, max_length=20, description="Of an authenticator app.")]
        | None
    ) = None
    recovery_code: Annotated[str, Meta(min_length=1, max_length=60)] | None = None
    credential: CredentialJson | None = None

    def proof(self) -> Proof | None:
        """Return the second factor or the passkey; None without one."""
        if self.code is None and self.recovery_code is None and self.credential is None:
            return None
        return Proof(self.code, self.recovery_code, self.credential)


class ReauthenticationView(View, frozen=True, kw_only=True):
    """A session whose proof of identity is recent."""

    authenticated: datetime
    recent_until: Annotated[datetime, about("Until then sensitive changes need no other proof.")]


@post(
    "/",
    status_code=200,
    summary="Prove your identity again",
    guards=[limit_login_attempts],
    responses=problem_responses(403, 422),
    opt={WITHOUT_KEY: "proving an identity twice is the same as once"},
)
async def reauthenticate(
    data: JSONBody[Reauthentication],
    bearer: CurrentBearer,
    use: FromDishka[Reauthenticate],
    clock: FromDishka[Clock],
    device_token: DeviceToken = None,
) -> ReauthenticationView:
    """Prove your identity again, as changes of passwords, factors and API keys require."""
    session = await run_in(
        HASHING, use, bearer, password=data.password, proof=data.proof(), now=clock()
    )
    return ReauthenticationView(
        authenticated=session.authenticated, recent_until=session.authenticated + RECENT
    )


router = owner_router("/users/reauthenticate", [reauthenticate], tag="users", max_body=TINY_BODY)
