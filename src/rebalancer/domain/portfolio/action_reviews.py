"""Compare a ledger with the corporate actions of the market, and derive the entries that are due.

One replay of the ledger, day by day, meets each action with the units that were held before it. An
action whose figure was corrected, or that concerns other units since an earlier trade was recorded
or voided, is due again: its entry is voided, and a further one takes its place. One that its owner
records is voided, and the owner's entry stands for it. An action that the market no longer knows
stays booked, unless another one of its kind takes its place: the ex-day of an inferred split may be
too early, and a provider may correct an ex-day.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext
from uuid import UUID, uuid5

import attrs

from rebalancer.domain.market.actions import (
    DISTRIBUTIONS,
    INFERRED,
    ActionKind,
    Actions,
    CorporateAction,
)
from rebalancer.domain.market.currencies import quote_unit
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.corporate_actions import (
    ActionReview,
    ActionState,
    BookingTerms,
    action_entry_id,
    action_key,
    convert_money,
    first_day_from,
)
from rebalancer.domain.portfolio.entries import (
    Entry,
    EntryKind,
    move_units,
    order_of_effect,
    same_ratio,
    void_id,
)
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.portfolio import Conversions

_ZERO = Decimal(0)
_DIGITS = 60

PAID_WITHIN = timedelta(days=60)
"""Time from the ex-day within which an owner's own dividend is taken to be that of an action."""

SPLIT_WITHIN = timedelta(days=7)
"""Days by which an owner's own split may differ from the ex-day."""

REPLACED_WITHIN = timedelta(days=31)
"""Days by which the ex-day of an action that was not inferred may be corrected."""

LEAST_PART, MOST_PART = Decimal("0.5"), Decimal("1.05")
"""Part of the gross amount, after taxes and fees, that an owner's own dividend may be."""

_KINDS = {
    ActionKind.SPLIT: EntryKind.SPLIT,
    ActionKind.DIVIDEND: EntryKind.DIVIDEND,
    ActionKind.CAPITAL_GAIN: EntryKind.DIVIDEND,
    ActionKind.RETURN_OF_CAPITAL: EntryKind.RETURN_OF_CAPITAL,
    ActionKind.SPIN_OFF: EntryKind.SPIN_OFF,
    ActionKind.RENAME: EntryKind.RENAME,
}
"""Kind of the entry that books an action; no entry books a delisting."""

_NOTES = {
    ActionKind.CAPITAL_GAIN: "capital gain distribution of ",
    ActionKind.RETURN_OF_CAPITAL: "return of capital of ",
}


def review_actions(
    ledger: Ledger, terms: BookingTerms, now: datetime, *, only: Collection[str] | None = None
) -> list[ActionReview]:
    """Return the corporate actions that concern a ledger, by ex-day.

    Distributions are paid in their currency on the units held at the start of the ex-day, rounded
    to its minor unit. With automatic conversions an exchange at the day's rate follows; without a
    rate the money stays in its currency. Spin-offs credit fractions of units.

    Args:
        ledger: Of the portfolio.
        terms: See `BookingTerms`.
        now: Time of recording.
        only: Keys of pending actions that later ones may take to be booked; None: all.
    """
    assumed: dict[str, ActionReview] = {}
    working, replaced = ledger, _find_replaced(ledger, terms)
    while True:
        sweep = _Sweep(working, terms, now, only, assumed, replaced)
        renamed = sweep.run()
        if renamed is None:
            return sweep.reviews
        assumed[renamed.key] = renamed
        working = Ledger((*working.entries, *renamed.due))


