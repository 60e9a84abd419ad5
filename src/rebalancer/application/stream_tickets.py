"""Tickets that open a stream once, for clients that cannot send a header with it.

A browser's ``EventSource`` sends no Authorization header. It gets a ticket in the address instead,
which is useless to a reader of logs: it is valid once, for seconds, and for streams alone.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import attrs

from rebalancer.application.one_time import create_one_time, take_one_time
from rebalancer.application.ports.accounts import Tokens
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.errors import Conflict, NotAuthenticated

PURPOSE = "stream"

LIFETIME = timedelta(seconds=30)
"""Time in which a ticket must be used."""

MOST_TICKETS = 50
"""Unused tickets of a user at most."""


@attrs.frozen
class StreamTicket:
    """What a ticket stands for.

    Attributes:
        bearer: User and session.
        ends: End of the access token with which the ticket was created.
    """

    bearer: Bearer
    ends: datetime


@attrs.frozen
class CreateStreamTicket:
    """Create a ticket for a stream."""

    work: UnitOfWork
    tokens: Tokens

    def __call__(self, bearer: Bearer, *, ends: datetime, now: datetime) -> tuple[str, datetime]:
        """Return a ticket, and until when it must be used.

        Raises:
            Conflict: the user has too many unused tickets.
        """
        lifetime = min(LIFETIME, ends - now)
        document = {"session": str(bearer.session), "ends": ends.isoformat()}
        with self.work.begin() as tx:
            tx.users.lock(bearer.owner)  # so that requests at the same time count each other
            if tx.one_time.count(bearer.owner, PURPOSE, now) >= MOST_TICKETS:
                raise Conflict(
                    f"you have {MOST_TICKETS} unused tickets, the maximum; use one, or wait "
                    f"{LIFETIME.seconds} seconds",
                    code="quota_reached",
                )
            secret = create_one_time(
                tx, self.tokens, PURPOSE, bearer.owner, lifetime, document, now
            )
        return secret, now + lifetime


@attrs.frozen
class UseStreamTicket:
    """Use a ticket for a stream."""

    work: UnitOfWork
    tokens: Tokens

    def __call__(self, ticket: str, *, now: datetime) -> StreamTicket:
        """Return what a ticket stands for; it cannot be used again.

        Raises:
            NotAuthenticated: it is unknown, used or expired.
        """
        with self.work.begin() as tx:
            taken = take_one_time(tx, self.tokens, PURPOSE, ticket, now)
        if taken is None or taken.owner is None:
            raise NotAuthenticated(
                "the ticket is unknown, used or expired; request a new one",
                code="stream_ticket_invalid",
            )
        bearer = Bearer(taken.owner, UUID(taken.document["session"]))
        return StreamTicket(bearer, datetime.fromisoformat(taken.document["ends"]))
