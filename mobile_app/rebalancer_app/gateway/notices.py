"""Notices about portfolios, and where they are sent."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs

from rebalancer_app.gateway.client import Endpoint
from rebalancer_app.gateway.pages import Page


@attrs.frozen
class Notice:
    """A notice with its text.

    Attributes:
        link: Screen that shows what it is about.
        read: None while it is unread.
    """

    id: UUID
    severity: str
    title: str
    text: str
    link: str
    created: datetime
    read: datetime | None
    resolved: datetime | None


@attrs.frozen
class Notices:
    """Latest notices; ``unread`` counts all that were not read."""

    items: list[Notice]
    unread: int
    next: str | None = None


@attrs.frozen
class Unread:
    """Number of notices that were not read."""

    unread: int


@attrs.frozen
class Read:
    """Which notices were read: one, or all up to one."""

    id: str | None = None
    through: str | None = None


@attrs.frozen
class QuietHours:
    """Hours of the day in which nothing is sent."""

    start: str
    end: str


@attrs.frozen
class Switch:
    """Whether a kind of notice is sent to a channel: app, email, or the id of a target."""

    channel: str
    kind: str
    on: bool


@attrs.frozen
class Choices:
    """What is sent, and when.

    Attributes:
        switches: What differs from the defaults.
        channels: All kinds in each channel.
    """

    language: str
    zone: str
    digest: str
    digest_at: str
    quiet: QuietHours | None
    paused: bool
    paused_until: datetime | None
    switches: list[Switch]
    channels: list[Switch]


@attrs.frozen
class NewChoices:
    """Choices as the server takes them."""

    language: str
    zone: str
    digest: str
    digest_at: str
    quiet: QuietHours | None
    paused: bool
    paused_until: datetime | None
    switches: list[Switch]

    @classmethod
    def of(cls, choices: Choices) -> NewChoices:
        """Return choices without what the server adds."""
        return cls(
            **{field.name: getattr(choices, field.name) for field in attrs.fields(NewChoices)}
        )

    def switched(self, switch: Switch) -> NewChoices:
        """Return the choices with another switch."""
        named = (switch.channel, switch.kind)
        others = [one for one in self.switches if (one.channel, one.kind) != named]
        return attrs.evolve(self, switches=[*others, switch])


@attrs.frozen
class NewTarget:
    """A webhook or push service to add."""

    kind: str
    name: str
    address: str


@attrs.frozen
class Target:
    """A webhook or push service.

    Attributes:
        fault: Why it did not take the last message; empty if it did.
    """

    id: UUID
    kind: str
    name: str
    host: str
    delivered: datetime | None
    fault: str


@attrs.frozen
class AddedTarget:
    """A new target; the secret of a webhook is shown once."""

    id: UUID
    secret: str | None


@attrs.frozen
class Tested:
    """What became of a test message."""

    delivered: bool
    fault: str


@attrs.frozen
class Message:
    """A message that could not be delivered."""

    id: UUID
    channel: str
    created: datetime
    fault: str


LIST = Endpoint("GET", "/api/notices", Notices, query=("limit", "language"))
UNREAD = Endpoint("GET", "/api/notices/unread", Unread)
READ = Endpoint("POST", "/api/notices/read", Unread, Read, keyed=False)
CHOICES = Endpoint("GET", "/api/notices/settings", Choices)
CHOOSE = Endpoint("PUT", "/api/notices/settings", Choices, NewChoices)
TARGETS = Endpoint("GET", "/api/notices/targets", Page[Target])
ADD = Endpoint("POST", "/api/notices/targets", AddedTarget, NewTarget, keyed=False)
REMOVE: Endpoint[None] = Endpoint("DELETE", "/api/notices/targets/{target_id}")
TEST = Endpoint("POST", "/api/notices/targets/{target_id}/test", Tested, keyed=False)
FAILED = Endpoint("GET", "/api/notices/messages", Page[Message], query=("state", "limit"))
RETRY = Endpoint("POST", "/api/notices/messages/{message_id}/retry", Message, keyed=False)
