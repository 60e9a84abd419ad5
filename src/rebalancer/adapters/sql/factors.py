"""Passkeys, secrets of authenticator apps and recovery codes in a SQL database."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, delete, func, insert, select, update

from rebalancer.adapters.sql.engine import upsert
from rebalancer.adapters.sql.rows import PASSKEYS, TOTP_SECRETS
from rebalancer.adapters.sql.sealed import open_row, seal_row
from rebalancer.adapters.sql.statements import SqlStore, lock_rows, replace_row
from rebalancer.adapters.sql.tables import passkeys, recovery_codes, totp_secrets
from rebalancer.application.not_found import require
from rebalancer.domain.accounts.factors import Passkey, TotpSecret


class SqlPasskeys(SqlStore):
    def add(self, passkey: Passkey) -> None:
        self.connection.execute(insert(passkeys), self._row_of(passkey))

    def get(self, id: UUID, *, owner: UUID) -> Passkey:
        query = select(passkeys).where(passkeys.c.id == id, passkeys.c.owner == owner)
        return require(self._first(query), "passkey", id)

    def by_credential(self, credential: bytes) -> Passkey | None:
        return self._first(select(passkeys).where(passkeys.c.credential == credential))

    def of_owner(self, owner: UUID) -> list[Passkey]:
        query = (
            select(passkeys)
            .where(passkeys.c.owner == owner)
            .order_by(passkeys.c.created, passkeys.c.id)
        )
        return list(map(self._passkey_of, self.connection.execute(self._locked(query))))

    def save(self, passkey: Passkey) -> None:
        replace_row(self.connection, passkeys, self._row_of(passkey), "passkey")

    def delete(self, id: UUID) -> None:
        self.connection.execute(delete(passkeys).where(passkeys.c.id == id))

    def delete_all(self, owner: UUID) -> None:
        self.connection.execute(delete(passkeys).where(passkeys.c.owner == owner))

    def _first(self, query: Select[Any]) -> Passkey | None:
        row = self.connection.execute(self._locked(query)).one_or_none()
        return None if row is None else self._passkey_of(row)

    def _locked(self, query: Select[Any]) -> Select[Any]:
        return lock_rows(query) if self.locks else query

    def _row_of(self, passkey: Passkey) -> dict[str, Any]:
        return seal_row(self.cipher, passkeys, PASSKEYS.to_row(passkey))

    def _passkey_of(self, row: Row[Any]) -> Passkey:
        return PASSKEYS.from_row(open_row(self.cipher, passkeys, row))


class SqlTotpSecrets(SqlStore):
    def get(self, owner: UUID) -> TotpSecret | None:
        query = select(totp_secrets).where(totp_secrets.c.owner == owner)
        row = self.connection.execute(lock_rows(query) if self.locks else query).one_or_none()
        if row is None:
            return None
        return TOTP_SECRETS.from_row(open_row(self.cipher, totp_secrets, row))

    def save(self, totp: TotpSecret) -> None:
        row = seal_row(self.cipher, totp_secrets, TOTP_SECRETS.to_row(totp))
        upsert(self.connection, totp_secrets, [row])

    def delete(self, owner: UUID) -> None:
        self.connection.execute(delete(totp_secrets).where(totp_secrets.c.owner == owner))


class SqlRecoveryCodes(SqlStore):
    def replace(self, owner: UUID, digests: Collection[str], now: datetime) -> None:
        self.connection.execute(delete(recovery_codes).where(recovery_codes.c.owner == owner))
        rows = [{"owner": owner, "digest": digest, "created": now} for digest in digests]
        if rows:
            self.connection.execute(insert(recovery_codes), rows)

    def use(self, owner: UUID, digest: str, now: datetime) -> bool:
        table = recovery_codes
        left = (table.c.owner == owner) & (table.c.digest == digest) & table.c.used.is_(None)
        return self.connection.execute(update(table).where(left).values(used=now)).rowcount == 1

    def unused(self, owner: UUID) -> int:
        table = recovery_codes
        left = (table.c.owner == owner) & table.c.used.is_(None)
        return self.connection.scalar(select(func.count()).where(left)) or 0
