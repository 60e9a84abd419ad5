"""One-time tokens in a SQL database."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, delete, func, insert, select

from rebalancer.adapters.sql.rows import ONE_TIME
from rebalancer.adapters.sql.sealed import open_row, seal_row
from rebalancer.adapters.sql.statements import SqlStore, delete_unlocked
from rebalancer.adapters.sql.tables import one_time_tokens
from rebalancer.domain.accounts.one_time import OneTimeToken

_TABLE = one_time_tokens.c


class SqlOneTimeTokens(SqlStore):
    def add(self, token: OneTimeToken) -> None:
        row = seal_row(self.cipher, one_time_tokens, ONE_TIME.to_row(token))
        self.connection.execute(insert(one_time_tokens), row)

    def get(self, digest: str, purpose: str, now: datetime) -> OneTimeToken | None:
        query = select(one_time_tokens).where(_valid(digest, purpose, now))
        row = self.connection.execute(query).one_or_none()
        return None if row is None else self._token_of(row)

    def take(self, digest: str, purpose: str, now: datetime) -> OneTimeToken | None:
        taken = delete(one_time_tokens).where(_valid(digest, purpose, now))
        row = self.connection.execute(taken.returning(*one_time_tokens.columns)).one_or_none()
        return None if row is None else self._token_of(row)

    def count(self, owner: UUID, purpose: str, now: datetime) -> int:
        mine = (_TABLE.owner == owner) & (_TABLE.purpose == purpose) & (_TABLE.expires > now)
        return self.connection.scalar(select(func.count()).where(mine)) or 0

    def delete(self, owner: UUID, purpose: str) -> None:
        mine = (_TABLE.owner == owner) & (_TABLE.purpose == purpose)
        self.connection.execute(delete(one_time_tokens).where(mine))

    def delete_expired(self, now: datetime) -> None:
        expired = select(_TABLE.digest).where(_TABLE.expires <= now)
        self.connection.execute(delete_unlocked(one_time_tokens, _TABLE.digest, expired))

    def _token_of(self, row: Row[Any]) -> OneTimeToken:
        return ONE_TIME.from_row(open_row(self.cipher, one_time_tokens, row))


def _valid(digest: str, purpose: str, now: datetime) -> ColumnElement[Any]:
    return (_TABLE.digest == digest) & (_TABLE.purpose == purpose) & (_TABLE.expires > now)
