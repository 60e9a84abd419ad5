"""Corporate actions of the market, as ledgers book them.

Each action has a key. The entries that book it have ids that follow from the portfolio and the key,
so that booking twice has the same result as booking once; see
`rebalancer.domain.portfolio.action_reviews`. A delisting has no entry: the asset keeps its last
price until its owner closes the position.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal, localcontext
from enum import StrEnum
from uuid import UUID, uuid5

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates
from rebalancer.domain.market.actions import (
    NO_ACTIONS,
    ActionKind,
    Actions,
    CorporateAction,
)
from rebalancer.domain.market.currencies import NO_RATES, ExchangeRates
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quality import Rule, Severity
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import (
    Entry,
)
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from rebalancer.domain.portfolio.portfolio import Conversions

_ZERO = Decimal(0)
_DIGITS = 60

_DISPUTES = frozenset({Rule.SPLIT_NOT_IN_PRICES, Rule.IMPLAUSIBLE_DIVIDEND})
"""Rules whose findings are about corporate actions."""


class ActionState(StrEnum):
    """Where a corporate action of a portfolio stands.

    PENDING: it is to be booked, or to be corrected. BOOKED: the ledger has it. DISMISSED: the owner
    voided its entry.
    """

    PENDING = "pending"
    BOOKED = "booked"
    DISMISSED = "dismissed"


@attrs.frozen
class ActionReview:
    """A corporate action as it concerns a ledger.

    Attributes:
        key: See `action_key`.
        action: As the market knows it.
        on: Market day of its entries: the first one at or after the ex-day.
        units: Units held at the start of that day.
        state: See `ActionState`.
        entries: Entries that book it at present; entries of the owner's own among them.
        due: Entries that would book or correct it, reversals first; empty unless it is pending.
    """

    key: str
    action: CorporateAction
    on: date
    units: Decimal
    state: ActionState
    entries: tuple[Entry, ...] = ()
    due: tuple[Entry, ...] = ()


@attrs.frozen
class BookingTerms:
    """What determines the entries that book corporate actions.

    Attributes:
        portfolio: Id of the portfolio.
        currency: Its base currency.
        conversions: Whether distributions in other currencies are converted at the day's rate.
        actions: Corporate actions with an ex-day up to the last close.
        dates: (T,) days of the market.
        exchange: Exchange rates.
    """

    portfolio: UUID
    currency: Currency
    conversions: Conversions
    actions: Actions
    dates: Dates
    exchange: ExchangeRates = NO_RATES

    @classmethod
    def of(cls, portfolio: ManagedPortfolio, market: PriceHistory) -> BookingTerms:
        """Return the terms of a portfolio at the last close."""
        return cls(
            portfolio.id,
            portfolio.mandate.currency,
            portfolio.mandate.conversions,
            due_actions(market),
            market.dates,
            NO_RATES if market.quotes is None else market.quotes.exchange,
        )


def action_key(action: CorporateAction) -> str:
    """Return the text that identifies an action, such as "KO 2024-06-13 dividend"."""
    other = f" {action.other}" if action.other else ""
    return f"{action.symbol} {action.ex_day} {action.kind}{other}"


def due_actions(market: PriceHistory) -> Actions:
    """Return the corporate actions with an ex-day up to the last close.

    Those that the prices contradict, see `Rule`, are withdrawn: a split that does not show in them
    waits until it does, or until an operator accepts it.
    """
    quotes = market.quotes
    if quotes is None or not (quotes.actions.entries or quotes.actions.withdrawn):
        return NO_ACTIONS
    return market.memo("due actions", lambda: _undisputed(quotes.actions, market))


def _undisputed(actions: Actions, market: PriceHistory) -> Actions:
    until = actions.until(market.last_date)
    disputed = {
        (finding.symbol, finding.day)
        for finding in market.findings
        if finding.rule in _DISPUTES
        and finding.severity is Severity.ERROR
        and finding.until is None
    }
    return until.without(
        {
            one.key
            for one in (until if disputed else ())
            if (one.symbol, first_day_from(market.dates, one.ex_day)) in disputed
        }
<<<<<<< HEAD
    )
=======
        entries = {
            day: [entry for entry in of_day if entry.id not in void]
            for day, of_day in self._ledger.by_day()
        }
        events: dict[date, list[CorporateAction]] = {}
        replaced = {entry.action for found in self._replaced.values() for entry in found}
        booked = self._booked.keys() - replaced
        withdrawn = (one for one in self._terms.actions.withdrawn if action_key(one) in booked)
        for action in (*withdrawn, *_concerned(self._terms.actions, self._ledger.symbols)):
            events.setdefault(self._terms.market_day(action.ex_day), []).append(action)
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

        A withdrawn action should have none, so that those that it has are reversed.
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
            and expected.on < self._terms.market_day(action.ex_day) <= day
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
>>>>>>> 896fb79 (Mend reversals of inferred actions, transfers in kind and entity tags)


def first_day_from(days: Dates, ex_day: date) -> date:
    """Return the first of days at or after an ex-day; the ex-day itself outside of them."""
    row = int(np.searchsorted(days, np.datetime64(ex_day, "D")))
    if row == 0 or row == len(days):
        return ex_day
    day: date = days[row].item()
    return day


def action_entry_id(portfolio: UUID, key: str, number: int = 0) -> UUID:
    """Return the id of the entry of a portfolio that books an action for the n-th time."""
    return uuid5(portfolio, f"{key} {number}" if number else key)


def convert_money(
    amount: Decimal, source: str, target: Currency, on: date, exchange: ExchangeRates
) -> Decimal | None:
    """Return money of a currency in another one at the last rate up to a day, rounded.

    None without a rate, or if nothing is left after rounding.
    """
    found = exchange.convert(source, target.code, np.array([on], dtype="datetime64[D]"))
    if found is None or not found.rates[0] > 0:
        return None
    with localcontext(prec=_DIGITS):
        brought = target.round(amount * Decimal(repr(float(found.rates[0]))))
    return brought if brought > 0 else None


def follow_renames(mandate: Mandate, market: PriceHistory) -> Mandate:
    """Return the mandate with new symbols in place of old ones; the same object without any.

    Targets and lists of assets follow a new symbol if the market prices it, and prices the old one
    no longer. Weights of both are added.
    """
    named = {*mandate.targets, *mandate.preferences.do_not_sell, *mandate.preferences.do_not_buy}
    current = set(market.columns) - set(market.withheld)
    due = due_actions(market)
    for action in due:
        if action.kind is not ActionKind.RENAME or action.symbol not in named:
            continue
        if action.symbol in current or action.other not in market.columns:
            continue
        mandate = replace_symbol(mandate, action.symbol, str(action.other))
        named = (named - {action.symbol}) | {str(action.other)}
    return mandate


def replace_symbol(mandate: Mandate, old: str, new: str) -> Mandate:
    """Return the mandate with another symbol of an asset; weights of both are added."""
    targets: dict[str, float] = {}
    for symbol, weight in mandate.targets.items():
        name = new if symbol == old else symbol
        targets[name] = targets.get(name, 0.0) + weight
    rules = mandate.preferences
    if old in rules.do_not_sell | rules.do_not_buy:
        rules = attrs.evolve(
            rules,
            do_not_sell=_replace(rules.do_not_sell, old, new),
            do_not_buy=_replace(rules.do_not_buy, old, new),
        )
    return attrs.evolve(mandate, targets=targets, preferences=rules)


def _replace(symbols: frozenset[str], old: str, new: str) -> frozenset[str]:
    return frozenset(new if symbol == old else symbol for symbol in symbols)
