"""Stored ledgers with checkpoints, whose entries are read only when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from threading import BoundedSemaphore
from typing import Any
from uuid import UUID

import attrs
from sqlalchemy import Connection, Row, bindparam, delete, exists, func, insert, select

from rebalancer.adapters.sql.rows import CHECKPOINTS, ENTRIES
from rebalancer.adapters.sql.tables import ledger_checkpoints, ledger_entries
from rebalancer.application.ports.portfolios import LongReplay
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.portfolio.checkpoints import Checkpoint, RecordedEntries
from rebalancer.domain.portfolio.entries import TRADES
from rebalancer.domain.portfolio.ledger import Entry, Ledger, Overdrawn

Convert = Callable[[Iterable[Row[Any]]], tuple[Entry, ...]]

_ENTRIES, _CHECKPOINTS = ledger_entries.c, ledger_checkpoints.c
_TRADES = sorted(kind.value for kind in TRADES)

_NEWEST = (
    select(func.max(_ENTRIES.sequence))
    .where(_ENTRIES.portfolio == bindparam("portfolio"))
    .scalar_subquery()
)
_HEAD = (
    select(ledger_checkpoints, _NEWEST.label("newest"))
    .where(_CHECKPOINTS.portfolio == bindparam("portfolio"))
    .order_by(_CHECKPOINTS.last.desc())
    .limit(1)
)
_EARLIER = (
    select(ledger_checkpoints)
    .where(_CHECKPOINTS.portfolio == bindparam("portfolio"), _CHECKPOINTS.last < bindparam("last"))
    .order_by(_CHECKPOINTS.last.desc())
)
_FIRST = (
    select(ledger_entries)
    .where(_ENTRIES.portfolio == bindparam("portfolio"))
    .order_by(_ENTRIES.sequence)
    .limit(bindparam("limit"))
)
_AFTER = (
    select(ledger_entries)
    .where(
        _ENTRIES.portfolio == bindparam("portfolio"),
        _ENTRIES.sequence > bindparam("after"),
        _ENTRIES.sequence <= bindparam("newest"),
    )
    .order_by(_ENTRIES.sequence)
)
_REACHES = select(
    exists().where(
        _ENTRIES.portfolio == bindparam("portfolio"),
        _ENTRIES.id == bindparam("id"),
        _ENTRIES.sequence <= bindparam("last"),
    )
)
_TRADED = select(
    exists().where(
        _ENTRIES.portfolio == bindparam("portfolio"),
        _ENTRIES.proposal == bindparam("proposal"),
        _ENTRIES.sequence <= bindparam("last"),
        _ENTRIES.kind.in_(_TRADES),
    )
)
_DROP = delete(ledger_checkpoints).where(
    _CHECKPOINTS.portfolio == bindparam("of"),
    (_CHECKPOINTS.last > bindparam("beyond")) | (_CHECKPOINTS.last == bindparam("replaced")),
)
_STORE = insert(ledger_checkpoints).from_select(
    ["portfolio", "last", "document"],
    select(
        bindparam("portfolio", type_=_CHECKPOINTS.portfolio.type),
        _NEWEST,
        bindparam("document", type_=_CHECKPOINTS.document.type),
    ),
)


@attrs.frozen
class LedgerRules:
    """When ledgers have checkpoints, and how much is read at a time.

    Attributes:
        from_count: Entries from which on a ledger has checkpoints, at least 1.
        spacing: Entries between the checkpoints that stay.
        locked: Most entries that are read while a transaction holds locks.
        reads: Admits the readers of more than ``locked`` entries.
        wait: Seconds that such a reader waits.
    """

    from_count: int = 100
    spacing: int = 1_000
    locked: int = 2_000
    reads: BoundedSemaphore = attrs.field(factory=lambda: BoundedSemaphore(2), eq=False)
    wait: float = 2.0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Admit a reader of a long ledger.

        Raises:
            Unavailable: others read long ledgers.
        """
        if not self.reads.acquire(timeout=self.wait):
            raise Unavailable(
                "other long ledgers are being read; try again", code="long_ledgers_busy"
            )
        try:
            yield
        finally:
            self.reads.release()


