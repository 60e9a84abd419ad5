"""A broker on paper: every order is filled at its reference price, at its expected cost."""

from __future__ import annotations

import attrs

from rebalancer.domain.rebalancing.lifecycle import Fill, ProposalRecord


@attrs.frozen
class PaperBroker:
    """Fills at the as-of close, with the costs that the proposal reckoned with."""

    def execute(self, record: ProposalRecord) -> list[Fill]:
        """See `Broker.execute`."""
        return [
            Fill(
                symbol=order.symbol,
                side=order.side,
                quantity=order.quantity,
                price=order.price,
                value=order.value,
                cost=order.cost,
            )
            for order in record.proposal.orders
        ]
