"""`/api/users`: password, e-mail address and terms of an account."""

from __future__ import annotations

from typing import Annotated, Any

from dishka.integrations.litestar import DishkaRouter, FromDishka
from litestar import Response, get, post
from litestar.params import JSONBody
from msgspec import Meta

from rebalancer.application.account_mails import AccountPolicy
from rebalancer.application.email_addresses import ChangeEmail, ConfirmEmail
from rebalancer.application.passwords import ChangePassword, RequestPasswordReset, ResetPassword
from rebalancer.application.ports.clock import Clock
from rebalancer.application.registration import AcceptTerms
from rebalancer.domain.accounts.passwords import LONGEST_PASSWORD, SHORTEST_WITH_FACTOR
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.owner import normalize_email
from rebalancer.entrypoints.http.auth import BEARER, OWNER, CurrentBearer, Owner
from rebalancer.entrypoints.http.bodies import TINY_BODY
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY
from rebalancer.entrypoints.http.pacing import at_a_steady_pace
from rebalancer.entrypoints.http.rate_limits import limit_login_attempts
from rebalancer.entrypoints.http.routes.users import (
    CHECK_MAIL,
    CheckMailView,
    Email,
    Terms,
    UserView,
    check_mail,
    user_view,
)
from rebalancer.entrypoints.http.threads import HASHING, WRITES, run_in
from rebalancer.entrypoints.schemas import examples
from rebalancer.entrypoints.schemas.decoding import collect
from rebalancer.entrypoints.schemas.wire import Body, View, about

_NEW = Annotated[
    str,
    Meta(
        min_length=SHORTEST_WITH_FACTOR,
        max_length=LONGEST_PASSWORD,
        description="At least 15 characters, or 8 where the account has a second factor.",
        examples=["a long sentence is best"],
    ),
]
_TOKEN = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        description="The part of the mailed link after `#token=`.",
        examples=["o7q0mJH5yDcWlS1v9XnYb2Tz8RkPfEaLgUiQ4t3Cx6w"],
    ),
]

_ONCE = "repeating it has no further effect"
_MAILS = "a repeated request mails another link, up to a limit"


class PasswordChange(Body, frozen=True, kw_only=True):
    """The current password and a new one."""

    verbatim = ("current_password", "new_password")

    current_password: Annotated[
        str, Meta(max_length=LONGEST_PASSWORD, examples=[examples.PASSWORD])
    ]
    new_password: _NEW


class AddressOnly(Body, frozen=True, kw_only=True):
    """An e-mail address."""

    email: Annotated[Email, Meta(examples=["alan@example.org"])]

    @classmethod
    def broken_rules(cls, name: str, value: Any) -> list[InvalidRequest]:
        """Return what is wrong with the e-mail address, if anything."""
        return collect(normalize_email, value) if name == "email" else []


class PasswordReset(Body, frozen=True, kw_only=True):
    """The token of a mailed link, and a new password."""

    verbatim = ("token", "new_password")

    token: _TOKEN
    new_password: _NEW


class Confirmation(Body, frozen=True, kw_only=True):
    """The token of a mailed link."""

    verbatim = ("token",)

    token: _TOKEN


class Acceptance(Body, frozen=True, kw_only=True):
    """A version of the terms."""

    version: Terms


class ConfirmedView(View, frozen=True, kw_only=True):
    """An address that is confirmed."""

    email: str


class TermsView(View, frozen=True, kw_only=True):
    """The current terms."""

    version: Annotated[str | None, about("Version that new accounts accept; null: no terms.")]


@post(
    "/password",
    status_code=204,
    summary="Change the password",
    dependencies=OWNER,
    security=[{BEARER: []}],
    guards=[limit_login_attempts],
    responses=problem_responses(403, 409),
    opt={WITHOUT_KEY: "a repeated request fails, as the password is another one"},
)
async def change_password(
    data: JSONBody[PasswordChange],
    bearer: CurrentBearer,
    use: FromDishka[ChangePassword],
    clock: FromDishka[Clock],
) -> None:
    """Change the password, and end all other sessions."""
    await run_in(
        HASHING,
        use,
        bearer,
        current=data.current_password,
        new=data.new_password,
        now=clock(),
    )


