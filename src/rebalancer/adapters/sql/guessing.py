"""Failed logins and known devices in a SQL database."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select

from rebalancer.adapters.sql.engine import add_missing, upsert
from rebalancer.adapters.sql.rows import DEVICES, FAILURES
from rebalancer.adapters.sql.statements import SqlStore, delete_unlocked, lock_rows
from rebalancer.adapters.sql.tables import known_devices, login_failures
from rebalancer.domain.accounts.guessing import Failures, KnownDevice


class SqlLoginFailures(SqlStore):
    def find(self, key: str) -> Failures | None:
        query = select(login_failures).where(login_failures.c.key == key)
        row = self.connection.execute(lock_rows(query) if self.locks else query).one_or_none()
        return None if row is None else FAILURES.from_row(row)

    def get(self, key: str, owner: UUID | None, now: datetime) -> Failures:
        add_missing(self.connection, login_failures, FAILURES.to_row(Failures(key, 0, now, owner)))
        found = self.find(key)
        assert found is not None  # the lock keeps others from deleting it
        return found

    def save(self, failures: Failures) -> None:
        upsert(self.connection, login_failures, [FAILURES.to_row(failures)])

    def clear(self, owner: UUID) -> None:
        self.connection.execute(delete(login_failures).where(login_failures.c.owner == owner))

    def delete_before(self, before: datetime) -> None:
        table = login_failures.c
        old = select(table.key).where(table.owner.is_(None), table.last < before)
        self.connection.execute(delete_unlocked(login_failures, table.key, old))


class SqlKnownDevices(SqlStore):
    def save(self, device: KnownDevice) -> None:
        upsert(self.connection, known_devices, [DEVICES.to_row(device)])

    def find(self, digest: str) -> KnownDevice | None:
        query = select(known_devices).where(known_devices.c.digest == digest)
        row = self.connection.execute(lock_rows(query) if self.locks else query).one_or_none()
        return None if row is None else DEVICES.from_row(row)

    def of_owner(self, owner: UUID) -> list[KnownDevice]:
        table = known_devices.c
        query = select(known_devices).where(table.owner == owner)
        rows = self.connection.execute(query.order_by(table.used.desc(), table.digest.desc()))
        return [DEVICES.from_row(row) for row in rows]

    def delete(self, digest: str) -> None:
        self.connection.execute(delete(known_devices).where(known_devices.c.digest == digest))

    def forget(self, owner: UUID) -> None:
        self.connection.execute(delete(known_devices).where(known_devices.c.owner == owner))

    def delete_unused(self, before: datetime) -> None:
        table = known_devices.c
        old = select(table.digest).where(table.used < before)
        self.connection.execute(delete_unlocked(known_devices, table.digest, old))
