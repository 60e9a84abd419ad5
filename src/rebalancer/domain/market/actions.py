"""Corporate actions: splits, distributions, spin-offs, new symbols and delistings.

Bars are stored as traded, and adjusted when they are read. The total-return series of an asset is
its close times a growth factor that accumulates from the first close on: a split multiplies it by
the new shares per old one, a distribution by ``1 + value / close`` of the ex-day, as if the money
bought the asset at that close. So an earlier part of the series never depends on a later action,
and its returns are those of a holding that reinvests its distributions.

On an ex-day with both, a distribution is per share held before the split.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from itertools import starmap
from operator import attrgetter
from typing import Any

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import Instruments

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

_WITH_VALUE = DISTRIBUTIONS | {ActionKind.SPLIT, ActionKind.SPIN_OFF}
_WITH_OTHER = frozenset({ActionKind.SPIN_OFF, ActionKind.RENAME})


ActionKey = tuple[str, date, ActionKind, str]
"""Symbol, ex-day, kind and other symbol of an action."""


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
        if self.kind in _WITH_VALUE and not (self.value.is_finite() and self.value > 0):
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
    def key(self) -> ActionKey:
        """What identifies it: a corrected value has the same key."""
        return (self.symbol, self.ex_day, self.kind, self.other or "")

    def in_currency(self, code: str) -> CorporateAction:
        """Return the action, whose value is in a currency or quote unit."""
        return CorporateAction(
            self.symbol,
            self.ex_day,
            self.kind,
            self.value,
            code,
            self.other,
            self.known,
            self.source,
        )


@attrs.frozen(slots=False)
class Actions:
    """Corporate actions of a market, sorted by ex-day, symbol, kind and other symbol.

    Attributes:
        entries: Actions that count.
        withdrawn: Those that count no more: stated ones explain them, or they were found wrong.
    """

    entries: tuple[CorporateAction, ...] = ()
    withdrawn: tuple[CorporateAction, ...] = ()

    @classmethod
    def of(cls, actions: Iterable[CorporateAction]) -> Actions:
        """Sort actions; one of the same key replaces an earlier one.

        Inferred actions that stated ones explain are withdrawn, see `without_superseded`.
        """
        by_key = {action.key: action for action in actions}
        counting = without_superseded(by_key.values())
        withdrawn: Iterable[CorporateAction] = ()
        if len(counting) < len(by_key):
            left = {action.key for action in counting}
            withdrawn = (action for action in by_key.values() if action.key not in left)
        return cls(tuple(sorted(counting, key=_order)), tuple(sorted(withdrawn, key=_order)))

    def __reduce__(self) -> tuple[object, ...]:
        """Return the fields of the actions for pickle, which takes long for many objects."""
        rows = (tuple(map(_fields, each)) for each in (self.entries, self.withdrawn))
        return _restored, tuple(rows)

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
        lists = (self.entries, self.withdrawn)
        if all(not each or each[-1].ex_day <= day for each in lists):
            return self
        return Actions(*(tuple(one for one in each if one.ex_day <= day) for each in lists))

    def without(self, keys: Collection[ActionKey]) -> Actions:
        """Return the actions, of which some are withdrawn."""
        if not keys:
            return self
        withdrawn = (*self.withdrawn, *(one for one in self.entries if one.key in keys))
        counting = tuple(one for one in self.entries if one.key not in keys)
        return Actions(counting, tuple(sorted(withdrawn, key=_order)))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the actions; equal for equal ones."""
        parts = [(*one.key, str(one.value.normalize()), one.currency or "") for one in self.entries]
        return sha256(repr(parts).encode()).hexdigest()


ENDINGS = frozenset({ActionKind.RENAME, ActionKind.DELISTING})
"""Actions after which an asset has no closes under its symbol."""


def ending_of(actions: Iterable[CorporateAction], last: date) -> CorporateAction | None:
    """Return the action after which an asset has no closes; None if none explains it.

    Args:
        actions: Of the asset, by ex-day.
        last: Day of its last close.
    """
    endings = [one for one in actions if one.kind in ENDINGS and one.ex_day > last]
    return endings[0] if endings else None


