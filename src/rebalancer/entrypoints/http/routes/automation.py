"""`/api/automation`: the kill switch of automatic proposals."""

from __future__ import annotations

from dishka.integrations.litestar import FromDishka
from litestar import get, post

from rebalancer.application.automatic_stop import ReadStops, ResumeAutomation, StopAutomation
from rebalancer.application.ports.clock import Clock
from rebalancer.entrypoints.http.auth import CurrentBearer, Owner, owner_router
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.alerts import StopView, stop_view

_TWICE = {WITHOUT_KEY: "doing it twice is the same as once"}


@get("/", summary="Get the kill switch")
async def read_stop(owner: Owner, use: FromDishka[ReadStops]) -> StopView:
    """Get whether automation is stopped for your portfolios, and by whom."""
    return stop_view(await run_in(READS, use, owner))


@post("/stop", status_code=200, summary="Stop all automation", opt=_TWICE)
async def stop_automation(
    owner: Owner, use: FromDishka[StopAutomation], clock: FromDishka[Clock]
) -> StopView:
    """Stop automatic proposals and acceptances for all your portfolios.

    Alerts continue. After the response nothing is accepted automatically any more.
    """
    return stop_view(await run_in(WRITES, use, owner, now=clock()))


@post("/resume", status_code=200, summary="Resume automation", opt=_TWICE)
async def resume_automation(
    bearer: CurrentBearer,
    owner: Owner,
    use: FromDishka[ResumeAutomation],
    clock: FromDishka[Clock],
) -> StopView:
    """Let automation run again, unless operators have stopped it for all accounts.

    It needs a recent proof of identity. What was due meanwhile is not made up for.
    """
    return stop_view(await run_in(WRITES, use, bearer, now=clock()))


router = owner_router(
    "/automation", [read_stop, stop_automation, resume_automation], tag="portfolios"
)
