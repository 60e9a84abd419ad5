"""`/api/users/register/passkey`: registration without a password."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from dishka.integrations.litestar import DishkaRouter, FromDishka
from litestar import Response, post
from litestar.params import JSONBody
from msgspec import Meta

from rebalancer.application.factors import CHALLENGE_LIFETIME
from rebalancer.application.passkey_registration import (
    RegisterWithPasskey,
    StartPasskeyRegistration,
)
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.owner import normalize_email
from rebalancer.entrypoints.http.bodies import TINY_BODY
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import ANSWER_HOLDS_SECRETS, WITHOUT_KEY
from rebalancer.entrypoints.http.pacing import at_a_steady_pace
from rebalancer.entrypoints.http.rate_limits import limit_login_attempts, limit_registrations
from rebalancer.entrypoints.http.routes.users import (
    CHECK_MAIL,
    NO_STORE,
    Email,
    LoginView,
    Terms,
    check_mail,
    login_view,
)
from rebalancer.entrypoints.http.threads import WRITES, run_in
from rebalancer.entrypoints.schemas.decoding import collect
from rebalancer.entrypoints.schemas.factors import CredentialJson, PasskeyName, PasskeyOptions
from rebalancer.entrypoints.schemas.wire import Body, OneLine, about


class PasskeyRegistration(Body, frozen=True, kw_only=True):
    """A new account that signs in with a passkey."""

    email: Annotated[Email, Meta(examples=["alan@example.org"])]
    name: Annotated[OneLine, Meta(max_length=100, examples=["Alan"])] = ""
    terms: Terms | None = None

    @classmethod
    def broken_rules(cls, name: str, value: Any) -> list[InvalidRequest]:
        """Return what is wrong with the e-mail address, if anything."""
        return collect(normalize_email, value) if name == "email" else []


class FirstPasskey(Body, frozen=True, kw_only=True):
    """The passkey of a new account."""

    verbatim = ("credential",)

    credential: CredentialJson
    passkey_name: PasskeyName = "First passkey"


class NewAccountView(LoginView, frozen=True, kw_only=True):
    """Tokens of a new account, and its recovery codes."""

    recovery_codes: Annotated[list[str], about("Shown once; valid once each.")]


@post(
    "/options",
    status_code=200,
    summary="Begin to register with a passkey",
    guards=[limit_login_attempts],
    responses=problem_responses(404),
    response_headers=NO_STORE,
    opt={WITHOUT_KEY: ANSWER_HOLDS_SECRETS},
)
async def start_passkey_registration(
    data: JSONBody[PasskeyRegistration],
    use: FromDishka[StartPasskeyRegistration],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
) -> PasskeyOptions:
    """Get the options with which a browser creates the passkey of a new account.

    They do not depend on whether the address has an account.
    """
    options = await run_in(
        WRITES, use, email=data.email, name=data.name, terms=data.terms, id=ids(), now=clock()
    )
    return PasskeyOptions(
        public_key=dict(options), expires_in=int(CHALLENGE_LIFETIME.total_seconds())
    )


@post(
    "/",
    summary="Register with a passkey",
    guards=[limit_login_attempts, limit_registrations],
    responses={202: CHECK_MAIL, **problem_responses(401, 404, 409, 422)},
    response_headers=NO_STORE,
    opt={WITHOUT_KEY: ANSWER_HOLDS_SECRETS},
)
async def register_with_passkey(
    data: JSONBody[FirstPasskey],
    use: FromDishka[RegisterWithPasskey],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
) -> Response[NewAccountView]:
    """Create an account without a password, and log in to it.

    Where addresses must be confirmed, the answer is 202, and a link is mailed that creates the
    account. It is the same if the address has an account, whose owner then gets another mail.
    """
    now = clock()
    async with at_a_steady_pace():
        created = await run_in(
            WRITES,
            use,
            data.credential,
            passkey_name=data.passkey_name,
            passkey_id=ids(),
            session_id=ids(),
            now=now,
        )
    if created is None:
        return check_mail()
    login, codes = created
    shown = msgspec.structs.asdict(login_view(login, now))
    return Response(NewAccountView(**shown, recovery_codes=list(codes)))


router = DishkaRouter(
    "/users/register/passkey",
    route_handlers=[start_passkey_registration, register_with_passkey],
    tags=["factors"],
    request_max_body_size=TINY_BODY,
)
