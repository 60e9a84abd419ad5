"""Delivery of the mails in the outbox."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import attrs

from rebalancer.application.mail_texts import write_message
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.mail import MailServer, MailServerDown, Outcome
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.accounts.mail import Mail

log = logging.getLogger("rebalancer.mail")

LEASE = timedelta(minutes=5)
"""Time after which a mail is sent again whose process ended; longer than one delivery takes."""

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(hours=1)
"""Pauses before further attempts; each is twice the one before."""


@attrs.frozen
class DeliverMail:
    """Send the mails that are due.

    No mail is lost: it stays in the outbox until the server has accepted it. If the process is
    killed, or the database fails, between the two, the mail is sent twice, with the same
    Message-ID.

    Attributes:
        public_url: Address of the client, to which links lead.
    """

    work: UnitOfWork
    server: MailServer
    clock: Clock
    public_url: str

    def __call__(self, *, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Return how many mails were sent.

        Raises:
            MailServerDown: the server does not answer; the mails stay in the outbox.
            Unavailable: the store does not answer.
        """
        with self.work.read() as tx:
            if not tx.outbox.has_due(self.clock()):
                return 0
        sent = 0
        while not should_stop():
            now = self.clock()
            with self.work.begin() as tx:
                mail = tx.outbox.claim(now, until=now + LEASE)
            if mail is None:
                break
            sent += self._deliver(mail, now)
        return sent

    def _deliver(self, mail: Mail, now: datetime) -> bool:
        """Return whether a claimed mail was sent."""
        if mail.expires <= now:
            log.warning("mail %s (%s) expired before it could be sent", mail.id, mail.kind)
            self._close(mail)
            return False
        try:
            delivery = self.server.send(write_message(mail, self.public_url))
        except MailServerDown:
            self._defer(mail)
            raise
        if delivery.outcome is Outcome.DEFERRED:
            log.info("mail %s (%s) was deferred: %s", mail.id, mail.kind, delivery.reason)
            self._defer(mail)
            return False
        if delivery.outcome is Outcome.REFUSED:
            log.warning("mail %s (%s) was refused: %s", mail.id, mail.kind, delivery.reason)
        self._close(mail)
        return delivery.outcome is Outcome.SENT

    def _close(self, mail: Mail) -> None:
        with self.work.begin() as tx:
            tx.outbox.close(mail.id, self.clock())

    def _defer(self, mail: Mail) -> None:
        with self.work.begin() as tx:
            tx.outbox.defer(mail.id, self.clock() + pause_after(mail.attempts))


def pause_after(attempts: int) -> timedelta:
    """Return the pause after a number of attempts, at least one."""
    doublings: int = 2 ** min(attempts - 1, 20)
    return min(FIRST_PAUSE * doublings, LONGEST_PAUSE)
