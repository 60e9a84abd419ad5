"""Recording of events in the audit trail."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime
from secrets import randbits
from threading import Lock
from time import time_ns
from typing import TYPE_CHECKING
from uuid import UUID

from rebalancer.domain.audit.events import Action, AuditEvent, Origin, Outcome

if TYPE_CHECKING:  # every command imports this, and few need the stores
    from rebalancer.application.ports.store import Transaction, UnitOfWork

_WORKER = Origin("worker")
current_origin: ContextVar[Origin] = ContextVar("current_origin", default=_WORKER)
"""Origin of the request that this thread or task works for."""

current_user: ContextVar[UUID | None] = ContextVar("current_user", default=None)
"""User of the request that this thread or task works for, once authenticated."""


class _OrderedIds:
    """Creates random ids that sort in the order in which this process created them.

    Events of one request have the same time, so the id decides their order. The layout is that of
    version 7 (RFC 9562), with nanoseconds in place of some random bits.
    """

    def __init__(self) -> None:
        self._lock, self._last = Lock(), 0

    def create(self) -> UUID:
        with self._lock:
            self._last = max(self._last + 1, time_ns())
            milliseconds, rest = divmod(self._last, 1_000_000)
        high, low = divmod(rest, 256)  # 12 bits and 8 bits
        return UUID(
            int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low << 54 | randbits(54)
        )


_ids = _OrderedIds()


def record(
    tx: Transaction,
    action: Action,
    *,
    at: datetime,
    actor: UUID | None = None,
    subject: UUID | None = None,
    outcome: Outcome = Outcome.DONE,
    target: str | None = None,
    details: Mapping[str, str] | None = None,
) -> None:
    """Add an event to the audit trail, in the transaction of what it reports.

    Args:
        tx: Transaction that also changes what the event is about.
        action: What was done.
        at: Time of the event.
        actor: Account that acted; when None, the user of the current request, who is None for an
            unknown client and for an operator at a terminal.
        subject: Account that the event is about; the actor's own when None.
        outcome: What became of the attempt.
        target: Object that was acted on, as ``kind:id``.
        details: Further facts; never a secret, a hash, an address or a name.
    """
    actor = current_user.get() if actor is None else actor
    tx.audit.append(
        AuditEvent(
            id=_ids.create(),
            at=at,
            action=action.value,
            outcome=outcome,
            actor=actor,
            subject=actor if subject is None else subject,
            target=target,
            origin=current_origin.get(),
            details=details or {},
        )
    )


def record_refusal(
    work: UnitOfWork, action: Action, *, at: datetime, subject: UUID | None, reason: str
) -> None:
    """Add an event about a refused attempt, in a transaction of its own.

    Args:
        work: Transactions.
        action: What was refused.
        at: Time of the attempt.
        subject: Account that it was about; None if it does not exist.
        reason: Code of the reason.
    """
    with work.begin() as tx:
        outcome, details = Outcome.REFUSED, {"reason": reason}
        record(tx, action, at=at, subject=subject, outcome=outcome, details=details)
