"""Notices about an account to its owner, by mail."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid5

from rebalancer.application.ports.store import Transaction
from rebalancer.domain.accounts.mail import MAIL_LIFETIME, Mail, MailKind
from rebalancer.domain.portfolio.owner import User


def notify(
    tx: Transaction, user: User, kind: MailKind, *, now: datetime, to: str = "", **facts: str
) -> None:
    """Mail the owner of an account what happened to it, once the transaction is committed.

    Nothing happens where the service sends no mail. The facts are those that
    `application.mail_texts` names for this kind. ``to`` replaces the address of the user.
    """
    tx.outbox.add(
        Mail(
            id=uuid5(user.id, f"{kind} {now.isoformat()} {to}"),
            kind=kind,
            to=to or user.email,
            facts=facts,
            created=now,
            expires=now + MAIL_LIFETIME,
        )
    )
