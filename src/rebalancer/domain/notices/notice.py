"""A notice to the owner of a portfolio."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from uuid import UUID, uuid5

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency
from rebalancer.domain.notices.kinds import KIND_RULES, Form, NoticeKind, Severity

Fact = str | int | Decimal | date | datetime | Currency
"""Value of a parameter, before it is stored as text."""

MOST_TEXT = 200
"""Most characters of a key, a link or a parameter."""

_KEY = re.compile(r"[!-~]+( [!-~]+)*")
_LINK = re.compile(r"/([!-.0-~][!-~]*)?")


@attrs.frozen
class Notice:
    """A notice to the owner of a portfolio; its text is written when it is shown or sent.

    Attributes:
        id: Derives from the owner and the key, so raising a notice twice makes one.
        portfolio: None if it concerns the whole account.
        key: Names the event among those of its owner, such as ``drift 5b0e… 2026-03-31``. A state
            that ends and comes back is another event, with another key.
        parameters: What the text states, by name, as text of the form that `KIND_RULES` names.
        link: Page of the app, such as ``/portfolios/5b0e…``.
        read: When the owner read it; None before.
        resolved: When the state that it reports ended; None before, and for events.
    """

    id: UUID
    owner: UUID
    portfolio: UUID | None
    kind: NoticeKind
    severity: Severity
    key: str
    parameters: Mapping[str, str] = attrs.field(repr=False)
    link: str
    created: datetime
    read: datetime | None = None
    resolved: datetime | None = None

    @classmethod
    def new(
        cls,
        kind: NoticeKind,
        *,
        owner: UUID,
        key: str,
        now: datetime,
        portfolio: UUID | None = None,
        link: str = "/",
        severity: Severity | None = None,
        **facts: Fact,
    ) -> Notice:
        """Return a notice that was not read.

        Args:
            kind: Decides which facts are needed.
            owner: Who gets it.
            key: See the attribute.
            now: When it happened.
            portfolio: See the attribute.
            link: See the attribute.
            severity: That of the kind unless given.
            facts: Value by parameter; see `KIND_RULES`.

        Raises:
            InvalidRequest: the key, the link, the portfolio or a fact does not suit the kind.
        """
        rule = KIND_RULES[kind]
        _check_text("key", key, _KEY, "visible ASCII characters, separated by single spaces")
        _check_text("link", link, _LINK, "a path of the app, such as /portfolios")
        if rule.about_portfolio and portfolio is None:
            raise InvalidRequest(
                f"a notice of kind {kind} concerns one portfolio; state it",
                field="portfolio",
                code="invalid_notice",
            )
        return cls(
            id=uuid5(owner, key),
            owner=owner,
            portfolio=portfolio,
            kind=kind,
            severity=severity or rule.severity,
            key=key,
            parameters=_write(kind, facts),
            link=link,
            created=now,
        )


def _write(kind: NoticeKind, facts: Mapping[str, Fact]) -> dict[str, str]:
    """Return facts as text, in the order of the rule of their kind."""
    rule = KIND_RULES[kind]
    forms = {**rule.required, **rule.optional}
    for name in facts:
        if name not in forms:
            raise InvalidRequest(
                f"{name} is not a parameter of {kind}; it has {', '.join(forms)}",
                field=f"parameters.{name}",
                code="invalid_notice",
            )
    for name in rule.required:
        if name not in facts:
            raise InvalidRequest(
                f"{kind} needs the parameter {name}",
                field=f"parameters.{name}",
                code="invalid_notice",
            )
    return {name: _as_text(name, forms[name], facts[name]) for name in forms if name in facts}


def _as_text(name: str, form: Form, value: Fact) -> str:
    """Return a value in the form of its parameter."""
    try:
        text = _CONVERT[form](value)
    except (ValueError, TypeError, InvalidOperation, InvalidRequest):
        raise InvalidRequest(
            f"{value!r} is not a {form}", field=f"parameters.{name}", code="invalid_notice"
        ) from None
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"


def _decimal(value: Fact) -> str:
    if not isinstance(value, str | int | Decimal) or isinstance(value, bool):
        raise TypeError
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError
    return format(number, "f")


def _count(value: Fact) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return str(value)


def _day(value: Fact) -> str:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise TypeError
    return value.isoformat()


def _moment(value: Fact) -> str:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError
    return value.isoformat()


def _text(value: Fact) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError
    return value


def _currency(value: Fact) -> str:
    return (value if isinstance(value, Currency) else Currency(_text(value))).code


_CONVERT = {
    Form.TEXT: _text,
    Form.COUNT: _count,
    Form.FRACTION: _decimal,
    Form.AMOUNT: _decimal,
    Form.CURRENCY: _currency,
    Form.DAY: _day,
    Form.MOMENT: _moment,
}


def _check_text(field: str, text: str, pattern: re.Pattern[str], rule: str) -> None:
    if len(text) > MOST_TEXT or not pattern.fullmatch(text):
        raise InvalidRequest(
            f"{text!r} is not valid: use up to {MOST_TEXT} characters, {rule}",
            field=field,
            code="invalid_notice",
        )
