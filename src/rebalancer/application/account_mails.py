"""Mails that strangers can cause: those with links, and their counterparts without."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import attrs

from rebalancer.application.one_time import create_one_time
from rebalancer.application.ports.accounts import Tokens
from rebalancer.application.ports.clock import Ids
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.domain.accounts.mail import Mail, MailKind
from rebalancer.domain.accounts.one_time import OneTimeToken
from rebalancer.domain.errors import InvalidRequest, NotAllowed
from rebalancer.domain.portfolio.owner import User

MOST_AN_HOUR, MOST_A_DAY = 3, 10
"""Most mails of these kinds that an address gets, from all requests together."""

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)

_VALIDITY: Mapping[MailKind, tuple[timedelta, str]] = {
    MailKind.CONFIRM_REGISTRATION: (_DAY, "24 hours"),
    MailKind.ALREADY_REGISTERED: (_DAY, "24 hours"),
    MailKind.CONFIRM_ADDRESS: (_DAY, "24 hours"),
    MailKind.RESET_PASSWORD: (_HOUR, "60 minutes"),
    MailKind.NO_ACCOUNT: (_HOUR, "60 minutes"),
}


@attrs.frozen
class AccountPolicy:
    """What this service asks of accounts.

    Attributes:
        sends_mail: Whether it sends mail at all.
        verifies_email: Whether an address must be confirmed by a mailed link.
        terms: Version of the terms that new accounts accept; None: no terms.
    """

    sends_mail: bool = True
    verifies_email: bool = False
    terms: str | None = None


@attrs.frozen
class LinkMailer:
    """Mails links with one-time secrets, a limited number to each address.

    The purpose of a secret is the kind of its mail. A mail that has no link gets a secret for
    which there is no use, so that it takes the same time as one with a link: the time of an answer
    does not reveal who has an account.
    """

    tokens: Tokens
    ids: Ids

    def send(
        self,
        tx: Transaction,
        kind: MailKind,
        to: str,
        *,
        owner: UUID | None = None,
        document: Mapping[str, Any] | None = None,
        now: datetime,
    ) -> None:
        """Mail a link, once the transaction is committed, unless the address has got too many."""
        kinds = frozenset(_VALIDITY)
        if (
            tx.outbox.count(to, kinds, now - _HOUR) >= MOST_AN_HOUR
            or tx.outbox.count(to, kinds, now - _DAY) >= MOST_A_DAY
        ):
            return
        lifetime, validity = _VALIDITY[kind]
        secret = create_one_time(tx, self.tokens, kind, owner, lifetime, document or {}, now)
        tx.outbox.add(
            Mail(
                id=self.ids(),
                kind=kind,
                to=to,
                facts={"token": secret, "validity": validity},
                created=now,
                expires=now + lifetime,
            )
        )

    def find(
        self, tx: Transaction, kind: MailKind, secret: str, now: datetime
    ) -> OneTimeToken | None:
        """Return the token of a link without using it; None if it is invalid."""
        return tx.one_time.get(self.tokens.digest(secret), kind, now)

    def take(
        self, tx: Transaction, kind: MailKind, secret: str, now: datetime
    ) -> OneTimeToken | None:
        """Use the token of a link; None if it is invalid."""
        return tx.one_time.take(self.tokens.digest(secret), kind, now)


def require_confirmed(
    work: UnitOfWork, mailer: LinkMailer, policy: AccountPolicy, user: User, now: datetime
) -> None:
    """Check that a user who has proved an identity has confirmed the address; else mail a link.

    Raises:
        NotAllowed: the address must be confirmed first.
    """
    if not policy.verifies_email or user.verified is not None:
        return
    with work.begin() as tx:
        document = {"email": user.email}
        kind = MailKind.CONFIRM_ADDRESS
        mailer.send(tx, kind, user.email, owner=user.id, document=document, now=now)
    raise NotAllowed(
        "this e-mail address must be confirmed first; open the link that was mailed to it",
        code="email_unverified",
    )


def invalid_link() -> InvalidRequest:
    """Return the error of a secret that is unknown, was used, or has expired."""
    return InvalidRequest(
        "this link has expired or was used before; request a new one",
        field="token",
        code="mailed_link_invalid",
    )
