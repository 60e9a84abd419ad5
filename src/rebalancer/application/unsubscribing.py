"""Links that end mails with notices by one click, without a login (RFC 8058).

A link is a signed statement of whose mails it ends, and of which kind. It ends mails about notices
alone: those about the account and its security cannot be switched off.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.audit import record
from rebalancer.application.ports.keys import UNSUBSCRIBE, Keys
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import NotFound, RebalancerError
from rebalancer.domain.notices.choices import EMAIL, Language
from rebalancer.domain.notices.kinds import NoticeKind

UNSUBSCRIBE_PATH = "/api/notices/unsubscribe"
"""Address of the route, below the public address."""

_SIGNATURE = 16
"""Bytes of a signature."""


@attrs.frozen
class Unsubscription:
    """Whose mails a link ends.

    Attributes:
        kind: None: all mails with notices.
    """

    owner: UUID
    kind: NoticeKind | None


def write_token(keys: Keys, owner: UUID, kind: NoticeKind | None) -> str:
    """Return the token of a link; it stays valid as long as the secret of the deployment."""
    statement = owner.bytes + (b"" if kind is None else kind.value.encode())
    signature = hmac.digest(keys.of(UNSUBSCRIBE)[0].value, statement, "sha256")[:_SIGNATURE]
    return urlsafe_b64encode(signature + statement).rstrip(b"=").decode()


def read_token(keys: Keys, token: str) -> Unsubscription:
    """Return what a token states.

    Raises:
        NotFound: it was not signed by this deployment.
    """
    try:
        content = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        signature, statement = content[:_SIGNATURE], content[_SIGNATURE:]
        if not any(
            hmac.compare_digest(hmac.digest(key.value, statement, "sha256")[:_SIGNATURE], signature)
            for key in keys.of(UNSUBSCRIBE)
        ):
            raise ValueError
        kind = statement[16:].decode()
        return Unsubscription(UUID(bytes=statement[:16]), NoticeKind(kind) if kind else None)
    except ValueError:
        raise NotFound(
            "this link is not valid; change your notices in the settings of the app",
            code="invalid_unsubscribe_link",
        ) from None


@attrs.frozen
class Unsubscribe:
    """End mails with notices by a signed link."""

    work: UnitOfWork
    keys: Keys

    def read(self, token: str) -> tuple[Unsubscription, Language]:
        """Return what a link would end, and the language of its owner; nothing changes.

        Raises:
            NotFound: the link was not signed by this deployment.
        """
        found = read_token(self.keys, token)
        with self.work.read() as tx:
            return found, tx.notice_choices.get(found.owner).language

    def __call__(self, token: str, *, now: datetime) -> tuple[Unsubscription, Language]:
        """Return which mails were ended, and the language of their owner.

        A link works as often as it is used.

        Raises:
            NotFound: the link was not signed by this deployment, or its account does not exist.
        """
        found = read_token(self.keys, token)
        kinds = list(NoticeKind) if found.kind is None else [found.kind]
        with self.work.begin() as tx:
            try:
                tx.users.get(found.owner)
            except RebalancerError:
                raise NotFound(
                    "this link is not valid: its account does not exist",
                    code="invalid_unsubscribe_link",
                ) from None
            choices = tx.notice_choices.get(found.owner)
            if any(choices.is_on(kind, EMAIL) for kind in kinds):
                off = choices.switched(EMAIL, dict.fromkeys(kinds, False))
                tx.notice_choices.save(found.owner, off)
                details = {"kinds": "all" if found.kind is None else found.kind.value}
                record(
                    tx,
                    Action.NOTICES_UNSUBSCRIBED,
                    at=now,
                    subject=found.owner,
                    details=details,
                )
        return found, choices.language