@post(
    "/password/forgotten",
    status_code=202,
    summary="Request a new password",
    guards=[limit_login_attempts],
    responses=problem_responses(409),
    opt={WITHOUT_KEY: _MAILS},
)
async def request_password_reset(
    data: JSONBody[AddressOnly],
    use: FromDishka[RequestPasswordReset],
    clock: FromDishka[Clock],
) -> CheckMailView:
    """Mail a link to choose a new password.

    The answer does not reveal whether there is an account. Without one the mail says so. An
    address gets at most 3 such mails an hour.
    """
    async with at_a_steady_pace():
        await run_in(WRITES, use, data.email, now=clock())
    return CheckMailView()


@post(
    "/password/reset",
    status_code=204,
    summary="Reset the password",
    guards=[limit_login_attempts],
    opt={WITHOUT_KEY: "a repeated request fails, as a link is valid once"},
)
async def reset_password(
    data: JSONBody[PasswordReset], use: FromDishka[ResetPassword], clock: FromDishka[Clock]
) -> None:
    """Set a new password by a mailed link, and end all sessions; second factors stay."""
    await run_in(HASHING, use, data.token, new=data.new_password, now=clock())


@post(
    "/email",
    status_code=200,
    summary="Change the e-mail address",
    dependencies=OWNER,
    security=[{BEARER: []}],
    guards=[limit_login_attempts],
    responses={202: CHECK_MAIL, **problem_responses(403, 409)},
    opt={WITHOUT_KEY: _MAILS},
)
async def change_email(
    data: JSONBody[AddressOnly],
    bearer: CurrentBearer,
    use: FromDishka[ChangeEmail],
    clock: FromDishka[Clock],
) -> Response[UserView]:
    """Change the address; where addresses must be confirmed, by a link that is mailed to it.

    It needs a proof of identity that is at most 10 minutes old. The old address gets a notice.
    """
    async with at_a_steady_pace():
        user = await run_in(WRITES, use, bearer, data.email, now=clock())
    return check_mail() if user is None else Response(user_view(user))


@post(
    "/email/verify",
    status_code=200,
    summary="Confirm an e-mail address",
    guards=[limit_login_attempts],
    responses=problem_responses(409),
    opt={WITHOUT_KEY: "a repeated request fails, as a link is valid once"},
)
async def confirm_email(
    data: JSONBody[Confirmation], use: FromDishka[ConfirmEmail], clock: FromDishka[Clock]
) -> ConfirmedView:
    """Confirm an address by a mailed link: of a new account, which it creates, or of a change."""
    return ConfirmedView(email=(await run_in(WRITES, use, data.token, now=clock())).email)


@get("/terms", summary="Get the version of the terms")
async def read_terms(policy: FromDishka[AccountPolicy]) -> TermsView:
    """Get the version of the terms that new accounts must accept."""
    return TermsView(version=policy.terms)


@post(
    "/terms",
    status_code=200,
    summary="Accept the terms",
    dependencies=OWNER,
    security=[{BEARER: []}],
    opt={WITHOUT_KEY: _ONCE},
)
async def accept_terms(
    data: JSONBody[Acceptance],
    owner: Owner,
    use: FromDishka[AcceptTerms],
    clock: FromDishka[Clock],
) -> UserView:
    """Accept the current version of the terms; the profile shows it, with its time."""
    return user_view(await run_in(WRITES, use, owner, data.version, now=clock()))


router = DishkaRouter(
    "/users",
    route_handlers=[
        change_password,
        request_password_reset,
        reset_password,
        change_email,
        confirm_email,
        read_terms,
        accept_terms,
    ],
    tags=["users"],
    request_max_body_size=TINY_BODY,
)
