"""Cash and holdings that follow from a ledger."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

import attrs

from rebalancer.domain.errors import Conflict

_ZERO = Decimal(0)


class Overdrawn(Conflict):
    """Cash or a holding would be negative at the end of a day."""

    default_code = "overdrawn"


@attrs.frozen
class Positions:
    """Cash and holdings that follow from a ledger.

    Attributes:
        cash: Money in the base currency, >= 0.
        holdings: Quantity by symbol, each > 0, sorted by symbol.
        uninvested: Base cash paid in since the last rebalance and not spent,
            0 <= uninvested <= cash. Exchanges into other currencies spend it.
            By effective day: a deposit dated before a rebalance counts as invested, also if it is
            recorded later. The trades of a proposal with open orders spend what they cost.
        last_rebalance: Day of the last trades of a proposal.
        last_entry: Latest effective day of entries that are not booked corporate actions; None
            without any.
        foreign_cash: Money in other currencies by ISO 4217 code, each > 0, sorted by code.
    """

    cash: Decimal = _ZERO
    holdings: Mapping[str, Decimal] = attrs.field(factory=dict)
    uninvested: Decimal = _ZERO
    last_rebalance: date | None = None
    last_entry: date | None = None
    foreign_cash: Mapping[str, Decimal] = attrs.field(factory=dict)


EMPTY = Positions()
