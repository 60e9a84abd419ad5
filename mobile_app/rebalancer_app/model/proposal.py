"""What the screen of a proposal shows."""

from __future__ import annotations

from datetime import datetime

import attrs

from rebalancer_app.gateway.live import LivePortfolio
from rebalancer_app.gateway.rebalance import Order, Proposal
from rebalancer_app.model.formats import Formats
from rebalancer_app.model.gains import gain_of_order
from rebalancer_app.texts import Texts

SHOWN_OTHERS = ("monthly", "band")


@attrs.frozen
class OrderCard:
    """An order and why.

    Attributes:
        title: Such as "Sell 24 AAPL".
        amount: What it moves, in the base currency.
        details: Price and cost.
        reason: Why, as a sentence.
        filled: How much is filled, once accepted; empty before.
        gain: What a sale would gain or lose; empty for purchases, or if it is unknown.
    """

    title: str
    amount: str
    details: str
    reason: str
    filled: str
    gain: str = ""


@attrs.frozen
class BeforeAfter:
    """Share of an asset before and after the orders."""

    name: str
    before: float
    after: float
    shown: str
    spoken: str


@attrs.frozen
class Comparison:
    """What a simple rule would do."""

    name: str
    orders: str
    cost: str
    turnover: str
    drift: str


@attrs.frozen
class ProposalScreen:
    """Everything on the screen of a proposal.

    Attributes:
        headline: What is proposed, in one line.
        as_of: At which prices: the closes of a day, or quotes with their age.
        can_decide: Whether it can be accepted or rejected.
        can_fill: Whether trades can be recorded for it.
        state: What became of it, or why it cannot be accepted any more; empty while it can.
        facts: Names and values: cost, turnover, distance from the targets, volatility.
        scale: Share at the right end of the bars.
    """

    headline: str
    policy: str
    as_of: str
    expires: str
    can_decide: bool
    can_fill: bool
    state: str
    sells: tuple[OrderCard, ...]
    buys: tuple[OrderCard, ...]
    conversions: tuple[str, ...]
    not_traded: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    bars: tuple[BeforeAfter, ...]
    scale: float
    others: tuple[Comparison, ...]
    notes: tuple[str, ...]
    disclaimer: str


def proposal_screen(one: Proposal, formats: Formats, texts: Texts, now: datetime) -> ProposalScreen:
    """Return what to show of a proposal."""
    fills = {(fill.symbol, fill.side): fill for fill in one.fills}

    def order_card(order: Order) -> OrderCard:
        fill = fills.get((order.symbol, order.side))
        filled = ""
        if fill is not None:
            filled = texts(
                "proposal.filled",
                filled=formats.quantity(fill.filled),
                ordered=formats.quantity(fill.ordered),
            )
        return OrderCard(
            title=texts(
                f"proposal.{order.side}",
                quantity=formats.quantity(order.quantity),
                symbol=order.symbol,
            ),
            amount=formats.money(order.value, one.currency),
            details=texts(
                "proposal.at",
                price=formats.money(order.price, order.currency),
                cost=formats.money(order.cost, one.currency),
            ),
            reason=order.reason,
            filled=filled,
            gain=gain_of_order(
                order.gain, order.long_term_gain, order.lot_method, one.currency, formats, texts
            ),
        )

    bars = _bars(one, formats, texts)
    waits = one.stage == "proposed" and one.stale is None
    return ProposalScreen(
        headline=_headline(one, formats, texts),
        policy=texts("proposal.policy", policy=policy_name(one.policy, texts)),
        as_of=_prices(one, formats, texts, now),
        expires=texts("proposal.expires", when=formats.time_left(one.expires, now))
        if waits
        else "",
        can_decide=waits,
        can_fill=one.stage == "accepted",
        state=_state(one, formats, texts),
        sells=tuple(order_card(order) for order in one.orders if order.side == "sell"),
        buys=tuple(order_card(order) for order in one.orders if order.side == "buy"),
        conversions=tuple(
            texts(
                "proposal.conversion",
                given=formats.money(each.from_amount, each.from_currency),
                received=formats.money(each.to_amount, each.to_currency),
            )
            for each in one.conversions
        ),
        not_traded=tuple((each.symbol, each.reason) for each in one.not_traded),
        facts=_facts(one, formats, texts),
        bars=bars,
        scale=max([max(bar.before, bar.after) for bar in bars], default=1.0) * 1.04 or 1.0,
        others=tuple(
            Comparison(
                policy_name(other.policy, texts),
                texts("proposal.orders", count=other.orders),
                formats.money(other.cost, one.currency),
                formats.percent(other.turnover),
                formats.points(other.drift_after).lstrip("+"),
            )
            for other in one.others
        ),
        notes=tuple(one.notes),
        disclaimer=one.disclaimer,
    )


