"""Mails that wait, and the server that sends them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import attrs

from rebalancer.domain.accounts.mail import Mail, MailKind
from rebalancer.domain.errors import Unavailable


class Outbox(Protocol):
    """Mails that were written in transactions and are sent afterwards."""

    def add(self, mail: Mail) -> None:
        """Add a new mail, which is due at once; one with a known id is ignored."""

    def has_due(self, now: datetime) -> bool:
        """Return whether a mail is due."""

    def claim(self, now: datetime, *, until: datetime) -> Mail | None:
        """Begin the delivery of the mail that is due first; None without one.

        The mail counts the attempt and is due again at ``until``, in case this process ends. Of
        several processes one gets it.
        """

    def defer(self, id: UUID, due: datetime) -> None:
        """Try again at another time; an unknown mail is ignored."""

    def close(self, id: UUID, now: datetime) -> None:
        """End the delivery and erase the facts; an unknown mail is ignored."""

    def count(self, to: str, kinds: Collection[MailKind], since: datetime) -> int:
        """Return how many mails of these kinds an address got since a time, sent or not."""

    def delete_closed(self, before: datetime) -> None:
        """Delete mails that were closed, or expired, before a time."""


@attrs.frozen
class Message:
    """Text of a mail.

    Attributes:
        unsubscribe: URL that ends mails of this kind by one POST (RFC 8058); empty for mails about
            the account, which cannot be switched off.
    """

    id: UUID
    to: str = attrs.field(repr=False)
    subject: str
    text: str = attrs.field(repr=False)
    created: datetime
    unsubscribe: str = attrs.field(default="", repr=False)


class Outcome(StrEnum):
    """How the server took a message."""

    SENT = "sent"
    DEFERRED = "deferred"  # it may take it later
    REFUSED = "refused"  # it will never take it


@attrs.frozen
class Delivery:
    """What the server answered.

    Attributes:
        reason: Status code, without the address that the server may quote; empty if sent.
    """

    outcome: Outcome
    reason: str = ""


class MailServerDown(Unavailable):
    """The mail server does not answer, or takes no mail at all."""

    default_code = "mail_server_down"


class MailServer(Protocol):
    """Server that sends mails."""

    def send(self, message: Message) -> Delivery:
        """Send a message.

        Raises:
            MailServerDown: the server does not answer, or takes no mail at all.
        """
