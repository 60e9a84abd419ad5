"""Notices to the owners of portfolios."""

from __future__ import annotations

from rebalancer.application.ports.store import Transaction
from rebalancer.domain.notices.notice import Notice


def raise_notice(tx: Transaction, notice: Notice) -> bool:
    """Raise a notice, once the transaction is committed; return whether it is new.

    A notice whose key its owner has already had is left as it was: nothing is sent again. What is
    sent, and when, is the choice of the owner.
    """
    return tx.notices.add(notice)
