"""`/api/users/login/...`: logins with passkeys and second factors."""

from __future__ import annotations

from dishka.integrations.litestar import DishkaRouter, FromDishka
from litestar import post
from litestar.params import JSONBody

from rebalancer.application.factors import CHALLENGE_LIFETIME
from rebalancer.application.logins import CompleteLogin, LogInWithPasskey, StartPasskeyLogin
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.entrypoints.http.bodies import TINY_BODY
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import ANSWER_HOLDS_SECRETS, WITHOUT_KEY
from rebalancer.entrypoints.http.known_devices import DeviceToken
from rebalancer.entrypoints.http.rate_limits import limit_login_attempts
from rebalancer.entrypoints.http.routes.users import (
    NO_STORE,
    LoginView,
    login_view,
)
from rebalancer.entrypoints.http.threads import WRITES, run_in
from rebalancer.entrypoints.schemas.factors import PasskeyOptions, SecondFactor, SignedChallenge


@post(
    "/passkey/options",
    status_code=200,
    summary="Begin a login with a passkey",
    guards=[limit_login_attempts],
    responses=problem_responses(404),
    response_headers=NO_STORE,
    opt={WITHOUT_KEY: ANSWER_HOLDS_SECRETS},
)
async def start_passkey_login(
    use: FromDishka[StartPasskeyLogin], clock: FromDishka[Clock]
) -> PasskeyOptions:
    """Get a challenge that any passkey of this service can sign.

    It serves logins without a password, second factors and reauthentication.
    """
    options = await run_in(WRITES, use, now=clock())
    return PasskeyOptions(
        public_key=dict(options), expires_in=int(CHALLENGE_LIFETIME.total_seconds())
    )


@post(
    "/passkey",
    status_code=200,
    summary="Log in with a passkey",
    guards=[limit_login_attempts],
    responses=problem_responses(401, 403, 404),
    response_headers=NO_STORE,
    opt={WITHOUT_KEY: ANSWER_HOLDS_SECRETS},
)
async def log_in_with_passkey(
    data: JSONBody[SignedChallenge],
    use: FromDishka[LogInWithPasskey],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    device_token: DeviceToken = None,
) -> LoginView:
    """Exchange a signed challenge for tokens; the passkey names the user."""
    now = clock()
    login = await run_in(WRITES, use, data.credential, session_id=ids(), now=now)
    return login_view(login, now)


@post(
    "/second-factor",
    status_code=200,
    summary="Complete a login",
    guards=[limit_login_attempts],
    responses=problem_responses(401, 403, 404),
    response_headers=NO_STORE,
    opt={WITHOUT_KEY: ANSWER_HOLDS_SECRETS},
)
async def complete_login(
    data: JSONBody[SecondFactor],
    use: FromDishka[CompleteLogin],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    device_token: DeviceToken = None,
) -> LoginView:
    """Exchange the ticket of a login and a second factor for tokens.

    Send exactly one of code, recovery_code and credential. After five wrong ones the login begins
    again with the password.
    """
    now = clock()
    login = await run_in(WRITES, use, data.ticket, data.proof(), session_id=ids(), now=now)
    return login_view(login, now)


router = DishkaRouter(
    "/users/login",
    route_handlers=[start_passkey_login, log_in_with_passkey, complete_login],
    tags=["factors"],
    request_max_body_size=TINY_BODY,
)
