"""Notes on what the orders do with a cash flow, and on what stays of closed positions."""

from __future__ import annotations

from decimal import Decimal

import attrs

from rebalancer.domain.money import Currency, canonical_text
from rebalancer.domain.number_text import money_text
from rebalancer.domain.portfolio.portfolio import ExpectedFlow, Portfolio


@attrs.frozen
class Outcome:
    """What the orders of one portfolio do, in exact money.

    Attributes:
        bought: Value of all buys.
        sold: Value of all sales.
        cash: Cash after the orders.
        remainders: Symbol, what stays of a position that was to be closed, and the step of its
            orders.
    """

    bought: Decimal
    sold: Decimal
    cash: Decimal
    remainders: tuple[tuple[str, Decimal, Decimal], ...] = ()


def flow_note(portfolio: Portfolio, outcome: Outcome, unit: Decimal) -> str:
    """Describe what the orders do with a deposit or a withdrawal."""
    cash_flow, uninvested = portfolio.cash_flow, portfolio.uninvested
    bought, sold = money_text(outcome.bought, unit), money_text(outcome.sold, unit)
    flow = f"{'withdrawal' if cash_flow < 0 else 'deposit'} of {abs(cash_flow)}"
    if (withdrawn := uninvested - cash_flow) > 0 and uninvested:
        if not cash_flow:
            return f"The withdrawal of {withdrawn} is paid from deposits that are not invested."
        parts = f"a withdrawal of {withdrawn}", f"deposits of {uninvested}"
        first, second = parts if cash_flow < 0 else reversed(parts)
        flow = f"net {flow} ({first} less {second})"
    if cash_flow < 0:
        if not outcome.sold:
            return f"The {flow} is paid from cash."
        source = "sales" if outcome.sold >= -cash_flow else "cash and sales"
        return (
            f"The {flow} is paid from {source} of {sold}; sales that it needs "
            "do not count towards the turnover cap."
        )
    if not outcome.bought:
        return f"The {flow} stays in cash."
    if outcome.sold:
        return f"The {flow} and sales of {sold} fund purchases of {bought}."
    if portfolio.foreign_cash:
        return f"The {flow} and other cash fund purchases of {bought}."
    if outcome.bought > cash_flow:
        return f"The {flow} and other cash are invested: {bought}."
    return f"Of the {flow}, {bought} is invested."


def expected_notes(portfolio: Portfolio) -> list[str]:
    """Describe what is done about planned flows."""
    return [
        f"{_planned_text(one)} are kept for the withdrawal of {one.on}."
        if one.amount < 0
        else f"The deposit of {_planned_text(one)} of {one.on} is not invested before it is "
        "recorded."
        for one in portfolio.expected
    ]


def kept_text(portfolio: Portfolio) -> str:
    """Describe the cash that planned withdrawals need, such as for the reason of a sale."""
    kept = [one for one in portfolio.expected if one.amount < 0]
    if len(kept) == 1:
        return f"{_planned_text(kept[0])} for the withdrawal of {kept[0].on}"
    last = max(one.on for one in kept)
    total = money_text(portfolio.kept_cash, portfolio.currency.minor_unit)
    return f"{total} {portfolio.currency} for {len(kept)} withdrawals until {last}"


def _planned_text(flow: ExpectedFlow) -> str:
    unit = Currency(flow.currency).minor_unit
    return f"{money_text(abs(flow.amount), unit)} {flow.currency}"


def remainder_note(symbol: str, left: Decimal, step: Decimal, portfolio: Portfolio) -> str:
    """Explain why a remainder of a closed position stays."""
    rule = f"{symbol} trades in multiples of {canonical_text(step)}"
    if not portfolio.preferences.sell_remainders:
        rule = (
            "preferences.sell_remainders is false, so orders are multiples of "
            f"{canonical_text(step)}"
        )
    return f"{canonical_text(left)} {symbol} stays: {rule}."
