"""`/api/users/audit`: what was done to one's account."""

from __future__ import annotations

from dishka.integrations.litestar import FromDishka
from litestar import get

from rebalancer.application.audit_trail import ListAuditEvents
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.parameters import Cursor, Limit
from rebalancer.entrypoints.http.threads import READS, run_in
from rebalancer.entrypoints.schemas.audit import AuditView, audit_view
from rebalancer.entrypoints.schemas.wire import Page, paginate


@get("/", summary="List events of the account")
async def list_audit_events(
    owner: Owner, use: FromDishka[ListAuditEvents], limit: Limit = 20, before: Cursor = None
) -> Page[AuditView]:
    """List what was done to your account, latest first: sign-ins, changes and decisions.

    Look here for sign-ins that were not yours.
    """
    found = await run_in(READS, use, owner, before=before, limit=limit + 1)
    return paginate(
        found, limit, show=lambda event: audit_view(event, owner), cursor=lambda event: event.id
    )


router = owner_router("/users/audit", [list_audit_events], tag="users")
