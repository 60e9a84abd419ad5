"""A proposal as JSON and as a worksheet."""

from __future__ import annotations

import csv
import io
from datetime import date
from typing import TYPE_CHECKING, Any

from rebalancer.entrypoints.schemas.wire import format_decimal

if TYPE_CHECKING:
    from rebalancer.application.rebalance import ProposalStatus
    from rebalancer.domain.rebalancing.model import Proposal

DISCLAIMER = (
    "Computed from rules, prices and what you told us; not personal advice. You decide, and you "
    "bear the outcome."
)


def proposal_record(line: int | None, proposal: Proposal) -> dict[str, Any]:
    """A proposal as JSON values; ``line`` is left out when None."""
    record = {} if line is None else {"line": line}
    return record | {
        "portfolio_id": proposal.portfolio_id,
        "status": proposal.status.value,
        "as_of": proposal.as_of.isoformat(),
        "policy": proposal.policy,
        "orders": [
            {
                "symbol": order.symbol,
                "side": order.side.value,
                "quantity": format_decimal(order.quantity),
                "price": format_decimal(order.price),
                "value": format_decimal(order.value),
                "cost": format_decimal(order.cost),
                "reason": order.reason,
            }
            for order in proposal.orders
        ],
        "not_traded": [
            {"symbol": other.symbol, "reason": other.reason} for other in proposal.not_traded
        ],
        "weights_before": proposal.weights_before,
        "weights_after": proposal.weights_after,
        "cash_after": format_decimal(proposal.cash_after),
        "turnover": proposal.turnover,
        "cost": format_decimal(proposal.cost),
        "notes": list(proposal.notes),
        "input_hash": proposal.input_hash,
        "error": None,
    }


def worksheet_text(current: ProposalStatus) -> str:
    """The orders as CSV; what a reader must know stands in lines that begin with #."""
    record = current.record
    made = record.proposal
    text = io.StringIO()
    currency = record.inputs.portfolio.currency
    text.write(f"# Worksheet of proposal {record.id} for portfolio {record.portfolio_id}\r\n")
    text.write(f"# {made.policy}, closes of {made.as_of}, {record.inputs.costs}\r\n")
    text.write(f"# Stands: {current.stage}" + (f"; {current.stale}" if current.stale else ""))
    if planned := record.inputs.planned:
        what = "deposit" if planned > 0 else "withdrawal"
        amount = format_decimal(abs(planned))
        text.write(f"\r\n# Includes a {what} of {amount} {currency}; record it as well")
    text.write(f"\r\n# {DISCLAIMER}\r\n")
    rows = csv.writer(text)
    rows.writerow(
        ["side", "symbol", "quantity", "reference_price", "value", "cost", "currency", "reason"]
    )
    for order in made.orders:
        rows.writerow(
            [
                order.side.value,
                order.symbol,
                format_decimal(order.quantity),
                format_decimal(order.price),
                format_decimal(order.value),
                format_decimal(order.cost),
                currency.code,
                order.reason,
            ]
        )
    return text.getvalue()


def failure_record(
    line: int, portfolio_id: str | None, *, as_of: date, policy: str, error: str, input_hash: str
) -> dict[str, Any]:
    """A failure in the shape of a proposal."""
    return {
        "line": line,
        "portfolio_id": portfolio_id,
        "status": "failed",
        "as_of": as_of.isoformat(),
        "policy": policy,
        "orders": [],
        "not_traded": [],
        "weights_before": {},
        "weights_after": {},
        "cash_after": None,
        "turnover": None,
        "cost": None,
        "notes": [],
        "input_hash": input_hash,
        "error": error,
    }
