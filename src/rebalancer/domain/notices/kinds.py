"""Kinds of notices, and the parameters that the text of each needs."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import attrs


class NoticeKind(StrEnum):
    """What a notice is about. Values are stored and public: add to them, never change one."""

    POSITION_OUTSIDE_BAND = "position_outside_band"
    DRIFT = "drift"
    DRAWDOWN = "drawdown"
    CASH = "cash"
    PROPOSAL_WAITING = "proposal_waiting"
    PROPOSAL_EXPIRING = "proposal_expiring"
    PROPOSAL_MADE = "proposal_made"
    AUTO_ACCEPTED = "auto_accepted"
    AUTO_BLOCKED = "auto_blocked"
    PRICES_STALE = "prices_stale"
    DEPOSIT_UNINVESTED = "deposit_uninvested"
    KILL_SWITCH = "kill_switch"
    PLANNED_FLOW_DUE = "planned_flow_due"


class Severity(StrEnum):
    """How urgent a notice is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Form(StrEnum):
    """Form of a parameter, which is stored as text."""

    TEXT = "text"
    COUNT = "count"  # an integer
    FRACTION = "fraction"  # a decimal: 0.062 stands for 6.2%
    AMOUNT = "amount"  # a decimal, in the currency that the parameter `currency` names
    CURRENCY = "currency"  # an ISO 4217 code
    DAY = "day"  # such as 2026-03-31
    MOMENT = "moment"  # such as 2026-03-31T15:30:00+00:00


@attrs.frozen
class KindRule:
    """What notices of a kind have in common.

    Attributes:
        required: Form by parameter that each notice has.
        optional: Form by parameter that a notice may have.
        severity: Unless the notice states another one.
        important: Whether mails about it are on by default.
        about_portfolio: Whether it concerns one portfolio.
    """

    required: Mapping[str, Form]
    optional: Mapping[str, Form] = MappingProxyType({})
    severity: Severity = Severity.INFO
    important: bool = False
    about_portfolio: bool = True


_PORTFOLIO = {"portfolio_name": Form.TEXT}
"""The name of the portfolio when the notice was raised."""

_MONEY = {"amount": Form.AMOUNT, "currency": Form.CURRENCY}

KIND_RULES: Mapping[NoticeKind, KindRule] = {
    NoticeKind.POSITION_OUTSIDE_BAND: KindRule(
        {**_PORTFOLIO, "symbol": Form.TEXT, "weight": Form.FRACTION, "target": Form.FRACTION},
        {"band": Form.FRACTION},
        severity=Severity.WARNING,
        important=True,
    ),
    NoticeKind.DRIFT: KindRule(
        {**_PORTFOLIO, "drift": Form.FRACTION, "limit": Form.FRACTION},
        severity=Severity.WARNING,
        important=True,
    ),
    NoticeKind.DRAWDOWN: KindRule(
        {**_PORTFOLIO, "drawdown": Form.FRACTION, "limit": Form.FRACTION},
        {"since": Form.DAY},
        severity=Severity.WARNING,
        important=True,
    ),
    NoticeKind.CASH: KindRule(
        {**_PORTFOLIO, **_MONEY, "share": Form.FRACTION, "limit": Form.FRACTION},
    ),
    NoticeKind.PROPOSAL_WAITING: KindRule(
        {**_PORTFOLIO, "proposed": Form.DAY, "orders": Form.COUNT},
    ),
    NoticeKind.PROPOSAL_EXPIRING: KindRule(
        {**_PORTFOLIO, "expires": Form.MOMENT, "orders": Form.COUNT},
        severity=Severity.WARNING,
        important=True,
    ),
    NoticeKind.PROPOSAL_MADE: KindRule(
        {**_PORTFOLIO, "orders": Form.COUNT},
        {"turnover": Form.FRACTION},
        important=True,
    ),
    NoticeKind.AUTO_ACCEPTED: KindRule(
        {**_PORTFOLIO, **_MONEY, "orders": Form.COUNT},
        important=True,
    ),
    NoticeKind.AUTO_BLOCKED: KindRule(
        {**_PORTFOLIO, "reason": Form.TEXT},
        severity=Severity.WARNING,
        important=True,
    ),
    NoticeKind.PRICES_STALE: KindRule(
        {**_PORTFOLIO, "symbol": Form.TEXT, "last": Form.DAY},
        severity=Severity.WARNING,
    ),
    NoticeKind.DEPOSIT_UNINVESTED: KindRule({**_PORTFOLIO, **_MONEY, "since": Form.DAY}),
    NoticeKind.KILL_SWITCH: KindRule(
        {"by": Form.TEXT},  # owner or operator
        _PORTFOLIO,
        severity=Severity.CRITICAL,
        important=True,
        about_portfolio=False,
    ),
    NoticeKind.PLANNED_FLOW_DUE: KindRule({**_PORTFOLIO, **_MONEY, "due": Form.DAY}),
}
"""Rule of each kind. An amount of `PLANNED_FLOW_DUE` is negative for a withdrawal."""
