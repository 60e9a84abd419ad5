"""Proposals stored before reasons had codes, and before classes were renamed, load and replay."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import attrs
import pytest

from rebalancer.adapters.sql.rows import PROPOSALS
from rebalancer.domain.rebalancing.lifecycle import ProposalRecord
from rebalancer.domain.rebalancing.model import Algorithm, Order, Proposal
from rebalancer.domain.rebalancing.proposal import propose
from tests.builders import a_context, varied_prices

STORED = json.loads((Path(__file__).parents[1] / "golden" / "stored_proposals.json").read_text())
"""Documents as the code of November 2026 wrote them, over `varied_prices` at 10 basis points."""

NOW = datetime(2023, 1, 2, tzinfo=UTC)
MARKET = varied_prices()


def load(stored: dict[str, Any]) -> ProposalRecord:
    """Read the documents as they are read from the table `proposals`."""
    row: Any = SimpleNamespace(
        id=UUID(int=1),
        owner=UUID(int=2),
        portfolio=UUID(stored["proposal"]["portfolio_id"]),
        proposal=json.dumps(stored["proposal"]),
        seen=json.dumps(stored["seen"]),
        proposed=NOW,
        expires=NOW,
        stage="proposed",
        decided=None,
        executed=None,
        remark="",
        run=None,
        cancelled=None,
        actor=None,
        origin=None,
    )
    return PROPOSALS.from_row(row)


def without_reasons(proposal: Proposal) -> tuple[list[Order], list[str]]:
    """Orders without their reasons, and the symbols that are not traded."""
    orders = [attrs.evolve(one, reason="", reason_code=None) for one in proposal.orders]
    return orders, [other.symbol for other in proposal.not_traded]


@pytest.mark.parametrize("stored", STORED, ids=lambda stored: stored["policy"])
def test_stored_proposal_replays_to_the_same_orders(stored: dict[str, Any]) -> None:
    record = load(stored)
    assert all(order.reason and order.reason_code is None for order in record.proposal.orders)
    assert record.inputs.market == MARKET.digest
    context = a_context(MARKET, stored["policy"]).replaying(
        record.inputs.portfolio, record.proposal.input_hash
    )
    assert context is not None
    assert context.algorithm is Algorithm.SECOND
    again = propose(record.inputs.portfolio, context)
    assert again.input_hash == record.proposal.input_hash
    assert without_reasons(again) == without_reasons(record.proposal)
    assert again.cash_after == record.proposal.cash_after
    assert again.weights_after == pytest.approx(record.proposal.weights_after, abs=1e-9)
