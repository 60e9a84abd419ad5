"""Reasons of orders and of assets that are not traded, with the groups that explain them."""

from __future__ import annotations

import attrs

from rebalancer.domain.rebalancing.explanations import NO_ORDER_TEXTS, ORDER_TEXTS
from rebalancer.domain.rebalancing.group_outcomes import (
    GroupOutcome,
    GroupState,
    explaining_group,
)
from rebalancer.domain.rebalancing.model import NotTraded, Order, Proposal, ReasonCode, Side

_BY_GROUP = {
    ReasonCode.UNDERWEIGHT: ReasonCode.GROUP_UNDERWEIGHT,
    ReasonCode.OVERWEIGHT: ReasonCode.GROUP_OVERWEIGHT,
}
_STAYS = frozenset({ReasonCode.WITHIN_BAND, ReasonCode.LEFT_UNCHANGED})


def explain_with_groups(proposal: Proposal, groups: tuple[GroupOutcome, ...]) -> Proposal:
    """Return the proposal with its groups; its reasons name the group that explains them."""
    if not groups:
        return proposal
    return attrs.evolve(
        proposal,
        groups=groups,
        orders=tuple(_explain_order(one, groups) for one in proposal.orders),
        not_traded=tuple(_explain_none(one, groups) for one in proposal.not_traded),
        notes=(*proposal.notes, *_notes(groups)),
    )


def _explain_order(order: Order, groups: tuple[GroupOutcome, ...]) -> Order:
    group = explaining_group(groups, order.symbol, buys=order.side is Side.BUY)
    if group is None:
        return order
    code, reason = order.reason_code, order.reason
    if group.moved_by_band and code in _BY_GROUP:
        before, code = ORDER_TEXTS[code], _BY_GROUP[code]
        reason = reason.replace(before, ORDER_TEXTS[code], 1)
    return attrs.evolve(order, reason=f"{reason} {group.reason}", reason_code=code)


def _explain_none(one: NotTraded, groups: tuple[GroupOutcome, ...]) -> NotTraded:
    group = explaining_group(groups, one.symbol, buys=None)
    if group is None:
        return one
    if group.state is GroupState.WITHIN_BAND and one.reason_code in _STAYS:
        code = ReasonCode.WITHIN_GROUP_BAND
        return attrs.evolve(one, reason=f"{NO_ORDER_TEXTS[code]} {group.reason}", reason_code=code)
    return attrs.evolve(one, reason=f"{one.reason} {group.reason}")


def _notes(groups: tuple[GroupOutcome, ...]) -> list[str]:
    """Write notes on classes whose targets the portfolio's funds cannot meet."""
    return [
        f"The funds of {one.name} keep its class {abs(one.missing_points):.1f} points "
        f"{'below' if one.missing_points > 0 else 'above'} its target of {one.target:.1%}."
        for one in groups
        if one.missing_points
    ]
