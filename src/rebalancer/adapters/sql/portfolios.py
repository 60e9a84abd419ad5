"""Portfolios and their ledgers in a SQL database."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs
from sqlalchemy import (
    Connection,
    bindparam,
    func,
    insert,
    select,
    tuple_,
    update,
)

from rebalancer.adapters.sql.rows import (
    entry_of,
    entry_row,
    portfolio_of,
    portfolio_row,
    readable,
)
from rebalancer.adapters.sql.statements import lock_rows, require_row
from rebalancer.adapters.sql.tables import (
    ledger_entries,
    portfolios,
)
from rebalancer.domain.errors import Conflict
from rebalancer.domain.portfolio.ledger import Entry, Ledger
from rebalancer.domain.portfolio.mandate import (
    ManagedPortfolio,
    PortfolioChanged,
    UnreadablePortfolio,
)

_NAMED_AT_ONCE = 10_000

"""Ids in one statement; no database takes any number of them."""


@attrs.frozen
class SqlPortfolios:
    """See `Portfolios`.

    Attributes:
        connection: In a transaction.
        holds: Whether nobody else changes what was read until the transaction ends.
    """

    connection: Connection
    holds: bool = False
    _held: dict[UUID, ManagedPortfolio] = attrs.field(
        factory=dict, init=False, repr=False, eq=False
    )
    _ledgers: dict[UUID, Ledger] = attrs.field(factory=dict, init=False, repr=False, eq=False)

    def add(self, portfolio: ManagedPortfolio, entries: Sequence[Entry]) -> None:
        """See `Portfolios.add`."""
        _agree(portfolio, Ledger(), entries)
        self.connection.execute(insert(portfolios), portfolio_row(portfolio))
        self._record(portfolio.id, entries)

    def get(self, id: UUID, *, owner: UUID | None = None) -> ManagedPortfolio:
        """See `Portfolios.get`."""
        if owner is None:
            query = _HELD_SOME if self.holds else _SOME
            row = self.connection.execute(query, {"ids": [id]}).one_or_none()
        else:
            query = _HELD_THEIRS if self.holds else _THEIRS
            row = self.connection.execute(query, {"id": id, "owner": owner}).one_or_none()
        found = portfolio_of(require_row(row, "portfolio", id))
        if self.holds:
            self._held[id] = found
        return found

    def save(self, portfolio: ManagedPortfolio, *, entries: Sequence[Entry] = ()) -> None:
        """See `Portfolios.save`."""
        id, before = portfolio.id, portfolio.version - 1
        kept = self._at(id, portfolio.owner, before)
        if entries or portfolio.positions != kept.positions:
            longer = _agree(portfolio, self.ledger(id), entries)
            if id in self._held:
                self._ledgers[id] = longer
        self._change(id, portfolio.owner, before, portfolio_row(portfolio))
        self._record(id, entries)
        if id in self._held:
            self._held[id] = portfolio

    def close(self, id: UUID, *, owner: UUID, version: int, now: datetime) -> None:
        """See `Portfolios.close`."""
        self._at(id, owner, version)
        self._change(id, owner, version, {"closed": now})
        self._held.pop(id, None)

    def page(self, owner: UUID, *, after: UUID | None = None, limit: int) -> list[ManagedPortfolio]:
        """See `Portfolios.page`."""
        query = _FIRST if after is None else _NEXT
        asked = {"owner": owner, "after": after, "limit": limit}
        return [portfolio_of(row) for row in self.connection.execute(query, asked)]

    def get_many(self, ids: Collection[UUID]) -> dict[UUID, ManagedPortfolio]:
        """See `Portfolios.get_many`."""
        return {
            row.id: portfolio_of(row)
            for part in _parts(ids)
            for row in self.connection.execute(_SOME, {"ids": part})
        }

    def versions(self, ids: Collection[UUID]) -> dict[UUID, int]:
        """See `Portfolios.versions`."""
        return {
            row.id: row.version
            for part in _parts(ids)
            for row in self.connection.execute(_VERSIONS, {"ids": part})
        }

    def chunk(
        self, *, after: UUID | None = None, until: UUID | None = None, limit: int | None = None
    ) -> list[ManagedPortfolio | UnreadablePortfolio]:
        """See `Portfolios.chunk`."""
        query = select(portfolios).where(portfolios.c.closed.is_(None))
        if after is not None:
            query = query.where(portfolios.c.id > after)
        if until is not None:
            query = query.where(portfolios.c.id <= until)
        query = query.order_by(portfolios.c.id).limit(limit)
        return [readable(row) for row in self.connection.execute(query).all()]

    def chunk_boundaries(self, size: int) -> list[UUID]:
        """See `Portfolios.chunk_boundaries`."""
        place = func.row_number().over(order_by=portfolios.c.id)
        placed = select(portfolios.c.id, place.label("place")).where(portfolios.c.closed.is_(None))
        numbered = placed.subquery()
        query = select(numbered.c.id).where(numbered.c.place % size == 0).order_by(numbered.c.id)
        return list(self.connection.execute(query).scalars())

    def ledger(self, id: UUID) -> Ledger:
        """See `Portfolios.ledger`."""
        if id in self._ledgers:
            return self._ledgers[id]
        rows = self.connection.execute(_LEDGER, {"portfolio": id})
        found = Ledger(tuple(map(entry_of, rows)))
        if id in self._held:
            self._ledgers[id] = found
        return found

    def entries(self, id: UUID, *, before: UUID | None = None, limit: int) -> list[Entry]:
        """See `Portfolios.entries`."""
        table = ledger_entries
        query = select(table).where(table.c.portfolio == id)
        if before is not None:
            cursor = table.alias("cursor")
            start = select(cursor.c.sequence).where(cursor.c.portfolio == id, cursor.c.id == before)
            query = query.where(table.c.sequence < start.scalar_subquery())
        query = query.order_by(table.c.sequence.desc()).limit(limit)
        return [entry_of(row) for row in self.connection.execute(query)]

    def _at(self, id: UUID, owner: UUID, version: int) -> ManagedPortfolio:
        kept = self._held.get(id)
        if kept is None:
            # Held, so that the ledger which is read after it is of the same moment.
            row = self.connection.execute(_HELD_THEIRS, {"id": id, "owner": owner}).one_or_none()
            kept = portfolio_of(require_row(row, "portfolio", id))
        if kept.version != version:
            raise PortfolioChanged(
                f"the portfolio is at version {kept.version}, not {version}; read it again"
            )
        return kept

    def _change(self, id: UUID, owner: UUID, version: int, row: Mapping[str, Any]) -> None:
        """Compare and swap."""
        at = {"at_id": id, "at_owner": owner, "at_version": version}
        if self.connection.execute(_CHANGE, {**row, **at}).rowcount != 1:
            raise PortfolioChanged("the portfolio was changed this moment; read it again")

    def _record(self, id: UUID, entries: Sequence[Entry]) -> None:
        if entries:
            rows = [entry_row(id, entry) for entry in entries]
            self.connection.execute(insert(ledger_entries), rows)


def _parts(ids: Collection[UUID]) -> Iterator[list[UUID]]:
    """Some after the other."""
    listed = list(ids)
    for at in range(0, len(listed), _NAMED_AT_ONCE):
        yield listed[at : at + _NAMED_AT_ONCE]


def _theirs(id: Any, owner: Any) -> Any:
    """The open portfolio of this id, if it is theirs."""
    table = portfolios.c
    return (table.id == id) & (table.owner == owner) & table.closed.is_(None)


_THEIRS = select(portfolios).where(_theirs(bindparam("id"), bindparam("owner")))

"""Made once, since every request about a portfolio begins with it."""


_FIRST = (
    select(portfolios)
    .where(portfolios.c.owner == bindparam("owner"), portfolios.c.closed.is_(None))
    .order_by(portfolios.c.created, portfolios.c.id)
    .limit(bindparam("limit"))
)


_BEFORE = portfolios.alias("cursor")


_NEXT = _FIRST.where(
    tuple_(portfolios.c.created, portfolios.c.id)
    > select(_BEFORE.c.created, _BEFORE.c.id)
    .where(_BEFORE.c.id == bindparam("after"), _BEFORE.c.owner == bindparam("owner"))
    .scalar_subquery()
)

"""A page of somebody's open portfolios, the oldest first."""