class _Sweep:
    """Replay of a ledger day by day, in which each action meets the units held before it."""

    def __init__(
        self,
        ledger: Ledger,
        terms: BookingTerms,
        now: datetime,
        only: Collection[str] | None,
        assumed: Mapping[str, ActionReview],
        replaced: Mapping[str, Sequence[Entry]],
    ) -> None:
        self.reviews: list[ActionReview] = []
        self._ledger, self._terms, self._now = ledger, terms, now
        self._only, self._assumed, self._replaced = only, assumed, replaced
        self._booked = _entries_by_action(ledger)
        self._own = [
            entry
            for entry in ledger.effective
            if entry.action is None and entry.kind in _KINDS.values()
        ]
        self._holdings: dict[str, Decimal] = {}

    def run(self) -> ActionReview | None:
        """Review all actions; return a new symbol that was found to be due, which ends the sweep.

        Entries after it may have its old symbol, which counts for the new one once it is booked.
        """
        void = {
            entry.id
            for key, entries in self._replaced.items()
            if self._only is None or key in self._only
            for entry in entries
        }
        entries = {
            day: [entry for entry in of_day if entry.id not in void]
            for day, of_day in self._ledger.by_day()
        }
        events: dict[date, list[CorporateAction]] = {}
        booked = (one for one in self._terms.actions.withdrawn if action_key(one) in self._booked)
        for action in (*booked, *_concerned(self._terms.actions, self._ledger.symbols)):
            events.setdefault(first_day_from(self._terms.dates, action.ex_day), []).append(action)
        with localcontext(prec=_DIGITS):
            for day in sorted({*entries, *events}):
                renamed = self._advance(day, entries.get(day, []), events.get(day, []))
                if renamed is not None:
                    return renamed
        return None

    def _advance(
        self, day: date, entries: Sequence[Entry], actions: Sequence[CorporateAction]
    ) -> ActionReview | None:
        added: list[Entry] = []
        void: set[UUID] = set()
        if actions:
            before = dict(self._holdings)
            for entry in entries:
                if entry.kind is EntryKind.RENAME:
                    move_units(before, entry)
            for action in actions:
                held = before.get(action.symbol) or self._holdings.get(action.symbol, _ZERO)
                review = self._review(action, day, held)
                if review is None:
                    continue
                self.reviews.append(review)
                if review.key in self._assumed:
                    continue
                if self._only is not None and review.key not in self._only:
                    continue
                if review.due and action.kind is ActionKind.RENAME:
                    return review
                added += [entry for entry in review.due if entry.voids is None]
                void |= {entry.voids for entry in review.due if entry.voids is not None}
        today = [entry for entry in (*entries, *added) if entry.id not in void]
        for entry in sorted(today, key=order_of_effect):
            move_units(self._holdings, entry)
        return None

    def _review(self, action: CorporateAction, on: date, held: Decimal) -> ActionReview | None:
        """Compare what the ledger has with what it should have; None if neither has anything."""
        key = action_key(action)
        if key in self._assumed:
            return self._assumed[key]
        expected = self._expect(action, key, on, held)
        outdated = self._replaced.get(key, ())
        known = self._booked.get(key, [])
        chain = _without_exchanges(known)
        live = tuple(entry for entry in known if self._ledger.find(void_id(entry.id)) is None)
        confirmed = bool(chain) and chain[-1].id != self._id(key, len(chain) - 1)
        if chain and chain[-1] in live and confirmed:
            return ActionReview(key, action, on, held, ActionState.BOOKED, live)
        own = self._take_own(expected)
        if own is not None:
            note = "the owner recorded the corporate action"
            replaced = self._reverse((*outdated, *live), note)
            state = ActionState.PENDING if replaced else ActionState.BOOKED
            return ActionReview(key, action, on, held, state, (own, *live), replaced)
        if chain and chain[-1] in live:
            if expected and _same(chain[-1], expected[0]):
                return ActionReview(key, action, on, held, ActionState.BOOKED, live)
        elif chain:
            reversal = self._ledger.find(void_id(chain[-1].id))
            if reversal is not None and reversal.action is None:
                return ActionReview(key, action, on, held, ActionState.DISMISSED)
        reversals = self._reverse((*outdated, *live), "the corporate action changed")
        due = (*reversals, *self._identify(key, len(chain), expected))
        if not due:
            return None
        return ActionReview(key, action, on, held, ActionState.PENDING, live, due)

    def _reverse(self, entries: Sequence[Entry], note: str) -> tuple[Entry, ...]:
        return tuple(
            entry.reversal(recorded=self._now, note=note, corrects=True) for entry in entries
        )

    def _expect(
        self, action: CorporateAction, key: str, on: date, held: Decimal
    ) -> tuple[Entry, ...]:
        """Return the entries that an action should have, with ids of no meaning.

        Nothing is expected of a withdrawn action, so that its entries are reversed.
        """
        kind = _KINDS.get(action.kind)
        if kind is None or not held > 0 or action in self._terms.actions.withdrawn:
            return ()
        entry = attrs.evolve(_BLANK, on=on, recorded=self._now, symbol=action.symbol, action=key)
        if action.kind in DISTRIBUTIONS:
            return self._pay(action, entry, held)
        ratio = None if action.kind is ActionKind.RENAME else action.value
        booked = attrs.evolve(
            entry,
            kind=kind,
            amount=_ZERO,
            other=action.other,
            ratio=ratio,
            note=action.source if action.source.startswith(INFERRED) else "",
        )
        return (booked,)

    def _pay(self, action: CorporateAction, entry: Entry, held: Decimal) -> tuple[Entry, ...]:
        """Return the entry of a distribution, and its exchange into the base currency."""
        base = self._terms.currency
        unit = quote_unit(action.currency or base.code)
        paid = Currency(unit.currency)
        amount = paid.round(held * action.value / Decimal(unit.divisor))
        if not amount > 0:
            return ()
        currency = None if paid == base else paid.code
        stated = f"{action.value.normalize():f} {unit.code} a unit"
        income = attrs.evolve(
            entry,
            kind=_KINDS[action.kind],
            amount=amount,
            currency=currency,
            note=f"{_NOTES.get(action.kind, '')}{stated} on {held.normalize():f} units"
            + (f", {action.source}" if action.source.startswith(INFERRED) else ""),
        )
        if currency is None or self._terms.conversions is not Conversions.AUTOMATIC:
            return (income,)
        brought = convert_money(amount, currency, base, entry.on, self._terms.exchange)
        if brought is None:
            return (income,)
        return income, attrs.evolve(
            entry,
            kind=EntryKind.EXCHANGE,
            symbol=None,
            amount=amount,
            currency=currency,
            counter_amount=brought,
        )

    def _take_own(self, expected: Sequence[Entry]) -> Entry | None:
        """Return the owner's own entry of what is expected; each counts for one action."""
        if not expected:
            return None
        for place, own in enumerate(self._own):
            if self._is_own(own, expected[0]):
                return self._own.pop(place)
        return None

    def _is_own(self, own: Entry, expected: Entry) -> bool:
        if own.kind is not expected.kind or own.symbol != expected.symbol:
            return False
        if own.other != expected.other:
            return False
        if expected.amount:
            if not expected.on <= own.on <= expected.on + PAID_WITHIN:
                return False
            if self._pays_between(expected, own.on):
                return False
            gross: Decimal | None = expected.amount
            if own.currency != expected.currency:
                gross = convert_money(
                    expected.amount,
                    expected.currency or self._terms.currency.code,
                    Currency(own.currency or self._terms.currency.code),
                    expected.on,
                    self._terms.exchange,
                )
            return gross is not None and LEAST_PART * gross <= own.amount <= MOST_PART * gross
        near = abs(own.on - expected.on) <= SPLIT_WITHIN
        return near and same_ratio(own.ratio, expected.ratio)

    def _pays_between(self, expected: Entry, day: date) -> bool:
        """Return whether a later distribution of the asset is nearer to a day than this one."""
        later = self._terms.actions.by_symbol.get(expected.symbol or "", ())
        return any(
            action.kind in DISTRIBUTIONS
            and _KINDS[action.kind] is expected.kind
            and expected.on < first_day_from(self._terms.dates, action.ex_day) <= day
            for action in later
        )

    def _id(self, key: str, number: int) -> UUID:
        return action_entry_id(self._terms.portfolio, key, number)

    def _identify(self, key: str, number: int, expected: Sequence[Entry]) -> list[Entry]:
        """Return the entries with the ids of the n-th booking of an action."""
        return [
            attrs.evolve(
                entry,
                id=self._id(key, number)
                if entry.kind is not EntryKind.EXCHANGE
                else uuid5(self._id(key, number), "exchange"),
            )
            for entry in expected
        ]


