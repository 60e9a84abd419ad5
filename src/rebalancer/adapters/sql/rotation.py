"""Bring stored keys and texts to the configured encryption, in small transactions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    func,
    not_,
    or_,
    select,
    update,
)

from rebalancer.adapters.sql.data_keys import SqlDataKeys
from rebalancer.adapters.sql.engine import reading, writing
from rebalancer.adapters.sql.sealed import (
    PERSONAL,
    SEALED_DOCUMENT,
    PersonalColumns,
    open_row,
    owner_of,
    seal_row,
)
from rebalancer.application.encryption import SEALED
from rebalancer.application.ports.encryption import Encryption, FieldCipher, KeyRotation
from rebalancer.domain.errors import Conflict

BATCH = 500
"""Rows per transaction; a writer of SQLite waits for one of them at most."""


def rotate_keys(
    engine: Engine,
    encryption: Encryption,
    progress: Callable[[int, int], None],
    batch: int = BATCH,
) -> KeyRotation:
    """See `Database.rotate_keys`."""
    with reading(engine) as connection:
        keys = SqlDataKeys(connection)
        encryption.check(keys)
        counts = keys.counts()
        waiting = {name: _count(connection, one, encryption) for name, one in PERSONAL.items()}
    if encryption.newest is None:
        return KeyRotation(0, {})
    outdated = sum(counts.values()) - counts.get(encryption.newest, 0) if encryption.seals else 0
    done = _Progress(progress, outdated + sum(waiting.values()))
    rewrapped = _rewrap(engine, encryption, done, batch) if encryption.seals else 0
    rows = {
        name: _change_rows(engine, one, encryption, done, batch)
        for name, one in PERSONAL.items()
        if waiting[name]
    }
    if not encryption.seals:
        _remove_keys(engine, encryption)
    return KeyRotation(rewrapped, rows, removed=not encryption.seals)


@attrs.define
class _Progress:
    """Counts changed rows; others may be written meanwhile, so the total may grow."""

    report: Callable[[int, int], None]
    total: int
    done: int = 0

    def advance(self, rows: int) -> None:
        self.done += rows
        self.total = max(self.total, self.done)
        self.report(self.done, self.total)


def _rewrap(engine: Engine, encryption: Encryption, done: _Progress, batch: int) -> int:
    changed, newest = 0, str(encryption.newest)
    while True:
        with writing(engine) as connection:
            keys = SqlDataKeys(connection, locks=True)
            others = sorted(keys.counts().keys() - {newest})
            found = keys.wrapped_by(others[0], limit=batch) if others else {}
            for owner, key in found.items():
                keys.replace(owner, encryption.rewrap(owner, key))
        if not found:
            return changed
        changed += len(found)
        done.advance(len(found))


def _change_rows(
    engine: Engine, personal: PersonalColumns, encryption: Encryption, done: _Progress, batch: int
) -> int:
    """Seal the texts of a table that are plain, or open those that are sealed."""
    changed, last = 0, None
    while True:
        with writing(engine) as connection:
            cipher = encryption.cipher(SqlDataKeys(connection, locks=True), writes=True)
            query = _waiting(personal, encryption).order_by(*_keys(personal)).limit(batch)
            if last is not None:
                query = query.where(_after(personal, last))
            rows = connection.execute(
                query.with_for_update(of=personal.table, key_share=True)
            ).all()
            values = [_changed(cipher, personal, row) for row in rows]
            if rows:
                _update(connection, personal, values)
        if not rows:
            return changed
        last = rows[-1]._mapping
        changed += len(rows)
        done.advance(len(rows))


def _changed(cipher: FieldCipher, personal: PersonalColumns, row: Any) -> dict[str, Any]:
    """Return the new values of a row, and its primary key as parameters."""
    stored = row._mapping
    owner = owner_of(personal, stored)
    opened = open_row(cipher, personal.table, row, owner)
    plain = {name: _writable(personal, name, getattr(opened, name)) for name in personal.names}
    new = seal_row(cipher, personal.table, plain | {personal.key: stored[personal.key]}, owner)
    del new[personal.key]
    return new | {f"at_{key.name}": stored[key.name] for key in _keys(personal)}


def _writable(personal: PersonalColumns, name: str, value: Any) -> Any:
    """Return a value for the column that was read from it."""
    if value is None or not personal.is_document(name):
        return value
    return msgspec.Raw(value.encode() if isinstance(value, str) else bytes(value))


def _update(
    connection: Connection, personal: PersonalColumns, values: list[dict[str, Any]]
) -> None:
    same = and_(*(key == bindparam(f"at_{key.name}") for key in _keys(personal)))
    columns = [name for name in values[0] if not name.startswith("at_")]
    change = update(personal.table).where(same).values({name: bindparam(name) for name in columns})
    connection.execute(change, values)


def _remove_keys(engine: Engine, encryption: Encryption) -> None:
    with writing(engine) as connection:
        left = [name for name, one in PERSONAL.items() if _count(connection, one, encryption)]
        if left:
            raise Conflict(
                f"texts in {', '.join(left)} were encrypted meanwhile; switch encryption off in "
                "all servers and workers, restart them, then rotate again",
                code="encryption_in_use",
            )
        SqlDataKeys(connection, locks=True).erase_all()


def _waiting(personal: PersonalColumns, encryption: Encryption) -> Select[Any]:
    """Select the rows of a table that are to be changed."""
    owner = [] if personal.owner is None else [personal.owner]
    columns = [*_keys(personal), personal.table.c[personal.key], *owner]
    texts = [personal.table.c[name] for name in personal.names]
    unique = {column.name: column for column in [*columns, *texts]}
    states = [_is_sealed(column, personal) for column in texts]
    if encryption.seals:
        states = [
            and_(_has_text(column, personal), not_(sealed))
            for column, sealed in zip(texts, states, strict=True)
        ]
    query = select(*unique.values()).select_from(personal.source).where(or_(*states))
    return query if personal.only is None else query.where(personal.only)


def _count(connection: Connection, personal: PersonalColumns, encryption: Encryption) -> int:
    rows = _waiting(personal, encryption).subquery()
    return connection.scalar(select(func.count()).select_from(rows)) or 0


def _is_sealed(column: Column[Any], personal: PersonalColumns) -> ColumnElement[bool]:
    start = SEALED_DOCUMENT if personal.is_document(column.name) else SEALED
    return and_(column.is_not(None), func.substr(cast(column, Text), 1, len(start)) == start)


def _has_text(column: Column[Any], personal: PersonalColumns) -> ColumnElement[bool]:
    empty = ("{}", "[]", '""', "null") if personal.is_document(column.name) else ("",)
    return and_(column.is_not(None), cast(column, Text).not_in(empty))


def _keys(personal: PersonalColumns) -> list[Column[Any]]:
    return list(personal.table.primary_key.columns)


def _after(personal: PersonalColumns, last: Mapping[Any, Any]) -> ColumnElement[bool]:
    """Match the rows after one, by primary key."""
    keys = _keys(personal)
    first, rest = keys[0], keys[1:]
    after: ColumnElement[bool] = first > last[first.name]
    if not rest:
        return after
    return or_(after, and_(first == last[first.name], rest[0] > last[rest[0].name]))
