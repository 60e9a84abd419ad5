"""Addresses of webhooks and push services to which owners have notices sent."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.text import check_line

MOST_TARGETS = 10
"""Limit of the targets of an owner."""

LONGEST_NAME, LONGEST_ADDRESS = 80, 1000


class TargetKind(StrEnum):
    """How a target is reached."""

    WEBHOOK = "webhook"
    PUSH = "push"


@attrs.frozen
class Target:
    """A webhook or push service of an owner.

    Attributes:
        address: URL of the webhook, or the service in the notation of apprise; may hold a password.
        secret: Key that signs what a webhook gets, as Standard Webhooks writes it; empty for push.
        delivered: When it last took a message.
        failed: When it last did not.
        fault: Why it did not; empty if it took the last message.
    """

    id: UUID
    owner: UUID
    kind: TargetKind
    name: str
    address: str = attrs.field(repr=False)
    secret: str = attrs.field(repr=False)
    created: datetime
    delivered: datetime | None = None
    failed: datetime | None = None
    fault: str = ""

    @property
    def channel(self) -> str:
        """Name of its channel in the choices of the owner."""
        return str(self.id)


def check_name(name: str) -> None:
    """Check the name of a target.

    Raises:
        InvalidRequest: it is empty, too long, or has invisible characters.
    """
    if not name.strip() or len(name) > LONGEST_NAME:
        raise InvalidRequest(
            f"a name has 1 to {LONGEST_NAME} characters; this one has {len(name)}",
            field="name",
            code="invalid_name",
        )
    check_line(name, field="name")
