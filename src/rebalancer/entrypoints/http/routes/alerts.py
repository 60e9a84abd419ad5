"""`/api/portfolios/{id}/alerts` and `.../automation`: alerts and automatic proposals."""

from __future__ import annotations

from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import get, put
from litestar.params import FromPath, JSONBody

from rebalancer.application.alerts import ChangeAlerts, ChangeAutomation, ReadAlerts
from rebalancer.application.ports.clock import Clock
from rebalancer.entrypoints.http.auth import CurrentBearer, Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY
from rebalancer.entrypoints.http.parameters import Cursor, Limit
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.alerts import (
    AlertsBody,
    AlertsView,
    AutomationBody,
    AutomationView,
    EpisodeView,
    alerts_view,
    automation_view,
    episode_view,
)
from rebalancer.entrypoints.schemas.wire import Page, paginate

_TWICE = {WITHOUT_KEY: "doing it twice is the same as once"}


@get("/{portfolio_id:uuid}/alerts", summary="Get the alerts of a portfolio")
async def read_alerts(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ReadAlerts],
    clock: FromDishka[Clock],
) -> AlertsView:
    """Get which alerts are wanted, and which fire now."""
    return alerts_view(await run_in(READS, use, portfolio_id, actor=owner, now=clock()))


@put(
    "/{portfolio_id:uuid}/alerts",
    summary="Choose the alerts of a portfolio",
    responses=problem_responses(422),
    opt=_TWICE,
)
async def change_alerts(
    portfolio_id: FromPath[UUID],
    data: JSONBody[AlertsBody],
    owner: Owner,
    use: FromDishka[ChangeAlerts],
    clock: FromDishka[Clock],
) -> AlertsView:
    """Choose alerts and their limits, in place of the present ones.

    They are evaluated after new closes, after changes of the ledger and as time passes. What fires
    already goes on without another alert.
    """
    settings = data.settings()
    found = await run_in(WRITES, use, portfolio_id, settings, owner=owner, now=clock())
    return alerts_view(found)


@get("/{portfolio_id:uuid}/alerts/history", summary="List past and present alerts")
async def list_episodes(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ReadAlerts],
    limit: Limit = 20,
    before: Cursor = None,
) -> Page[EpisodeView]:
    """List the alerts of a portfolio, latest first."""
    found = await run_in(
        READS, use.episodes, portfolio_id, actor=owner, before=before, limit=limit + 1
    )
    return paginate(found, limit, show=episode_view, cursor=lambda one: one.id)


@get("/{portfolio_id:uuid}/automation", summary="Get the automation of a portfolio")
async def read_automation(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ReadAlerts],
    clock: FromDishka[Clock],
) -> AutomationView:
    """Get which proposals are made without a request, and what came of the last one."""
    return automation_view(await run_in(READS, use, portfolio_id, actor=owner, now=clock()))


@put(
    "/{portfolio_id:uuid}/automation",
    summary="Choose the automation of a portfolio",
    responses=problem_responses(422),
    opt=_TWICE,
)
async def change_automation(
    portfolio_id: FromPath[UUID],
    data: JSONBody[AutomationBody],
    bearer: CurrentBearer,
    owner: Owner,
    use: FromDishka[ChangeAutomation],
    clock: FromDishka[Clock],
) -> AutomationView:
    """Choose when proposals are made, and whether they are accepted on paper within limits.

    A newer automatic proposal takes the place of one that waits. Switching automatic acceptance on,
    or raising one of its limits, needs a recent proof of identity.
    """
    automation = data.automation()
    found = await run_in(WRITES, use, portfolio_id, automation, bearer=bearer, now=clock())
    return automation_view(found)


router = owner_router(
    "/portfolios",
    [read_alerts, change_alerts, list_episodes, read_automation, change_automation],
    tag="portfolios",
)
