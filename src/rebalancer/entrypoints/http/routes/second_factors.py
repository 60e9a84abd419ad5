"""`/api/users/totp`, `/recovery-codes` and `/factors`: second factors of a user."""

from __future__ import annotations

from dishka.integrations.litestar import FromDishka
from litestar import delete, get, post
from litestar.params import JSONBody

from rebalancer.application.authenticator_apps import (
    ConfirmTotp,
    ReadFactors,
    RemoveTotp,
    RenewRecoveryCodes,
    StartTotp,
)
from rebalancer.application.ports.clock import Clock
from rebalancer.entrypoints.http.auth import CurrentBearer, Owner, owner_router
from rebalancer.entrypoints.http.bodies import TINY_BODY
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import ANSWER_HOLDS_SECRETS, WITHOUT_KEY
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.factors import (
    FactorsView,
    RecoveryCodesView,
    TotpCode,
    TotpView,
)


@get("/factors", summary="Get the ways to sign in")
async def read_factors(owner: Owner, use: FromDishka[ReadFactors]) -> FactorsView:
    """Get how you can sign in: password, passkeys, authenticator app and recovery codes."""
    return FactorsView.of(await run_in(READS, use, owner))


@post(
    "/totp",
    summary="Begin to set up an authenticator app",
    responses=problem_responses(403, 409),
    opt={WITHOUT_KEY: ANSWER_HOLDS_SECRETS},
)
async def start_totp(
    bearer: CurrentBearer, use: FromDishka[StartTotp], clock: FromDishka[Clock]
) -> TotpView:
    """Get a secret for an authenticator app; its first code confirms it."""
    return TotpView.of(await run_in(WRITES, use, bearer, now=clock()))


@post(
    "/totp/confirm",
    status_code=200,
    summary="Confirm an authenticator app",
    responses=problem_responses(403, 409, 422),
    opt={WITHOUT_KEY: ANSWER_HOLDS_SECRETS},
)
async def confirm_totp(
    data: JSONBody[TotpCode],
    bearer: CurrentBearer,
    use: FromDishka[ConfirmTotp],
    clock: FromDishka[Clock],
) -> RecoveryCodesView:
    """Make the app a second factor by its first code.

    With the first second factor of an account come recovery codes, which are shown only now.
    """
    codes = await run_in(WRITES, use, bearer, code=data.code, now=clock())
    return RecoveryCodesView(recovery_codes=list(codes))


@delete(
    "/totp",
    summary="Remove the authenticator app",
    responses=problem_responses(403, 409),
    opt={WITHOUT_KEY: "removing the app twice is the same as once"},
)
async def remove_totp(
    bearer: CurrentBearer, use: FromDishka[RemoveTotp], clock: FromDishka[Clock]
) -> None:
    """Remove the authenticator app."""
    await run_in(WRITES, use, bearer, now=clock())


@post(
    "/recovery-codes",
    summary="Create recovery codes",
    responses=problem_responses(403, 409),
    opt={WITHOUT_KEY: ANSWER_HOLDS_SECRETS},
)
async def renew_recovery_codes(
    bearer: CurrentBearer, use: FromDishka[RenewRecoveryCodes], clock: FromDishka[Clock]
) -> RecoveryCodesView:
    """Replace the recovery codes; they are shown only now, and are valid once each."""
    codes = await run_in(WRITES, use, bearer, now=clock())
    return RecoveryCodesView(recovery_codes=list(codes))


router = owner_router(
    "/users",
    [read_factors, start_totp, confirm_totp, remove_totp, renew_recovery_codes],
    tag="factors",
    max_body=TINY_BODY,
)
