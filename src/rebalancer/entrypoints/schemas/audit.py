"""Events of the audit trail, in responses."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from rebalancer.domain.audit.events import Action, AuditEvent, Outcome
from rebalancer.entrypoints.schemas.wire import View, about

Actor = Literal["you", "operator", "other_user", "service", "unknown"]


class AuditView(View, frozen=True, kw_only=True):
    """An event of the account's audit trail."""

    id: UUID
    at: datetime
    action: Annotated[str, about("Stable name of what was done, such as login.")]
    description: Annotated[str, about("The same in words.")]
    outcome: Outcome
    by: Annotated[Actor, about("Who did it; unknown if the client was not signed in.")]
    target: Annotated[str | None, about("Object that was acted on, as kind:id.")]
    address: Annotated[str | None, about("Address of the client; erased after some time.")]
    agent: Annotated[str | None, about("How the client's program described itself.")]
    request: Annotated[str | None, about("Id of the request, as in its X-Request-ID.")]
    details: dict[str, str]


def audit_view(event: AuditEvent, viewer: UUID) -> AuditView:
    """Show an event to the user whose account it is about.

    Another account that acted is not named, and its address stays private.
    """
    by = _actor(event, viewer)
    is_foreign = by in ("operator", "other_user")
    return AuditView(
        id=event.id,
        at=event.at,
        action=event.action,
        description=describe(event),
        outcome=event.outcome,
        by=by,
        target=event.target,
        address=None if is_foreign else event.origin.address,
        agent=None if is_foreign else event.origin.agent,
        request=event.origin.request,
        details=dict(event.details),
    )


def describe(event: AuditEvent) -> str:
    """Return the words for an event; its name if a newer version has written it."""
    try:
        return Action(event.action).text  # type: ignore[call-arg]  # mypy sees __new__, not a lookup
    except ValueError:
        return event.action.replace("_", " ").capitalize()


def _actor(event: AuditEvent, viewer: UUID) -> Actor:
    if event.actor is not None:
        return "you" if event.actor == viewer else "other_user"
    match event.origin.via:
        case "cli":
            return "operator"
        case "worker":
            return "service"
    return "unknown"