_CHANGE = update(portfolios).where(
    _theirs(bindparam("at_id"), bindparam("at_owner")),
    portfolios.c.version == bindparam("at_version"),
)

"""Of the columns that are given with it."""


_LEDGER = (
    select(ledger_entries)
    .where(ledger_entries.c.portfolio == bindparam("portfolio"))
    .order_by(ledger_entries.c.sequence)
)


_SOME = select(portfolios).where(
    portfolios.c.id.in_(bindparam("ids", expanding=True)), portfolios.c.closed.is_(None)
)


_VERSIONS = select(portfolios.c.id, portfolios.c.version).where(
    portfolios.c.id.in_(bindparam("ids", expanding=True))
)


_HELD_THEIRS, _HELD_SOME = lock_rows(_THEIRS), lock_rows(_SOME)


def _agree(portfolio: ManagedPortfolio, ledger: Ledger, entries: Sequence[Entry]) -> Ledger:
    """The longer ledger, once we are sure of what nobody outside can mend.

    It costs little beside a portfolio gone wrong.
    """
    ids = [entry.id for entry in (*ledger.entries, *entries)]
    if len(set(ids)) < len(ids):
        raise Conflict("this is in the ledger already")
    longer = ledger.followed_by(entries)
    if longer.positions != portfolio.positions:
        raise RuntimeError(f"portfolio {portfolio.id} does not agree with its ledger")
    return longer
