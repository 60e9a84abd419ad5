"""Unit of work over a SQL database: one transaction that holds every store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any
from uuid import UUID

import attrs
from sqlalchemy import (
    Connection,
    Engine,
    Row,
    Select,
    select,
)

from rebalancer.adapters.sql.batch_runs import SqlBatchRuns
from rebalancer.adapters.sql.engine import PATIENCE, reading, writing
from rebalancer.adapters.sql.idempotency_keys import SqlIdempotencyKeys
from rebalancer.adapters.sql.jobs import SqlJobs
from rebalancer.adapters.sql.portfolios import SqlPortfolios
from rebalancer.adapters.sql.proposals import SqlProposals
from rebalancer.adapters.sql.rows import (
    entry_of,
    readable,
)
from rebalancer.adapters.sql.tables import (
    ledger_entries,
    portfolios,
    proposals,
)
from rebalancer.adapters.sql.users import SqlRefreshTokens, SqlUsers
from rebalancer.application.ports.store import Transaction
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.portfolio.ledger import Entry, Ledger, Overdrawn, Positions
from rebalancer.domain.portfolio.mandate import (
    UnreadablePortfolio,
)
from rebalancer.domain.rebalancing.lifecycle import Stage

_CHECKED_AT_ONCE = 500


@attrs.frozen
class SqlWork:
    """See `UnitOfWork`.

    In SQLite there is one writer at a time. In Postgres those who write about the same portfolio,
    token or job take turns: what they read first, they hold until they are done.

    Attributes:
        engine: One of `connect`.
    """

    engine: Engine
    _turn: Lock = attrs.field(factory=Lock, init=False, eq=False, repr=False)

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """See `UnitOfWork.begin`."""
        with self._turned(), writing(self.engine) as connection:
            yield SqlTransaction(connection, holds=True)

    @contextmanager
    def _turned(self) -> Iterator[None]:
        """Writers of one process take turns here where SQLite would have them poll, and starve."""
        if self.engine.dialect.name != "sqlite":
            yield
            return
        if not self._turn.acquire(timeout=PATIENCE):
            raise Unavailable("the database is busy; try again")
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """See `UnitOfWork.read`; what writes through it raises Unavailable."""
        with reading(self.engine) as connection:
            yield SqlTransaction(connection)

    def check(self) -> list[str]:
        """Every portfolio, closed ones included, whose ledger and positions disagree, in words."""
        with reading(self.engine) as connection:
            found = [
                said
                for query, said in _CONTRADICTIONS
                for said in map(said.format_map, connection.execute(query).mappings())
            ]
            chunk = select(portfolios).order_by(portfolios.c.id).limit(_CHECKED_AT_ONCE)
            rows = connection.execute(chunk).all()
            while rows:
                span = ledger_entries.c.portfolio.between(rows[0].id, rows[-1].id)
                ledgers = _ledgers(connection, span)
                found += [
                    f"portfolio {row.id}: {why}"
                    for row in rows
                    if (why := _disagreement(row, ledgers[row.id]))
                ]
                rows = connection.execute(chunk.where(portfolios.c.id > rows[-1].id)).all()
        return found


class SqlTransaction:
    """All stores over one connection, in the transaction that it is in."""

    def __init__(self, connection: Connection, *, holds: bool = False) -> None:
        """Begin with nothing read.

        Args:
            connection: In a transaction.
            holds: Whether what is read by its id is held until the end, as it may be written then.
        """
        self.users = SqlUsers(connection)
        self.tokens = SqlRefreshTokens(connection, holds)
        self.portfolios = SqlPortfolios(connection, holds)
        self.proposals = SqlProposals(connection, holds)
        self.keys = SqlIdempotencyKeys(connection)
        self.jobs = SqlJobs(connection, holds)
        self.runs = SqlBatchRuns(connection)


_CONTRADICTIONS: tuple[tuple[Select[Any], str], ...] = (
    (
        select(proposals.c.id)
        .join(portfolios, proposals.c.portfolio == portfolios.c.id)
        .where(proposals.c.owner != portfolios.c.owner)
        .order_by(proposals.c.id),
        "proposal {id}: belongs to somebody else than its portfolio",
    ),
    (
        select(ledger_entries.c.id, ledger_entries.c.portfolio)
        .join(proposals, ledger_entries.c.proposal == proposals.c.id)
        .where(
            (ledger_entries.c.portfolio != proposals.c.portfolio)
            | (proposals.c.stage != Stage.EXECUTED.value)
        )
        .order_by(ledger_entries.c.id),
        "portfolio {portfolio}: entry {id} carries out a proposal of another portfolio, or one "
        "that is not executed",
    ),
)

"""What no constraint of one row can rule out, and what to say of each that is found."""


def _ledgers(connection: Connection, which: Any) -> Mapping[UUID, Ledger]:
    """Ledgers by portfolio; empty for those without an entry."""
    entries: dict[UUID, list[Entry]] = {}
    for row in connection.execute(
        select(ledger_entries).where(which).order_by(ledger_entries.c.sequence)
    ):
        entries.setdefault(row.portfolio, []).append(entry_of(row))
    return defaultdict(Ledger, {id: Ledger(tuple(lines)) for id, lines in entries.items()})


def _disagreement(row: Row[Any], ledger: Ledger) -> str | None:
    portfolio = readable(row)
    if isinstance(portfolio, UnreadablePortfolio):
        return portfolio.why
    try:
        reckoned = ledger.positions
    except Overdrawn as error:
        return str(error)
    for name in (field.name for field in attrs.fields(Positions)):
        ours, kept = getattr(reckoned, name), getattr(portfolio.positions, name)
        if ours != kept:
            return f"the ledger amounts to {name} {_shown(ours)}, {_shown(kept)} is kept"
    return None


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{symbol} {units}" for symbol, units in value.items()) or "none"
    return "none" if value is None else str(value)
