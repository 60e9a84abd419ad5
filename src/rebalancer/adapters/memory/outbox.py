"""Mails that wait, in memory."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.domain.accounts.mail import Mail, MailKind


@attrs.frozen
class QueuedMail:
    """Mail and the state of its delivery."""

    mail: Mail
    due: datetime
    closed: datetime | None = None


@attrs.frozen
class MemoryOutbox:
    rows: dict[UUID, QueuedMail]

    def add(self, mail: Mail) -> None:
        self.rows.setdefault(mail.id, QueuedMail(mail, due=mail.created))

    def has_due(self, now: datetime) -> bool:
        return any(row.closed is None and row.due <= now for row in self.rows.values())

    def claim(self, now: datetime, *, until: datetime) -> Mail | None:
        due = [row for row in self.rows.values() if row.closed is None and row.due <= now]
        if not due:
            return None
        first = min(due, key=lambda row: (row.due, row.mail.id))
        mail = attrs.evolve(first.mail, attempts=first.mail.attempts + 1)
        self.rows[mail.id] = attrs.evolve(first, mail=mail, due=until)
        return mail

    def defer(self, id: UUID, due: datetime) -> None:
        if id in self.rows:
            self.rows[id] = attrs.evolve(self.rows[id], due=due)

    def close(self, id: UUID, now: datetime) -> None:
        if id in self.rows:
            row = self.rows[id]
            self.rows[id] = attrs.evolve(row, mail=attrs.evolve(row.mail, facts={}), closed=now)

    def count(self, to: str, kinds: Collection[MailKind], since: datetime) -> int:
        return sum(
            row.mail.to == to and row.mail.kind in kinds and row.mail.created >= since
            for row in self.rows.values()
        )

    def delete_closed(self, before: datetime) -> None:
        for id, row in list(self.rows.items()):
            if (row.closed is not None and row.closed < before) or row.mail.expires < before:
                del self.rows[id]
