"""Corporate actions: splits, distributions, spin-offs, new symbols and delistings.

Bars are stored as traded, and adjusted when they are read. The total-return series of an asset is
its close times a growth factor that accumulates from the first close on: a split multiplies it by
the new shares per old one, a distribution by ``1 + value / close`` of the ex-day, as if the money
bought the asset at that close. So an earlier part of the series never depends on a later action,
and its returns are those of a holding that reinvests its distributions.

On an ex-day with both, a distribution is per share held before the split.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from hashlib import sha256

import attrs

from rebalancer.domain.errors import InvalidRequest

_ZERO = Decimal(0)


class ActionKind(StrEnum):
    """Kind of corporate action; stable names for files, stores and programs."""

    SPLIT = "split"
    DIVIDEND = "dividend"
    CAPITAL_GAIN = "capital_gain"
    RETURN_OF_CAPITAL = "return_of_capital"
    SPIN_OFF = "spin_off"
    RENAME = "rename"
    DELISTING = "delisting"


DISTRIBUTIONS = frozenset(
    {ActionKind.DIVIDEND, ActionKind.CAPITAL_GAIN, ActionKind.RETURN_OF_CAPITAL}
)
"""Actions that pay money per share."""

_WITH_OTHER = frozenset({ActionKind.SPIN_OFF, ActionKind.RENAME})


@attrs.frozen
class CorporateAction:
    """Corporate action of one asset.

    Attributes:
        symbol: The asset.
        ex_day: First day on which its shares trade without the right, or in the new form.
        kind: What happens.
        value: Split: new shares per old one. Distribution: money per share held before the ex-day.
            Spin-off: shares of ``other`` per share. 0 for a new symbol or a delisting.
        currency: Currency or quote unit of a distribution; None: that of the asset's price.
        other: New symbol, or symbol of the asset that is spun off; None for other kinds.
        known: When this figure became known here; None if it is not stored.
        source: Where it comes from.

    Raises:
        InvalidRequest: an attribute contradicts the kind; its field is named.
    """

    symbol: str
    ex_day: date
    kind: ActionKind
    value: Decimal = _ZERO
    currency: str | None = None
    other: str | None = None
    known: datetime | None = attrs.field(default=None, eq=False)
    source: str = attrs.field(default="", eq=False)

    def __attrs_post_init__(self) -> None:
        pays = self.kind in DISTRIBUTIONS or self.kind in (ActionKind.SPLIT, ActionKind.SPIN_OFF)
        if pays and not (self.value.is_finite() and self.value > 0):
            raise InvalidRequest(
                f"{self.value} is not a value of a {self.kind} of {self.symbol}; enter more than 0",
                field="value",
                code="invalid_action_value",
            )
        if self.kind in _WITH_OTHER and not self.other:
            raise InvalidRequest(
                f"a {self.kind} of {self.symbol} needs the symbol of the other asset; add it",
                field="value",
                code="missing_value",
            )
        if self.kind in _WITH_OTHER and self.other == self.symbol:
            raise InvalidRequest(
                f"a {self.kind} of {self.symbol} names the same symbol; enter the other asset",
                field="value",
                code="invalid_action_value",
            )

    @property
    def key(self) -> tuple[str, date, ActionKind, str]:
        """What identifies it: a corrected value has the same key."""
        return (self.symbol, self.ex_day, self.kind, self.other or "")


@attrs.frozen(slots=False)
class Actions:
    """Corporate actions of a market, sorted by ex-day, symbol and kind."""

    entries: tuple[CorporateAction, ...] = ()

    @classmethod
    def of(cls, actions: Iterable[CorporateAction]) -> Actions:
        """Sort actions; one of the same key replaces an earlier one."""
        by_key = {action.key: action for action in actions}
        ordered = sorted(by_key.values(), key=lambda one: (one.ex_day, one.symbol, one.kind))
        return cls(tuple(ordered))

    def __iter__(self) -> Iterator[CorporateAction]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def by_symbol(self) -> Mapping[str, tuple[CorporateAction, ...]]:
        """The actions of each asset that has any, by ex-day."""
        found: dict[str, list[CorporateAction]] = {}
        for action in self.entries:
            found.setdefault(action.symbol, []).append(action)
        return {symbol: tuple(actions) for symbol, actions in found.items()}

    def until(self, day: date) -> Actions:
        """Return the actions with an ex-day up to a day, inclusive."""
        if not self.entries or self.entries[-1].ex_day <= day:
            return self
        return Actions(tuple(one for one in self.entries if one.ex_day <= day))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the actions; equal for equal ones."""
        parts = [(*one.key, str(one.value.normalize()), one.currency or "") for one in self.entries]
        return sha256(repr(parts).encode()).hexdigest()


NO_ACTIONS = Actions()
