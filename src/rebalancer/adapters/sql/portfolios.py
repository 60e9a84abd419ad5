"""Portfolios and their ledgers in a SQL database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import attrs
import msgspec
from sqlalchemy import Row, bindparam, func, insert, select, tuple_, update

from rebalancer.adapters.sql.checkpoints import LedgerRules, read_ledger, store_checkpoint
from rebalancer.adapters.sql.histories import read_histories, store_histories
from rebalancer.adapters.sql.rows import ENTRIES, portfolio_of, portfolio_or_error, portfolio_row
from rebalancer.adapters.sql.sealed import open_row, seal_row
from rebalancer.adapters.sql.shares import check_shared_right, is_shared, shared_with
from rebalancer.adapters.sql.statements import SqlStore, lock_rows, without_key
from rebalancer.adapters.sql.tables import ledger_entries, portfolios
from rebalancer.application.encryption import is_sealed
from rebalancer.application.not_found import require
from rebalancer.domain.accounts.shares import Right, only_the_owner
from rebalancer.domain.backtest.history_snapshots import KeptHistory
from rebalancer.domain.portfolio.ledger import Entry, Ledger, filled_quantities, void_id
from rebalancer.domain.portfolio.mandate import (
    ManagedPortfolio,
    PortfolioChanged,
    UnreadablePortfolio,
)

_IDS_PER_STATEMENT = 10_000
"""Databases limit the number of parameters."""


def _is_open(id: Any, owner: Any) -> Any:
    """Match the open portfolio of this id and owner."""
    table = portfolios.c
    return (table.id == id) & (table.owner == owner) & table.closed.is_(None)


# Statements of almost every request, built once.
_SYMBOLS: Any = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
"""Reads the symbols of a document and skips the rest."""

_ONE = select(portfolios).where(_is_open(bindparam("id"), bindparam("owner")))
_MANY = select(portfolios).where(
    portfolios.c.id.in_(bindparam("ids", expanding=True)), portfolios.c.closed.is_(None)
)
_LOCKED_ONE, _LOCKED_MANY = lock_rows(_ONE), lock_rows(_MANY)
_VERSIONS = select(portfolios.c.id, portfolios.c.version).where(
    portfolios.c.id.in_(bindparam("ids", expanding=True))
)
_FIRST_PAGE = (
    select(portfolios)
    .where(portfolios.c.owner == bindparam("owner"), portfolios.c.closed.is_(None))
    .order_by(portfolios.c.created, portfolios.c.id)
    .limit(bindparam("limit"))
)
_CURSOR = portfolios.alias("cursor")
_NEXT_PAGE = _FIRST_PAGE.where(
    tuple_(portfolios.c.created, portfolios.c.id)
    > select(_CURSOR.c.created, _CURSOR.c.id)
    .where(_CURSOR.c.id == bindparam("after"), _CURSOR.c.owner == bindparam("owner"))
    .scalar_subquery()
)
_SWAP = update(portfolios).where(
    _is_open(bindparam("at_id"), bindparam("at_owner")),
    portfolios.c.version == bindparam("at_version"),
)
_MARK = (
    update(portfolios)
    .where(portfolios.c.id == bindparam("at_id"), portfolios.c.version == bindparam("at_version"))
    .values(booked_actions=bindparam("actions"))
)
_LEDGERS = (
    select(ledger_entries)
    .where(ledger_entries.c.portfolio.in_(bindparam("portfolios", expanding=True)))
    .order_by(ledger_entries.c.sequence)
)


@attrs.frozen
class SqlPortfolios(SqlStore):
    rules: LedgerRules = attrs.field(factory=LedgerRules, kw_only=True)
    _locked: dict[UUID, ManagedPortfolio] = attrs.field(
        factory=dict, init=False, repr=False, eq=False
    )
    _ledgers: dict[UUID, Ledger] = attrs.field(factory=dict, init=False, repr=False, eq=False)

    def add(self, portfolio: ManagedPortfolio, entries: Sequence[Entry]) -> None:
        ledger = portfolio.extend_ledger(Ledger(), entries)
        self.connection.execute(insert(portfolios), portfolio_row(portfolio))
        self._append(portfolio.id, portfolio.owner, entries)
        store_checkpoint(self.connection, portfolio.id, ledger, self.rules)

    def get(self, id: UUID, *, owner: UUID | None = None) -> ManagedPortfolio:
        row = self._find(id, owner)
        if row is None and owner is not None and self._is_shared(id, owner):
            raise only_the_owner()
        return self._note(portfolio_of(require(row, "portfolio", id)))

    def get_for(self, id: UUID, actor: UUID, right: Right = Right.READ) -> ManagedPortfolio:
        row = self._find(id, actor)
        if row is None and self._is_shared(id, actor):
            check_shared_right(self.connection, id, actor, right)
            row = self._find(id, None)
        return self._note(portfolio_of(require(row, "portfolio", id)))

    def _find(self, id: UUID, owner: UUID | None) -> Row[Any] | None:
        """Return the row of an open portfolio, of any owner when None."""
        if owner is None:
            query = _LOCKED_MANY if self.locks else _MANY
            return self.connection.execute(query, {"ids": [id]}).one_or_none()
        query = _LOCKED_ONE if self.locks else _ONE
        return self.connection.execute(query, {"id": id, "owner": owner}).one_or_none()

    def _is_shared(self, id: UUID, actor: UUID) -> bool:
        return is_shared(self.connection, id, actor)

    def _note(self, found: ManagedPortfolio) -> ManagedPortfolio:
        if self.locks:
            self._locked[found.id] = found
        return found

    def save(
        self,
        portfolio: ManagedPortfolio,
        *,
        entries: Sequence[Entry] = (),
        ledger: Ledger | None = None,
    ) -> None:
        id, before = portfolio.id, portfolio.version - 1
        stored = self._require_version(id, portfolio.owner, before)
        longer = None
        if entries or portfolio.positions != stored.positions:
            longer = ledger
            if longer is None:
                longer = portfolio.extend_ledger(self.ledger(id), entries)
            portfolio.check_ledger(longer)
        self._ledgers.pop(id, None)
        self._compare_and_swap(id, portfolio.owner, before, portfolio_row(portfolio))
        self._append(id, portfolio.owner, entries)
        if longer is not None and entries:
            store_checkpoint(self.connection, id, longer, self.rules)
        if id in self._locked:
            self._locked[id] = portfolio

    def mark_booked(self, actions: str, versions: Mapping[UUID, int]) -> None:
        rows = [
            {"at_id": id, "at_version": version, "actions": actions}
            for id, version in sorted(versions.items())
        ]
        if rows:
            self.connection.execute(_MARK, rows)
        for id, version in versions.items():
            known = self._locked.get(id)
            if known is not None and known.version == version:
                self._locked[id] = attrs.evolve(known, booked_actions=actions)

    def histories(self, ids: Collection[UUID]) -> dict[UUID, KeptHistory]:
        return {
            id: kept
            for some in _slices(ids)
            for id, kept in read_histories(self.connection, some).items()
        }

    def keep_histories(self, kept: Mapping[UUID, KeptHistory]) -> None:
        store_histories(self.connection, kept)

    def close(self, id: UUID, *, owner: UUID, version: int, now: datetime) -> None:
        self._require_version(id, owner, version)
        self._compare_and_swap(id, owner, version, {"closed": now})
        self._locked.pop(id, None)

    def with_automatic_flows(
        self, *, after: UUID | None = None, limit: int
    ) -> list[ManagedPortfolio]:
        table = portfolios.c
        query = select(portfolios).where(table.flows_automatic, table.closed.is_(None))
        if after is not None:
            query = query.where(table.id > after)
        rows = self.connection.execute(query.order_by(table.id).limit(limit))
        return [portfolio_of(row) for row in rows]

    def followers(self, model: UUID) -> list[ManagedPortfolio]:
        table = portfolios.c
        query = select(portfolios).where(table.model == model, table.closed.is_(None))
        return [portfolio_of(row) for row in self.connection.execute(query.order_by(table.id))]

    def count(self, owner: UUID) -> int:
        mine = (portfolios.c.owner == owner) & portfolios.c.closed.is_(None)
        return self.connection.scalar(select(func.count()).where(mine)) or 0

    def page(self, owner: UUID, *, after: UUID | None = None, limit: int) -> list[ManagedPortfolio]:
        query = _FIRST_PAGE if after is None else _NEXT_PAGE
        values = {"owner": owner, "after": after, "limit": limit}
        return [portfolio_of(row) for row in self.connection.execute(query, values)]

    def of_owner(
        self, owner: UUID, *, after: UUID | None = None, limit: int
    ) -> list[ManagedPortfolio]:
        table, cursor = portfolios.c, portfolios.alias("cursor")
        query = select(portfolios).where(table.owner == owner)
        if after is not None:
            start = select(cursor.c.created, cursor.c.id).where(
                cursor.c.id == after, cursor.c.owner == owner
            )
            query = query.where(tuple_(table.created, table.id) > start.scalar_subquery())
        page = query.order_by(table.created, table.id).limit(limit)
        return [portfolio_of(row) for row in self.connection.execute(page)]

    def closings(self, owner: UUID) -> dict[UUID, datetime]:
        table = portfolios.c
        query = select(table.id, table.closed).where(
            table.owner == owner, table.closed.is_not(None)
        )
        return {row.id: row.closed for row in self.connection.execute(query)}

    def shared_page(
        self, actor: UUID, *, after: UUID | None = None, limit: int
    ) -> list[ManagedPortfolio]:
        table, cursor = portfolios.c, portfolios.alias("cursor")
        query = select(portfolios).where(table.id.in_(shared_with(actor)), table.closed.is_(None))
        if after is not None:
            start = select(cursor.c.created, cursor.c.id).where(
                cursor.c.id == after, cursor.c.id.in_(shared_with(actor))
            )
            query = query.where(tuple_(table.created, table.id) > start.scalar_subquery())
        page = query.order_by(table.created, table.id).limit(limit)
        return [portfolio_of(row) for row in self.connection.execute(page)]

    def get_many(self, ids: Collection[UUID]) -> dict[UUID, ManagedPortfolio]:
        return {
            row.id: portfolio_of(row)
            for some in _slices(ids)
            for row in self.connection.execute(_MANY, {"ids": some})
        }

    def versions(self, ids: Collection[UUID]) -> dict[UUID, int]:
        return {
            row.id: row.version
            for some in _slices(ids)
            for row in self.connection.execute(_VERSIONS, {"ids": some})
        }

    def chunk(
        self, *, after: UUID | None = None, until: UUID | None = None, limit: int | None = None
    ) -> list[ManagedPortfolio | UnreadablePortfolio]:
        query = select(portfolios).where(portfolios.c.closed.is_(None))
        if after is not None:
            query = query.where(portfolios.c.id > after)
        if until is not None:
            query = query.where(portfolios.c.id <= until)
        query = query.order_by(portfolios.c.id).limit(limit)
        return [portfolio_or_error(row) for row in self.connection.execute(query).all()]

    def symbols(self) -> frozenset[str]:
        query = select(portfolios.c.holdings, portfolios.c.targets)
        rows = self.connection.execute(query.where(portfolios.c.closed.is_(None)))
        return frozenset(symbol for row in rows for text in row for symbol in _SYMBOLS(text))

    def chunk_boundaries(self, size: int) -> list[UUID]:
        place = func.row_number().over(order_by=portfolios.c.id)
        placed = select(portfolios.c.id, place.label("place")).where(portfolios.c.closed.is_(None))
        numbered = placed.subquery()
        query = select(numbered.c.id).where(numbered.c.place % size == 0).order_by(numbered.c.id)
        return list(self.connection.execute(query).scalars())

    def ledger(self, id: UUID) -> Ledger:
        if id in self._ledgers:
            return self._ledgers[id]
        found = read_ledger(
            self.connection,
            id,
            partial(self._entries_of, id),
            locks=self.locks,
            rules=self.rules,
        )
        if id in self._locked:
            self._ledgers[id] = found
        return found

    def ledgers(self, ids: Collection[UUID]) -> dict[UUID, Ledger]:
        found: dict[UUID, list[Entry]] = {id: [] for id in ids}
        for some in _slices(found):
            for row in self.connection.execute(_LEDGERS, {"portfolios": some}):
                found[row.portfolio].append(_without_note(ENTRIES.from_row(row)))
        return {id: Ledger(tuple(entries)) for id, entries in found.items()}

    def entries(self, id: UUID, *, before: UUID | None = None, limit: int) -> list[Entry]:
        table = ledger_entries
        query = select(table).where(table.c.portfolio == id)
        if before is not None:
            cursor = table.alias("cursor")
            start = select(cursor.c.sequence).where(cursor.c.portfolio == id, cursor.c.id == before)
            query = query.where(table.c.sequence < start.scalar_subquery())
        query = query.order_by(table.c.sequence.desc()).limit(limit)
        return list(self._entries_of(id, self.connection.execute(query)))

    def void(self, id: UUID, entries: Collection[UUID]) -> frozenset[UUID]:
        table = ledger_entries.c
        query = select(table.voids).where(
            table.portfolio == id, table.id.in_([void_id(entry) for entry in entries])
        )
        return frozenset(self.connection.execute(query).scalars()) if entries else frozenset()

    def fills(self, proposals: Mapping[UUID, UUID]) -> dict[UUID, dict[str, Decimal]]:
        table, found = ledger_entries.c, {proposal: list[Entry]() for proposal in proposals}
        query = select(ledger_entries).where(
            table.portfolio.in_(set(proposals.values())), table.proposal.in_(list(proposals))
        )
        for row in self.connection.execute(query) if proposals else ():
            found[row.proposal].append(ENTRIES.from_row(row))
        return {proposal: filled_quantities(trades) for proposal, trades in found.items()}

    def _require_version(self, id: UUID, owner: UUID, version: int) -> ManagedPortfolio:
        stored = self._locked.get(id)
        if stored is None:
            # Locked, so that the ledger that is read next is of the same version.
            row = self.connection.execute(_LOCKED_ONE, {"id": id, "owner": owner}).one_or_none()
            stored = portfolio_of(require(row, "portfolio", id))
        stored.check_version(version)
        return stored

    def _compare_and_swap(
        self, id: UUID, owner: UUID, version: int, row: Mapping[str, Any]
    ) -> None:
        at = {"at_id": id, "at_owner": owner, "at_version": version}
        values = without_key(row) | at
        if self.connection.execute(_SWAP, values).rowcount != 1:
            raise PortfolioChanged("the portfolio has just been changed; read it again")

    def _append(self, id: UUID, owner: UUID, entries: Sequence[Entry]) -> None:
        rows = [ENTRIES.to_row(entry) | {"portfolio": id} for entry in entries]
        for at, entry in enumerate(entries):
            if entry.note and entry.action is None:
                rows[at] = seal_row(self.cipher, ledger_entries, rows[at], owner)
        if rows:
            self.connection.execute(insert(ledger_entries), rows)

    def _entries_of(self, id: UUID, rows: Iterable[Row[Any]]) -> tuple[Entry, ...]:
        """Convert rows of one portfolio; its owner is read only if a note is sealed."""
        owner: UUID | None = None
        entries = []
        for row in rows:
            if is_sealed(row.note):
                owner = owner or self._owner_of(id)
                row = open_row(self.cipher, ledger_entries, row, owner)
            entries.append(ENTRIES.from_row(row))
        return tuple(entries)

    def _owner_of(self, id: UUID) -> UUID:
        known = self._locked.get(id)
        if known is not None:
            return known.owner
        query = select(portfolios.c.owner).where(portfolios.c.id == id)
        owner: UUID = self.connection.execute(query).scalar_one()
        return owner


def _without_note(entry: Entry) -> Entry:
    """Return an entry of many ledgers, whose sealed note is not opened."""
    return attrs.evolve(entry, note="") if is_sealed(entry.note) else entry


def _slices(ids: Collection[UUID]) -> Iterator[list[UUID]]:
    listed = list(ids)
    for at in range(0, len(listed), _IDS_PER_STATEMENT):
        yield listed[at : at + _IDS_PER_STATEMENT]
