"""Deletions of accounts in memory."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from rebalancer.domain.accounts.deletion import Deletion
from rebalancer.domain.portfolio.owner import ANONYMOUS_PORTFOLIO, User, anonymous
from rebalancer.domain.portfolio.planned_flows import NO_PLAN

_RECORDS = ("users", "portfolios", "closed", "ledgers", "proposals", "failures")


@attrs.frozen
class MemoryDeletions:
    rows: dict[UUID, Deletion]
    tables: dict[str, dict[Any, Any]]

    def save(self, deletion: Deletion) -> None:
        self.rows[deletion.owner] = deletion

    def find(self, owner: UUID) -> Deletion | None:
        return self.rows.get(owner)

    def remove(self, owner: UUID) -> bool:
        return self.rows.pop(owner, None) is not None

    def due(self, now: datetime, *, limit: int) -> list[Deletion]:
        found = [one for one in self.rows.values() if one.due <= now]
        return sorted(found, key=lambda one: (one.due, one.owner))[:limit]

    def erase(self, user: User, *, keep_records: bool, now: datetime) -> None:
        portfolios = {id for id, row in self.tables["portfolios"].items() if row.owner == user.id}
        for name, rows in self.tables.items():
            if not (keep_records and name in _RECORDS):
                for key, row in list(rows.items()):
                    if _is_about(key, row, user) or key in portfolios:
                        del rows[key]
        if keep_records:
            self._anonymize(user, portfolios, now)
        else:
            failures = self.tables["failures"]
            for run, lines in failures.items():
                failures[run] = tuple(line for line in lines if line[0] not in portfolios)

    def _anonymize(self, user: User, portfolios: set[UUID], now: datetime) -> None:
        self.tables["users"][user.id] = anonymous(user, now)
        for id in portfolios:
            stored = self.tables["portfolios"][id]
            mandate = attrs.evolve(stored.mandate, name=ANONYMOUS_PORTFOLIO)
            unnamed = attrs.evolve(stored, mandate=mandate, plan=NO_PLAN, following=None, goals=())
            self.tables["portfolios"][id] = unnamed
            ledger = self.tables["ledgers"][id]
            self.tables["ledgers"][id] = tuple(attrs.evolve(entry, note="") for entry in ledger)
        for id, record in list(self.tables["proposals"].items()):
            if record.owner == user.id:
                self.tables["proposals"][id] = attrs.evolve(record, remark="")


def _is_about(key: Any, row: Any, user: User) -> bool:
    """Return whether a row belongs to a user, by its key or by its attributes."""
    if key == user.id or (isinstance(key, tuple) and key[0] == user.id):
        return True
    mail = getattr(row, "mail", None)
    return (
        user.id in (getattr(row, "owner", None), getattr(row, "recipient", None))
        or getattr(row, "email", None) == user.email
        or getattr(mail, "to", None) == user.email
    )