@attrs.frozen
class SqlStoredEntries:
    """See `StoredEntries`.

    Attributes:
        newest: Number of the last entry; later ones are ignored.
        head: The latest checkpoint.
        convert: Converts rows of the portfolio.
        locks: Whether the transaction holds locks, so that it must not read many entries.
    """

    connection: Connection
    portfolio: UUID
    newest: int
    head: Checkpoint | None
    convert: Convert = attrs.field(eq=False)
    locks: bool
    rules: LedgerRules
    _read: dict[int, tuple[Entry, ...]] = attrs.field(factory=dict, init=False, eq=False)

    def checkpoints(self) -> Iterator[Checkpoint]:
        if self.head is None:
            return
        yield self.head
        values = {"portfolio": self.portfolio, "last": self.head.last}
        for row in self.connection.execute(_EARLIER, values):
            yield _checkpoint_of(row)

    def after(self, number: int) -> tuple[Entry, ...]:
        if number >= self.newest:
            return ()
        if number not in self._read:
            is_long = self._is_long(number)
            if is_long and self.locks:
                raise LongReplay(self.portfolio)
            with self.rules.reading() if is_long else nullcontext():
                self._read[number] = self._select(number)
        return self._read[number]

    def _is_long(self, number: int) -> bool:
        """Return whether many entries follow one."""
        query = select(_ENTRIES.sequence).where(
            _ENTRIES.portfolio == self.portfolio, _ENTRIES.sequence > number
        )
        query = query.order_by(_ENTRIES.sequence).offset(self.rules.locked).limit(1)
        return self.connection.scalar(query) is not None

    def _select(self, number: int) -> tuple[Entry, ...]:
        values = {"portfolio": self.portfolio, "after": number, "newest": self.newest}
        return self.convert(self.connection.execute(_AFTER, values))

    def pick(self, ids: Sequence[UUID]) -> list[Entry]:
        return self._where(_ENTRIES.id.in_(ids)) if ids else []

    def of_proposal(self, proposal: UUID) -> list[Entry]:
        return self._where(_ENTRIES.proposal == proposal)

    def includes(self, id: UUID, number: int) -> bool:
        values = {"portfolio": self.portfolio, "id": id, "last": number}
        return bool(self.connection.scalar(_REACHES, values))

    def includes_trade(self, proposal: UUID, number: int) -> bool:
        values = {"portfolio": self.portfolio, "proposal": proposal, "last": number}
        return bool(self.connection.scalar(_TRADED, values))

    def _where(self, condition: Any) -> list[Entry]:
        query = select(ledger_entries).where(
            _ENTRIES.portfolio == self.portfolio, _ENTRIES.sequence <= self.newest, condition
        )
        rows = self.connection.execute(query.order_by(_ENTRIES.sequence))
        return list(self.convert(rows))


def read_ledger(
    connection: Connection, id: UUID, convert: Convert, *, locks: bool, rules: LedgerRules
) -> Ledger:
    """Return the ledger of a portfolio; entries of a long one are read when they are needed."""
    row = connection.execute(_HEAD, {"portfolio": id}).one_or_none()
    if row is not None and row.newest is not None:
        head = _checkpoint_of(row)
        return Ledger(
            stored=SqlStoredEntries(connection, id, row.newest, head, convert, locks, rules)
        )
    values = {"portfolio": id, "limit": rules.from_count + 1}
    rows = connection.execute(_FIRST, values).all()
    if len(rows) <= rules.from_count:
        return Ledger(convert(rows))
    newest = _find_newest(connection, id)
    return Ledger(stored=SqlStoredEntries(connection, id, newest, None, convert, locks, rules))


def store_checkpoint(connection: Connection, id: UUID, longer: Ledger, rules: LedgerRules) -> None:
    """Store the state of a ledger whose entries have just been added, and drop outdated ones.

    The extended checkpoint stays if it is the last one before a multiple of the spacing.
    """
    if longer.count < rules.from_count:
        return
    origin = longer.origin
    if longer.stored is not None:
        stays = origin.count // rules.spacing < longer.count // rules.spacing
        replaced = 0 if stays else origin.last
        connection.execute(_DROP, {"of": id, "beyond": origin.last, "replaced": replaced})
    connection.execute(_STORE, {"portfolio": id, "document": longer.state})


def find_wrong_checkpoints(connection: Connection, ids: Collection[UUID]) -> list[str]:
    """Describe the checkpoints of portfolios that differ from the entries that they include."""
    query = select(ledger_checkpoints).where(_CHECKPOINTS.portfolio.in_(ids))
    stored: dict[UUID, list[Checkpoint]] = {}
    for row in connection.execute(query.order_by(_CHECKPOINTS.portfolio, _CHECKPOINTS.last)):
        stored.setdefault(row.portfolio, []).append(_checkpoint_of(row))
    found: list[str] = []
    for id, checkpoints in stored.items():
        rows = connection.execute(
            _AFTER, {"portfolio": id, "after": 0, "newest": checkpoints[-1].last}
        )
        recorded = RecordedEntries({row.sequence: ENTRIES.from_row(row) for row in rows})
        before = Checkpoint()
        for checkpoint in checkpoints:
            entries = recorded.between(before.last, checkpoint.last)
            if not before.precedes(entries, recorded):
                before, entries = Checkpoint(), recorded.between(0, checkpoint.last)
            try:
                expected = attrs.evolve(before.extended_by(entries), last=checkpoint.last)
            except Overdrawn as error:
                found.append(f"portfolio {id}: {error}")
                break
            if checkpoint != expected:
                found.append(
                    f"portfolio {id}: the checkpoint at entry {checkpoint.last} differs from the "
                    "entries"
                )
            before = expected
    return found


def _checkpoint_of(row: Row[Any]) -> Checkpoint:
    found: Checkpoint = CHECKPOINTS(row.document)
    return attrs.evolve(found, last=row.last)


def _find_newest(connection: Connection, id: UUID) -> int:
    query = select(func.max(_ENTRIES.sequence)).where(_ENTRIES.portfolio == id)
    return connection.scalar(query) or 0
