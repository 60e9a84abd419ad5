"""Deletion of expired data."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.accounts.guessing import DEVICE_LIFETIME, FORGOTTEN

_USAGE_LIFETIME = timedelta(days=2)

_BATCH = 500
"""Proposals that one transaction deletes, so that other writers wait briefly."""


@attrs.frozen
class DeleteExpired:
    """Delete expired keys, tokens, sessions, proposals and notices, and counters of earlier days.

    Attributes:
        keys_lifetime: How long a repeated request returns the result of the first.
        proposals_lifetime: How long proposals are kept that were never accepted.
        notices_lifetime: How long notices are kept, read or not.
        messages_lifetime: How long owners see what became of messages with notices.
        mails_lifetime: How long it stays known that a mail was sent; see `Outbox.count`.
    """

    work: UnitOfWork
    keys_lifetime: timedelta = timedelta(days=7)
    proposals_lifetime: timedelta = timedelta(days=90)
    mails_lifetime: timedelta = timedelta(days=1)
    notices_lifetime: timedelta = timedelta(days=365)
    messages_lifetime: timedelta = timedelta(days=30)

    def __call__(self, now: datetime) -> None:
        """Delete what expired before ``now``."""
        with self.work.begin() as tx:
            tx.keys.delete_before(now - self.keys_lifetime)
            tx.tokens.delete_expired(now)
            tx.one_time.delete_expired(now)
            tx.sessions.delete_past(now)
            tx.failures.delete_before(now - FORGOTTEN)
            tx.devices.delete_unused(now - DEVICE_LIFETIME)
            tx.usage.delete_before((now - _USAGE_LIFETIME).date())
            tx.outbox.delete_closed(now - self.mails_lifetime)
            tx.notices.delete_old(now - self.notices_lifetime)
            tx.notice_deliveries.delete_closed(now - self.messages_lifetime)
        before = now - self.proposals_lifetime
        deleted = _BATCH
        while deleted == _BATCH:
            with self.work.begin() as tx:
                deleted = tx.proposals.delete_expired(before, limit=_BATCH)