def inherit_instruments(
    instruments: Instruments, actions: Iterable[CorporateAction]
) -> Instruments:
    """Return instruments in which a renamed asset is listed under its new symbol, too.

    A new symbol that the list states keeps what it states.

    Args:
        instruments: As listed.
        actions: Corporate actions by ex-day.
    """
    listed = dict(instruments.by_symbol)
    for one in actions:
        if one.kind is ActionKind.RENAME and one.symbol in listed and one.other is not None:
            listed.setdefault(one.other, attrs.evolve(listed[one.symbol], symbol=one.other))
    return instruments if len(listed) == len(instruments.by_symbol) else Instruments(listed)


_fields = attrgetter(*(field.name for field in attrs.fields(CorporateAction)))


def _restored(entries: Iterable[tuple[Any, ...]], withdrawn: Iterable[tuple[Any, ...]]) -> Actions:
    return Actions(
        tuple(starmap(CorporateAction, entries)), tuple(starmap(CorporateAction, withdrawn))
    )


def correct_action(
    stored: CorporateAction | None, given: CorporateAction, known: datetime, source: str
) -> CorporateAction | None:
    """Return the action to store for a given one; None if it is stored already.

    A corrected figure becomes known at ``known``, but always later than the one that it corrects.

    Args:
        stored: The last figure with the same key, with its known time.
        given: The action.
        known: When it became known.
        source: Where it comes from.
    """
    if stored == given:
        return None
    if stored is not None and stored.known is not None:
        known = max(known, stored.known + timedelta(microseconds=1))
    return attrs.evolve(given, known=known, source=source)


def is_known(action: CorporateAction, by: datetime | None) -> bool:
    """Return whether an action was known at a time; None: whether it is known now."""
    return by is None or action.known is None or action.known <= by


NO_ACTIONS = Actions()


def _order(action: CorporateAction) -> tuple[date, str, ActionKind, str]:
    return (action.ex_day, action.symbol, action.kind, action.other or "")


INFERRED = "inferred from restated closes"
"""Source of actions that were inferred; a day up to which the ex-day may be can follow."""


def inferred_source(ex_day: date, until: date) -> str:
    """Return the source of an inferred action whose ex-day is between two days, inclusive."""
    return INFERRED if until == ex_day else f"{INFERRED}, ex-day until {until}"


def latest_ex_day(action: CorporateAction) -> date | None:
    """Return the last possible ex-day of an inferred action; None for stated ones."""
    if not action.source.startswith(INFERRED):
        return None
    return date.fromisoformat(action.source[-10:]) if action.source != INFERRED else action.ex_day


def without_superseded(actions: Iterable[CorporateAction]) -> list[CorporateAction]:
    """Return actions without what stated ones explain of inferred ones.

    The ex-day of an inferred action may be too early, and it may stand for several, so that stated
    ones have other keys. Stated splits on its possible ex-days replace an inferred one of the same
    ratio. Stated distributions are subtracted from an inferred one, and replace it if little of it
    is left.
    """
    given = list(actions)
    ends = {one.key: end for one in given if (end := latest_ex_day(one)) is not None}
    if not ends:
        return given
    stated: dict[str, list[CorporateAction]] = {}
    for action in given:
        if action.key not in ends:
            stated.setdefault(action.symbol, []).append(action)
    found = []
    for action in given:
        end = ends.get(action.key)
        if end is None:
            found.append(action)
            continue
        own = stated.get(action.symbol, ())
        possible = [one for one in own if action.ex_day <= one.ex_day <= end]
        rest = _unexplained_value(action, possible)
        if rest:
            found.append(action if rest == action.value else attrs.evolve(action, value=rest))
    return found


_LITTLE = Decimal("0.25")
"""Part of an inferred distribution that may be left: its value was derived from the close before
the first possible ex-day."""


def _unexplained_value(inferred: CorporateAction, stated: Iterable[CorporateAction]) -> Decimal:
    """Return what stated actions leave of the value of an inferred one; 0 if they explain it."""
    value = inferred.value
    if inferred.kind is ActionKind.SPLIT:
        for one in stated:
            value = value / one.value if one.kind is ActionKind.SPLIT else value
        return _ZERO if abs(value - 1) < Decimal("1e-9") else inferred.value
    for one in stated:
        if one.kind in DISTRIBUTIONS:
            units = {one.currency, inferred.currency} - {None}
            if len(units) > 1 or one.value * (1 - _LITTLE) > inferred.value:
                return _ZERO  # of another unit, so that it cannot be subtracted
            value -= one.value
    return _ZERO if value <= _LITTLE * inferred.value else value
