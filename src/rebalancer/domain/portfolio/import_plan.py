"""What a statement would add to a ledger, and what keeps it from being added."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

import attrs

from rebalancer.domain.errors import InvalidRequest, faults_of
from rebalancer.domain.portfolio.adjusted_units import undo_adjustments
from rebalancer.domain.portfolio.entries import Entry
from rebalancer.domain.portfolio.import_duplicates import (
    Duplicate,
    PlannedEntry,
    separate_duplicates,
)
from rebalancer.domain.portfolio.import_entries import identify_transactions, make_entry
from rebalancer.domain.portfolio.import_names import LEFT_OUT, InstrumentNames, UnknownInstrument
from rebalancer.domain.portfolio.import_prices import check_prices
from rebalancer.domain.portfolio.import_terms import ImportTerms
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.statements import Remark, Statement


@attrs.frozen
class ImportPlan:
    """What a statement would add to a ledger.

    Attributes:
        entries: To add, by day, and within a day as in the statement.
        duplicates: By line.
        unknown: Instruments without a symbol, in the order of the statement.
        remarks: Of the reader and of the plan, by line.
        mapping: Symbols of instruments, by the names that the statement uses; only used ones.
        replaced: Deposits of the ledger that stood for missing cash, and are voided.
        left_out: Number of transactions of instruments that the mapping leaves out.
    """

    entries: tuple[PlannedEntry, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()
    unknown: tuple[UnknownInstrument, ...] = ()
    remarks: tuple[Remark, ...] = ()
    mapping: Mapping[str, str] = attrs.field(factory=dict)
    left_out: int = 0
    replaced: tuple[Entry, ...] = ()

    @property
    def errors(self) -> tuple[Remark, ...]:
        """Remarks about lines that were not read."""
        return tuple(remark for remark in self.remarks if remark.is_error)


def plan_import(
    statement: Statement, terms: ImportTerms, ledger: Ledger, *, undone: Collection[UUID] = ()
) -> ImportPlan:
    """Return what a statement would add to a ledger; nothing of it is checked for overdrafts.

    Args:
        statement: As read.
        terms: See `ImportTerms`.
        ledger: Of the portfolio; all of it is read.
        undone: Entries of imports that were undone; their transactions may be added again.
    """
    names = InstrumentNames(terms, ledger.symbols)
    names.read(statement.transactions)
    problems: list[Remark] = []
    adjusting: set[UUID] = set()
    planned: list[tuple[int, Entry]] = []
    ids = identify_transactions(terms.portfolio, statement)
    left_out = 0
    for transaction, id in zip(statement.transactions, ids, strict=True):
        found = names.resolve(transaction)
        if found is None:
            continue
        if LEFT_OUT in found:
            left_out += 1
            continue
        try:
            entry = make_entry(transaction, id, found, statement.currency, terms, problems)
        except InvalidRequest as error:
            for fault in faults_of(error):
                problems.append(Remark(transaction.line, fault.code, fault.message, is_error=True))
            continue
        if entry is not None:
            planned.append((transaction.line, entry))
            if transaction.adjusts_earlier:
                adjusting.add(entry.id)
    planned, restated = undo_adjustments(planned, terms, ledger, adjusting)
    prices = check_prices(planned, terms, ledger)
    added, duplicates = separate_duplicates(planned, terms, ledger, frozenset(undone))
    every = (*statement.remarks, *names.remarks, *problems, *restated, *prices, *names.unused())
    # A row that becomes several entries has the same fault several times.
    remarks = sorted(dict.fromkeys(every), key=lambda one: one.line)
    return ImportPlan(
        tuple(_by_day(added, statement)),
        tuple(sorted(duplicates, key=lambda one: one.line)),
        tuple(names.unknown.values()),
        tuple(remarks),
        dict(names.used),
        left_out,
    )


def _by_day(planned: list[PlannedEntry], statement: Statement) -> list[PlannedEntry]:
    """Return entries by day; a statement that begins with the latest day is turned around."""
    transactions = [one for one in statement.transactions if not one.adjusts_earlier]
    if transactions and transactions[0].on > transactions[-1].on:
        planned = planned[::-1]
    return sorted(planned, key=lambda one: one.entry.on)
