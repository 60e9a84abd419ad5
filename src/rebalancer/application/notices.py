"""Notices to the owners of portfolios."""

from __future__ import annotations

import attrs

from rebalancer.application.ports.store import Transaction
from rebalancer.domain.notices.choices import APP, EMAIL
from rebalancer.domain.notices.deliveries import NoticeDelivery
from rebalancer.domain.notices.notice import Notice


def raise_notice(tx: Transaction, notice: Notice) -> bool:
    """Raise a notice, once the transaction is committed; return whether it is new.

    A notice whose key its owner has already had is left as it was: nothing is sent again. What is
    sent, and when, is the choice of the owner; a kind that is off in the app is listed as read.
    """
    choices = tx.notice_choices.get(notice.owner)
    if not choices.is_on(notice.kind, APP):
        notice = attrs.evolve(notice, read=notice.created)
    if not tx.notices.add(notice):
        return False
    # In one order, so that two transactions that add to the same messages do not block each other.
    for channel in (EMAIL, *(one.channel for one in tx.notice_targets.of_owner(notice.owner))):
        delivery = NoticeDelivery.plan(notice, channel, choices)
        if delivery is not None:
            tx.notice_deliveries.add(delivery)
    return True
