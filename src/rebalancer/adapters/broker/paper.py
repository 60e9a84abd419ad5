"""Paper broker: fills every order at its reference price and expected cost."""

from __future__ import annotations

from uuid import UUID

import attrs

from rebalancer.domain.rebalancing.lifecycle import Fill, ProposalRecord


@attrs.frozen
class PaperBroker:
    """Simulates execution at the as-of close, without any effect of its own."""

    fills_at_once: bool = attrs.field(default=True, init=False)
    is_simulated: bool = attrs.field(default=True, init=False)

    def submit(self, record: ProposalRecord) -> None:
        """Do nothing: the fills follow from the proposal."""

    def fills(self, record: ProposalRecord) -> list[Fill] | None:
        return [Fill.of(order) for order in record.proposal.orders]

    def pending(self) -> tuple[UUID, ...]:
        return ()  # acceptance books the fills