_BLANK = Entry(
    id=UUID(int=0),
    kind=EntryKind.DIVIDEND,
    on=date.min,
    recorded=datetime.fromisoformat("1970-01-01T00:00:00+00:00"),
    amount=Decimal(1),
)


def _find_replaced(ledger: Ledger, terms: BookingTerms) -> dict[str, list[Entry]]:
    """Return entries of actions that the market no longer knows, by the key of what replaces them.

    An action that is not in the ledger replaces one of the same asset and kind that an inference
    put earlier, or whose ex-day was near.
    """
    booked = _entries_by_action(ledger)
    symbols = {entry.symbol for entries in booked.values() for entry in entries if entry.symbol}
    by_symbol = terms.actions.by_symbol
    known = {action_key(one) for symbol in symbols for one in by_symbol.get(symbol, ())}
    known |= {action_key(one) for one in terms.actions.withdrawn}  # reversed by themselves
    missing = [
        entry
        for key, entries in booked.items()
        if key not in known
        for number, entry in enumerate(_without_exchanges(entries))
        if ledger.find(void_id(entry.id)) is None
        and entry.id == action_entry_id(terms.portfolio, key, number)
    ]
    found: dict[str, list[Entry]] = {}
    for entry in missing:
        for action in by_symbol.get(str(entry.symbol), ()):
            key = action_key(action)
            if key in booked or _KINDS.get(action.kind) is not entry.kind:
                continue
            later = action.ex_day - entry.on
            if abs(later) <= REPLACED_WITHIN or (INFERRED in entry.note and later.days >= 0):
                exchanges = [
                    one
                    for one in booked[str(entry.action)]
                    if one.kind is EntryKind.EXCHANGE and ledger.find(void_id(one.id)) is None
                ]
                found.setdefault(key, []).extend([entry, *exchanges])
                break
    return found


def _without_exchanges(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.kind is not EntryKind.EXCHANGE]


def _entries_by_action(ledger: Ledger) -> dict[str, list[Entry]]:
    """Return the entries that book actions by key, as recorded; without reversals."""
    found: dict[str, list[Entry]] = {}
    for entry in ledger.entries:
        if entry.action is not None and entry.voids is None:
            found.setdefault(entry.action, []).append(entry)
    return found


def _concerned(actions: Actions, symbols: Iterable[str]) -> list[CorporateAction]:
    """Return the actions of assets, and of those that they bring, by ex-day and order of effect."""
    waiting, seen = list(symbols), set(symbols)
    found: list[CorporateAction] = []
    while waiting:
        for action in actions.by_symbol.get(waiting.pop(), ()):
            found.append(action)
            if action.other and action.other not in seen:
                seen.add(action.other)
                waiting.append(action.other)
    return sorted(found, key=lambda one: (one.ex_day, one.symbol, one.kind))


def _same(entry: Entry, expected: Entry) -> bool:
    names = ("kind", "on", "symbol", "amount", "currency", "ratio", "other")
    return all(getattr(entry, name) == getattr(expected, name) for name in names)
