"""Texts of notices in English and German, with their numbers.

Names of portfolios stand in them, which their owners have chosen; nothing that strangers can enter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo

import attrs

from rebalancer.domain.money import Currency
from rebalancer.domain.notices.choices import Language
from rebalancer.domain.notices.kinds import KIND_RULES, Form, NoticeKind
from rebalancer.domain.notices.notice import Notice


@attrs.frozen
class NoticeText:
    """Text of a notice.

    Attributes:
        title: A few words, such as for the subject of a mail.
        text: A sentence with its numbers.
    """

    title: str
    text: str


_Variant = Callable[[Mapping[str, str]], str]
"""Chooses among the texts of a kind by the parameters of a notice."""


def _side_of_target(facts: Mapping[str, str]) -> str:
    return "above" if Decimal(facts["weight"]) >= Decimal(facts["target"]) else "below"


def _side_of_limit(facts: Mapping[str, str]) -> str:
    return "above" if Decimal(facts["share"]) >= Decimal(facts["limit"]) else "below"


def _direction(facts: Mapping[str, str]) -> str:
    return "in" if Decimal(facts["amount"]) >= 0 else "out"


def _number_of_orders(facts: Mapping[str, str]) -> str:
    return "one" if facts["orders"] == "1" else "many"


def _switch(facts: Mapping[str, str]) -> str:
    place = "portfolio" if "portfolio_name" in facts else "all"
    return f"{'owner' if facts['by'] == 'owner' else 'operator'} {place}"


_VARIANTS: Mapping[NoticeKind, _Variant] = {
    NoticeKind.POSITION_OUTSIDE_BAND: _side_of_target,
    NoticeKind.CASH: _side_of_limit,
    NoticeKind.PROPOSAL_WAITING: _number_of_orders,
    NoticeKind.PROPOSAL_EXPIRING: _number_of_orders,
    NoticeKind.PROPOSAL_MADE: _number_of_orders,
    NoticeKind.AUTO_ACCEPTED: _number_of_orders,
    NoticeKind.KILL_SWITCH: _switch,
    NoticeKind.PLANNED_FLOW_DUE: _direction,
}

_Texts = Mapping[NoticeKind, tuple[str, str | Mapping[str, str]]]

_ENGLISH: _Texts = {
    NoticeKind.POSITION_OUTSIDE_BAND: (
        "{symbol} outside its band",
        {
            "above": "{symbol} is {difference} points above its target in {portfolio_name}.",
            "below": "{symbol} is {difference} points below its target in {portfolio_name}.",
        },
    ),
    NoticeKind.DRIFT: (
        "{portfolio_name} has drifted",
        "{portfolio_name} is {drift} away from its targets; your limit is {limit}.",
    ),
    NoticeKind.DRAWDOWN: (
        "{portfolio_name} has lost value",
        "{portfolio_name} is {drawdown} below its highest value; your limit is {limit}.",
    ),
    NoticeKind.CASH: (
        "Cash in {portfolio_name}",
        {
            "above": "{portfolio_name} holds {amount} in cash, {share} of its value; your limit is "
            "{limit}.",
            "below": "{portfolio_name} holds only {amount} in cash, {share} of its value; your "
            "limit is {limit}.",
        },
    ),
    NoticeKind.PROPOSAL_WAITING: (
        "Proposal waiting",
        {
            "one": "The proposal of {proposed} for {portfolio_name} waits for your decision: one "
            "order.",
            "many": "The proposal of {proposed} for {portfolio_name} waits for your decision: "
            "{orders} orders.",
        },
    ),
    NoticeKind.PROPOSAL_EXPIRING: (
        "Proposal about to expire",
        {
            "one": "The proposal for {portfolio_name}, with one order, expires on {expires}.",
            "many": "The proposal for {portfolio_name}, with {orders} orders, expires on "
            "{expires}.",
        },
    ),
    NoticeKind.PROPOSAL_MADE: (
        "New proposal",
        {
            "one": "A proposal with one order was made for {portfolio_name}.",
            "many": "A proposal with {orders} orders was made for {portfolio_name}.",
        },
    ),
    NoticeKind.AUTO_ACCEPTED: (
        "Proposal accepted automatically",
        {
            "one": "A proposal for {portfolio_name} was accepted on paper within your limits: one "
            "order for {amount}.",
            "many": "A proposal for {portfolio_name} was accepted on paper within your limits: "
            "{orders} orders for {amount} in total.",
        },
    ),
    NoticeKind.AUTO_BLOCKED: (
        "Proposal not accepted automatically",
        "A proposal for {portfolio_name} exceeds your limits and waits for your decision: {reason}",
    ),
    NoticeKind.PRICES_STALE: (
        "Old prices of {symbol}",
        "The last price of {symbol} in {portfolio_name} is of {last}.",
    ),
    NoticeKind.DEPOSIT_UNINVESTED: (
        "Uninvested deposit",
        "{amount} in {portfolio_name} has been waiting to be invested since {since}.",
    ),
    NoticeKind.KILL_SWITCH: (
        "Automatic decisions stopped",
        {
            "owner portfolio": "You have stopped automatic decisions for {portfolio_name}.",
            "owner all": "You have stopped all automatic decisions.",
            "operator portfolio": "The operator has stopped automatic decisions for "
            "{portfolio_name}.",
            "operator all": "The operator has stopped all automatic decisions.",
        },
    ),
    NoticeKind.PLANNED_FLOW_DUE: (
        "Planned payment",
        {
            "in": "Your planned deposit of {amount} into {portfolio_name} is due on {due}.",
            "out": "Your planned withdrawal of {amount} from {portfolio_name} is due on {due}.",
        },
    ),
}

_GERMAN: _Texts = {
    NoticeKind.POSITION_OUTSIDE_BAND: (
        "{symbol} außerhalb der Bandbreite",
        {
            "above": "{symbol} liegt in {portfolio_name} {difference} Prozentpunkte über dem Ziel.",
            "below": "{symbol} liegt in {portfolio_name} {difference} Prozentpunkte unter dem "
            "Ziel.",
        },
    ),
    NoticeKind.DRIFT: (
        "{portfolio_name} weicht ab",
        "{portfolio_name} weicht {drift} von den Zielen ab; Ihre Grenze ist {limit}.",
    ),
    NoticeKind.DRAWDOWN: (
        "{portfolio_name} hat verloren",
        "{portfolio_name} liegt {drawdown} unter dem Höchststand; Ihre Grenze ist {limit}.",
    ),
    NoticeKind.CASH: (
        "Barbestand in {portfolio_name}",
        {
            "above": "Der Barbestand von {portfolio_name} ist {amount}, {share} des Werts; Ihre "
            "Grenze ist {limit}.",
            "below": "Der Barbestand von {portfolio_name} ist nur {amount}, {share} des Werts; "
            "Ihre Grenze ist {limit}.",
        },
    ),
    NoticeKind.PROPOSAL_WAITING: (
        "Vorschlag wartet",
        {
            "one": "Der Vorschlag vom {proposed} für {portfolio_name} wartet auf Ihre "
            "Entscheidung: ein Auftrag.",
            "many": "Der Vorschlag vom {proposed} für {portfolio_name} wartet auf Ihre "
            "Entscheidung: {orders} Aufträge.",
        },
    ),
    NoticeKind.PROPOSAL_EXPIRING: (
        "Vorschlag läuft ab",
        {
            "one": "Der Vorschlag für {portfolio_name} mit einem Auftrag läuft am {expires} ab.",
            "many": "Der Vorschlag für {portfolio_name} mit {orders} Aufträgen läuft am {expires} "
            "ab.",
        },
    ),
    NoticeKind.PROPOSAL_MADE: (
        "Neuer Vorschlag",
        {
            "one": "Für {portfolio_name} gibt es einen Vorschlag mit einem Auftrag.",
            "many": "Für {portfolio_name} gibt es einen Vorschlag mit {orders} Aufträgen.",
        },
    ),
    NoticeKind.AUTO_ACCEPTED: (
        "Vorschlag automatisch angenommen",
        {
            "one": "Ein Vorschlag für {portfolio_name} wurde innerhalb Ihrer Grenzen auf dem "
            "Papier angenommen: ein Auftrag über {amount}.",
            "many": "Ein Vorschlag für {portfolio_name} wurde innerhalb Ihrer Grenzen auf dem "
            "Papier angenommen: {orders} Aufträge über zusammen {amount}.",
        },
    ),
    NoticeKind.AUTO_BLOCKED: (
        "Vorschlag nicht automatisch angenommen",
        "Ein Vorschlag für {portfolio_name} überschreitet Ihre Grenzen und wartet auf Ihre "
        "Entscheidung: {reason}",
    ),
    NoticeKind.PRICES_STALE: (
        "Alte Kurse von {symbol}",
        "Der letzte Kurs von {symbol} in {portfolio_name} ist vom {last}.",
    ),
    NoticeKind.DEPOSIT_UNINVESTED: (
        "Nicht angelegte Einzahlung",
        "{amount} in {portfolio_name} sind seit dem {since} nicht angelegt.",
    ),
    NoticeKind.KILL_SWITCH: (
        "Automatische Entscheidungen angehalten",
        {
            "owner portfolio": "Sie haben automatische Entscheidungen für {portfolio_name} "
            "angehalten.",
            "owner all": "Sie haben alle automatischen Entscheidungen angehalten.",
            "operator portfolio": "Der Betreiber hat automatische Entscheidungen für "
            "{portfolio_name} angehalten.",
            "operator all": "Der Betreiber hat alle automatischen Entscheidungen angehalten.",
        },
    ),
    NoticeKind.PLANNED_FLOW_DUE: (
        "Geplante Zahlung",
        {
            "in": "Ihre geplante Einzahlung von {amount} in {portfolio_name} ist am {due} fällig.",
            "out": "Ihre geplante Auszahlung von {amount} aus {portfolio_name} ist am {due} "
            "fällig.",
        },
    ),
}

TEXTS: Mapping[Language, _Texts] = {Language.ENGLISH: _ENGLISH, Language.GERMAN: _GERMAN}
"""Title and text of each kind, or its texts by variant, in each language."""

_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)


def write_notice(notice: Notice, language: Language, zone: ZoneInfo) -> NoticeText:
    """Write the text of a notice; times are of a zone."""
    facts = notice.parameters
    rule = KIND_RULES[notice.kind]
    forms = {**rule.required, **rule.optional}
    shown = {
        name: _show(forms[name], value, facts, language, zone)
        for name, value in facts.items()
        if name in forms
    }
    if "weight" in facts:
        difference = abs(Decimal(facts["weight"]) - Decimal(facts["target"])) * 100
        shown["difference"] = _number(difference, 1, language)
    title, text = TEXTS[language][notice.kind]
    if not isinstance(text, str):
        text = text[_VARIANTS[notice.kind](facts)]
    return NoticeText(title.format_map(shown), text.format_map(shown))


def _show(
    form: Form, value: str, facts: Mapping[str, str], language: Language, zone: ZoneInfo
) -> str:
    """Return a parameter as people read it."""
    german = language is Language.GERMAN
    if form is Form.FRACTION:
        text = _number(Decimal(value) * 100, 1, language)
        return f"{text}\u00a0%" if german else f"{text}%"
    if form is Form.AMOUNT:
        currency = Currency(facts["currency"])
        amount = abs(Decimal(value))
        text = _number(amount, currency.digits, language)
        return f"{text}\u00a0{currency.code}" if german else f"{currency.code} {text}"
    if form is Form.DAY:
        return _day(date.fromisoformat(value), language)
    if form is Form.MOMENT:
        moment = datetime.fromisoformat(value).astimezone(zone)
        day, clock = _day(moment.date(), language), f"{moment:%H:%M %Z}"
        return f"{day} um {clock}" if german else f"{day} at {clock}"
    return value


def _number(value: Decimal, digits: int, language: Language) -> str:
    """Return a number with so many digits after the point, and its thousands grouped."""
    rounded = value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN)
    text = f"{rounded:,f}"
    return text.translate(str.maketrans(",.", ".,")) if language is Language.GERMAN else text


def _day(day: date, language: Language) -> str:
    if language is Language.GERMAN:
        return f"{day.day}.{day.month}.{day.year}"
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
