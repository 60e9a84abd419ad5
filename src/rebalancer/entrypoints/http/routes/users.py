"""`/api/users`: registration, login and profile."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import attrs
from dishka.integrations.litestar import DishkaRouter, FromDishka
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.params import JSONBody
from msgspec import Meta

from rebalancer.application.account_mails import AccountPolicy
from rebalancer.application.accounts import LogIn, LogOut, ReadProfile, RefreshLogin
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.application.registration import Register, RequestAccount
from rebalancer.application.sessions import Login
from rebalancer.domain.accounts.passwords import LONGEST_PASSWORD, SHORTEST_PASSWORD
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.owner import LONGEST_EMAIL, User, normalize_email
from rebalancer.entrypoints.http.auth import BEARER, OWNER, Owner
from rebalancer.entrypoints.http.bodies import TINY_BODY
from rebalancer.entrypoints.http.errors import SecondFactorProblem, problem_responses, response_spec
from rebalancer.entrypoints.http.idempotency import (
    WITHOUT_KEY,
    Key,
    client_request,
    note_owner,
    replay_headers,
)
from rebalancer.entrypoints.http.known_devices import DeviceToken
from rebalancer.entrypoints.http.pacing import at_a_steady_pace
from rebalancer.entrypoints.http.rate_limits import limit_login_attempts, limit_registrations
from rebalancer.entrypoints.http.routes.risk import AssessmentView, assessment_view
from rebalancer.entrypoints.http.threads import HASHING, WRITES, run_in
from rebalancer.entrypoints.schemas import examples
from rebalancer.entrypoints.schemas.decoding import collect
from rebalancer.entrypoints.schemas.wire import Body, OneLine, View, about

Email = Annotated[str, Meta(max_length=LONGEST_EMAIL)]
Secret = Annotated[str, Meta(min_length=1, max_length=200, examples=[examples.REFRESH_TOKEN])]

Terms = Annotated[
    str, Meta(pattern="^[A-Za-z0-9_.-]{1,40}$(?!\n)", max_length=40, examples=["2024-05"])
]

_SECRET = "its answer holds tokens, which are not stored"

NO_STORE = {"Cache-Control": "no-store"}
"""Caches must not store responses with tokens (RFC 6749, section 5.1)."""


class Registration(Body, frozen=True, kw_only=True):
    """A new account."""

    verbatim = ("password",)

    email: Annotated[Email, Meta(examples=["alan@example.org"])]
    password: Annotated[
        str,
        Meta(
            min_length=SHORTEST_PASSWORD,
            max_length=LONGEST_PASSWORD,
            examples=["a long sentence is best"],
        ),
    ]
    name: Annotated[OneLine, Meta(max_length=100, examples=["Alan"])] = ""
    terms: Annotated[Terms, Meta(description="Version of the terms that are accepted.")] | None = (
        None
    )

    @classmethod
    def broken_rules(cls, name: str, value: Any) -> list[InvalidRequest]:
        """Return what is wrong with the e-mail address, if anything."""
        return collect(normalize_email, value) if name == "email" else []


class Credentials(Body, frozen=True, kw_only=True):
    """E-mail address and password of an account."""

    verbatim = ("email", "password")

    email: Annotated[Email, Meta(examples=[examples.EMAIL])]
    password: Annotated[str, Meta(max_length=LONGEST_PASSWORD, examples=[examples.PASSWORD])]


class Refreshing(Body, frozen=True, kw_only=True):
    """A refresh token."""

    verbatim = ("refresh_token",)

    refresh_token: Secret


class UserView(View, frozen=True, kw_only=True):
    """A registered user."""

    id: UUID
    email: str
    name: str
    created: datetime
    email_verified: Annotated[bool, about("Whether the address was confirmed by a mailed link.")]
    terms: Annotated[str | None, about("Version of the terms that were accepted last.")]
    terms_accepted: datetime | None
    assessment: AssessmentView | None


class CheckMailView(View, frozen=True, kw_only=True):
    """A link was mailed, which must be opened to continue."""

    status: Literal["check_mail"] = "check_mail"


CHECK_MAIL = response_spec(CheckMailView, description="A link was mailed")


class LoginView(View, frozen=True, kw_only=True):
    """Tokens, named as in OAuth 2."""

    access_token: str
    token_type: str
    expires_in: Annotated[int, about("Seconds until the access token expires.")]
    refresh_token: Annotated[
        str, about("Valid once; a second use revokes all tokens of the login.")
    ]
    refresh_expires: datetime
    user: UserView
    deletion_cancelled: Annotated[
        bool, about("Whether this login has cancelled the deletion of the account.")
    ]
    device_token: Annotated[
        str | None,
        about(
            "Given once on each new device: store it there, and send it as Device-Token with each "
            "login, so that failed logins of others do not delay yours."
        ),
    ]


@post(
    "/register",
    summary="Register",
    guards=[limit_login_attempts, limit_registrations],
    responses={202: CHECK_MAIL, **problem_responses(409, 422)},
)
async def register(
    data: JSONBody[Registration],
    request: Request[Any, Any, Any],
    use: FromDishka[Register],
    use_mail: FromDishka[RequestAccount],
    policy: FromDishka[AccountPolicy],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    key: Key = None,
) -> Response[UserView]:
    """Create an account; log in with it afterwards.

    Where addresses must be confirmed, the answer is 202, and a link is mailed that creates the
    account. It is the same if the address has an account, whose owner then gets another mail.
    """
    id = ids()
    if policy.verifies_email:
        async with at_a_steady_pace():
            await run_in(
                HASHING,
                use_mail,
                email=data.email,
                password=data.password,
                name=data.name,
                terms=data.terms,
                id=id,
                now=clock(),
            )
        return check_mail()
    user = await run_in(
        HASHING,
        use,
        email=data.email,
        password=data.password,
        name=data.name,
        terms=data.terms,
        request=client_request(request, key, data),
        id=id,
        now=clock(),
    )
    note_owner(request.scope, user.id)
    return Response(user_view(user), headers=replay_headers(user.id != id))


@post(
    "/login",
    status_code=200,
    summary="Log in",
    guards=[limit_login_attempts],
    responses=problem_responses(401, schema=SecondFactorProblem) | problem_responses(403),
    response_headers=NO_STORE,
    opt={WITHOUT_KEY: _SECRET},
)
async def log_in(
    data: JSONBody[Credentials],
    use: FromDishka[LogIn],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    device_token: DeviceToken = None,
) -> LoginView:
    """Exchange a password for a short-lived access token and a refresh token.

    If the account has a second factor, the answer to a right password is 401 with the code
    second_factor_required and a ticket for /api/users/login/second-factor.
    """
    now = clock()
    login = await run_in(
        HASHING, use, email=data.email, password=data.password, session_id=ids(), now=now
    )
    return login_view(login, now)


@post(
    "/refresh",
    status_code=200,
    summary="Refresh a login",
    responses=problem_responses(401),
    response_headers=NO_STORE,
    opt={WITHOUT_KEY: _SECRET},
)
async def refresh(
    data: JSONBody[Refreshing], use: FromDishka[RefreshLogin], clock: FromDishka[Clock]
) -> LoginView:
    """Exchange a refresh token for new tokens; it is valid once."""
    now = clock()
    return login_view(await run_in(WRITES, use, data.refresh_token, now=now), now)


@post(
    "/logout",
    status_code=204,
    summary="Log out",
    opt={WITHOUT_KEY: "logging out twice is the same as once"},
)
async def log_out(
    data: JSONBody[Refreshing], use: FromDishka[LogOut], clock: FromDishka[Clock]
) -> None:
    """End a login: its access and refresh tokens are revoked."""
    await run_in(WRITES, use, data.refresh_token, now=clock())


@get("/profile", summary="Get the current user", dependencies=OWNER, security=[{BEARER: []}])
async def profile(owner: Owner, state: State, use: FromDishka[ReadProfile]) -> UserView:
    """Get the current user and the latest risk assessment."""
    return user_view(await state.read_row(use, owner))


def user_view(user: User) -> UserView:
    """Show a user to himself or herself."""
    shown = attrs.asdict(user, recurse=False) | {
        "assessment": assessment_view(user),
        "email_verified": user.verified is not None,
    }
    return UserView.of(shown)


def check_mail() -> Response[Any]:
    """Answer that a link was mailed."""
    return Response(CheckMailView(), status_code=202)


def login_view(login: Login, now: datetime) -> LoginView:
    """Show the tokens of a login."""
    return LoginView(
        access_token=login.access,
        token_type="Bearer",
        expires_in=int((login.access_ends - now).total_seconds()),
        refresh_token=login.refresh,
        refresh_expires=login.refresh_ends,
        user=user_view(login.user),
        deletion_cancelled=login.deletion_cancelled,
        device_token=login.device,
    )


router = DishkaRouter(
    "/users",
    route_handlers=[register, log_in, refresh, log_out, profile],
    tags=["users"],
    request_max_body_size=TINY_BODY,
)
