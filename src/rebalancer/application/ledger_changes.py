"""Change the ledger of a stored portfolio without holding locks for long.

A change is planned in the transaction that stores it, unless that would read many entries. Then it
is planned over a snapshot first, and stored if the portfolio still has the same version.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

import attrs

from rebalancer.application.ports.portfolios import LongReplay
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.quotas import Quotas, size_of_entries
from rebalancer.application.worksheets import cancel_worksheets
from rebalancer.domain.portfolio.entries import Entry
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, PortfolioChanged

T = TypeVar("T")

_ATTEMPTS = 3


@attrs.frozen
class ExtendedPortfolio:
    """A portfolio with the entries that are added to its ledger.

    Attributes:
        portfolio: The next version.
        entries: To append.
        ledger: With these entries.
    """

    portfolio: ManagedPortfolio
    entries: tuple[Entry, ...]
    ledger: Ledger


@attrs.frozen
class LedgerChange(Generic[T]):
    """What a request changes.

    Attributes:
        result: Result of the request.
        extended: What to store in the ledger; None for no change.
        then: Stores what else the request changes, in the same transaction.
    """

    result: T
    extended: ExtendedPortfolio | None = None
    then: Callable[[Transaction], None] = lambda _: None


Plan = Callable[[Transaction, ManagedPortfolio, Ledger], LedgerChange[T]]
"""Returns what to change in the stored version of a portfolio; it only reads."""


def change_ledger(
    work: UnitOfWork,
    id: UUID,
    owner: UUID | None,
    plan: Plan[T],
    *,
    now: datetime,
    quotas: Quotas | None = None,
    is_long: bool = False,
) -> tuple[T, ManagedPortfolio]:
    """Plan and store a change; return its result and the portfolio as it is stored.

    Args:
        work: The stores.
        id: The portfolio.
        owner: Its owner; None: any.
        plan: May be called again if another request changes the portfolio meanwhile.
        now: Current time.
        quotas: Limits of the account; None: none.
        is_long: Whether planning takes so long that no lock may be held meanwhile.

    Raises:
        NotFound: the portfolio does not exist or has another owner.
        QuotaReached: the ledger would have too many entries.
        DailyQuotaReached: the owner has stored too much today.
        PortfolioChanged: other requests change the portfolio again and again.
        As the plan does.
    """
    planned: tuple[ManagedPortfolio, LedgerChange[T]] | None = None
    for _ in range(_ATTEMPTS):
        with work.begin() as tx:
            stored = tx.portfolios.get(id, owner=owner)
            if planned is None or planned[0].version != stored.version:
                planned = None
                if not is_long:
                    with suppress(LongReplay):
                        planned = stored, plan(tx, stored, tx.portfolios.ledger(id))
            if planned is not None:
                change = planned[1]
                if change.extended is not None:
                    store_extended(tx, change.extended, now=now, quotas=quotas)
                    stored = change.extended.portfolio
                change.then(tx)
                return change.result, stored
        with work.read() as tx:
            stored = tx.portfolios.get(id, owner=owner)
            planned = stored, plan(tx, stored, tx.portfolios.ledger(id))
    raise PortfolioChanged("the portfolio has just been changed; read it again")


def store_extended(
    tx: Transaction,
    extended: ExtendedPortfolio,
    *,
    now: datetime,
    quotas: Quotas | None = None,
) -> None:
    """Store a portfolio with further entries, and cancel the worksheets that they overtake.

    Raises:
        As `change_ledger`.
    """
    portfolio, entries = extended.portfolio, extended.entries
    if quotas is not None and entries:
        quotas.check_entries(extended.ledger.count - len(entries), len(entries))
    tx.portfolios.save(portfolio, entries=entries, ledger=extended.ledger)
    cancel_worksheets(tx, portfolio, entries, now)
    if quotas is not None:
        quotas.take_bytes(tx, portfolio.owner, size_of_entries(entries), now)
