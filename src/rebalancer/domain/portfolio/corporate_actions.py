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
    )


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
    groups, splits = mandate.target_groups, mandate.look_through
    if groups is not None:
        groups, targets = groups.replace_symbol(old, new), {}
    if old in splits:
        moved = {one: split for one, split in splits.items() if one != old}
        splits = {new: splits[old], **moved}
    rules = mandate.preferences
    if old in rules.do_not_sell | rules.do_not_buy:
        rules = attrs.evolve(
            rules,
            do_not_sell=_replace(rules.do_not_sell, old, new),
            do_not_buy=_replace(rules.do_not_buy, old, new),
        )
    return attrs.evolve(
        mandate,
        targets=targets,
        preferences=rules,
        target_groups=groups,
        look_through=splits,
    )


def _replace(symbols: frozenset[str], old: str, new: str) -> frozenset[str]:
    return frozenset(new if symbol == old else symbol for symbol in symbols)