def _prices(one: Proposal, formats: Formats, texts: Texts, now: datetime) -> str:
    """Return at which prices a proposal is made."""
    if one.live is None:
        return texts("home.as_of", day=formats.day(one.as_of))
    oldest = min((quote.traded for quote in one.live.quotes), default=one.live.at)
    return texts("proposal.at_quotes", age=formats.age(oldest, now))


def execution_text(one: Proposal, formats: Formats, texts: Texts) -> str:
    """Return at which prices a proposal is executed on paper, as a sentence."""
    if one.live is not None:
        return texts("proposal.accept_live")
    return texts("proposal.accept_text", day=formats.day(one.as_of))


def offers_quotes(live: LivePortfolio | None) -> bool:
    """Return whether a proposal at quotes is offered: a holding has one, or nothing is held yet."""
    if live is None or not live.live:
        return False
    return not live.positions or any(one.priced_by == "quote" for one in live.positions)


def policy_name(policy: str, texts: Texts) -> str:
    """Return the name of a policy for people; its own name where the app does not have one."""
    bare = policy.partition(":")[0]
    return texts.find(f"policy.{bare}") or policy


def _headline(one: Proposal, formats: Formats, texts: Texts) -> str:
    if not one.orders:
        return texts("proposal.nothing")
    return texts(
        "proposal.headline",
        orders=texts("proposal.orders", count=len(one.orders)),
        cost=formats.money(one.cost, one.currency),
    )


def _state(one: Proposal, formats: Formats, texts: Texts) -> str:
    if one.stage == "proposed":
        return "" if one.stale is None else texts("proposal.stale", reason=one.stale)
    if one.stage == "nothing_to_do":
        return ""
    day = formats.day(one.decided.date() if one.decided else None)
    text = texts(f"stage.{one.stage}", day=day)
    return f"{text} {one.remark}".strip()


def _facts(one: Proposal, formats: Formats, texts: Texts) -> tuple[tuple[str, str], ...]:
    found = [
        (texts("proposal.cost"), formats.money(one.cost, one.currency)),
        (texts("proposal.turnover"), formats.percent(one.turnover)),
        (
            texts("proposal.distance"),
            f"{formats.percent(one.drift_before)} → {formats.percent(one.drift_after)}",
        ),
        (texts("proposal.cash_after"), formats.money(one.cash_after, one.currency)),
    ]
    if one.volatility_before is not None and one.volatility_after is not None:
        text = f"{formats.percent(one.volatility_before)} → {formats.percent(one.volatility_after)}"
        found.append((texts("proposal.volatility"), text))
    return tuple(found)


def _bars(one: Proposal, formats: Formats, texts: Texts) -> tuple[BeforeAfter, ...]:
    before, after = one.weights_before, one.weights_after
    names = sorted(
        {*before, *after}, key=lambda name: -max(before.get(name, 0), after.get(name, 0))
    )
    found = []
    for name in names:
        start, end = before.get(name, 0.0), after.get(name, 0.0)
        shown = f"{formats.percent(start)} → {formats.percent(end)}"
        spoken = texts(
            "proposal.bar", name=name, before=formats.percent(start), after=formats.percent(end)
        )
        found.append(BeforeAfter(name, start, end, shown, spoken))
    rest = [1.0 - sum(each.values()) for each in (before, after)]
    cash = texts("portfolio.cash")
    shown = f"{formats.percent(max(0.0, rest[0]))} → {formats.percent(max(0.0, rest[1]))}"
    spoken = texts(
        "proposal.bar",
        name=cash,
        before=formats.percent(max(0.0, rest[0])),
        after=formats.percent(max(0.0, rest[1])),
    )
    return (*found, BeforeAfter(cash, max(0.0, rest[0]), max(0.0, rest[1]), shown, spoken))
