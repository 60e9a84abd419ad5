"""Proposals that together give every reason code, and their texts in one golden file.

``python -m tests.reasons`` rewrites ``tests/golden/reasons.txt``; a test compares. Other tests
assert reason codes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import attrs
import numpy as np

from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.portfolio.target_groups import Inside, TargetGroup, TargetTree
from rebalancer.domain.rebalancing.model import Proposal
from rebalancer.domain.rebalancing.proposal import propose
from tests.builders import a_context, a_portfolio, flat_prices

GOLDEN = Path(__file__).parent / "golden" / "reasons.txt"
HEADER = "# Reasons and notes of example proposals; made by `python -m tests.reasons`."

FLAT = flat_prices({"A": 1.0, "B": 2.0, "C": 10.0, "D": 100.0})
"""Too short for an estimate of risk."""


def swinging(days: int = 300) -> PriceHistory:
    """A at 100 and B at 50, which swings between 49 and 50 every day; the last close is 50."""
    swings = np.where(np.arange(days) % 2 == days % 2, 49.0, 50.0)
    dates = np.busday_offset(np.datetime64("2022-12-30"), np.arange(1 - days, 1))
    return PriceHistory.of(("A", "B"), dates, np.column_stack((np.full(days, 100.0), swings)))


def falling() -> PriceHistory:
    """A at 100, and B below its average, so that `trend` holds half of B's target in cash."""
    closes = np.column_stack((np.full(300, 100.0), np.linspace(60.0, 50.0, 300)))
    return PriceHistory.of(("A", "B"), swinging().dates, closes)


def incomplete() -> PriceHistory:
    """A is whole, B has no last close, C has ended, D fell to a hundredth, E by half."""
    closes = np.full((20, 5), 10.0)
    closes[-1:, 1] = closes[5:, 2] = np.nan
    closes[15:, 3] = 0.1
    closes[15:, 4] = 5.0
    dates = np.busday_offset(np.datetime64("2022-12-30"), np.arange(-19, 1))
    return history_of(("A", "B", "C", "D", "E"), dates, closes)


@attrs.frozen
class Scenario:
    """Inputs of one proposal.

    Attributes:
        portfolio: The portfolio.
        rule: Name of the policy.
        bps: Costs in basis points.
        market: The prices.
    """

    portfolio: Portfolio
    rule: str = "monthly"
    bps: float = 0.0
    market: PriceHistory = FLAT

    def propose(self) -> Proposal:
        return propose(self.portfolio, a_context(self.market, self.rule, costs=self.bps))


_TARGETS = {"A": 0.5, "B": 0.3, "C": 0.2}
_HALF = {"A": 0.5, "B": 0.5}
_THIS_MONTH = date(2022, 12, 1)
_IN_FRACTIONS = {"whole_shares": False, "quantity_step": "0.00001"}

SCENARIOS = {
    "calendar policy": Scenario(a_portfolio({"A": 600, "B": 150}, {"A": 0.4, "C": 0.6}), bps=100),
    "policy that is not due": Scenario(
        a_portfolio({"A": 600, "B": 200}, _TARGETS, last_rebalance=_THIS_MONTH)
    ),
    "rebalance later than the closes": Scenario(
        a_portfolio({"A": 600, "B": 200}, _TARGETS, last_rebalance=date(2050, 1, 1))
    ),
    "buy and hold": Scenario(
        a_portfolio({"A": 600, "B": 200}, _TARGETS, last_rebalance=_THIS_MONTH), "buy_and_hold"
    ),
    "deposit": Scenario(
        a_portfolio({"A": 300, "B": 125, "C": 30}, _TARGETS, flow=150, last_rebalance=_THIS_MONTH)
    ),
    "withdrawal from sales": Scenario(
        a_portfolio({"A": 650, "B": 175, "C": 20}, _TARGETS, flow=-200, last_rebalance=_THIS_MONTH)
    ),
    "withdrawal from cash": Scenario(
        a_portfolio(
            {"A": 500, "B": 150, "C": 20},
            _TARGETS,
            cash=100,
            flow=-100,
            last_rebalance=_THIS_MONTH,
        )
    ),
    "one more step for a withdrawal": Scenario(
        a_portfolio({"A": 500, "D": 5}, {"A": 0.5, "D": 0.5}, flow="-0.50", do_not_sell=["A"])
    ),
    "band, bought within": Scenario(a_portfolio({"A": 530, "B": 145, "C": 18}, _TARGETS), "band"),
    "band, sold within": Scenario(a_portfolio({"A": 530, "B": 130, "C": 21}, _TARGETS), "band"),
    "band, all within": Scenario(
        a_portfolio({"A": 515, "B": 145, "C": 19}, _TARGETS, cash=5), "band"
    ),
    "missing and doubtful prices": Scenario(
        a_portfolio(
            {"A": 10, "C": 10},
            {"A": 0.3, "B": 0.2, "C": 0.3, "D": 0.1, "E": 0.1},
            cash=200,
        ),
        market=incomplete(),
    ),
    "locks": Scenario(
        a_portfolio(
            {"A": 600, "B": 50, "C": 30},
            {"A": 0.4, "B": 0.4, "C": 0.2},
            do_not_sell=["A"],
            do_not_buy=["B"],
        )
    ),
    "reserve": Scenario(
        a_portfolio({"A": 600, "B": 200}, _HALF, cash_reserve=500, do_not_sell=["A"])
    ),
    "reserve that stays short": Scenario(
        a_portfolio(
            {"A": 600, "B": 50},
            {"A": 0.3, "B": 0.2, "C": 0.5},
            cash=100,
            cash_reserve=300,
            do_not_sell=["A", "B"],
        )
    ),
    "debit": Scenario(a_portfolio({"A": 600}, {"A": 0.5}, cash=-100)),
    "turnover cap": Scenario(
        a_portfolio({"A": 700, "B": 100, "C": 10}, _TARGETS, max_turnover=0.1)
    ),
    "turnover cap of zero": Scenario(
        a_portfolio({"A": 700, "B": 100, "C": 10}, _TARGETS, max_turnover=0)
    ),
    "maximum weight": Scenario(
        a_portfolio({"A": 700, "B": 100, "C": 10}, _TARGETS, max_weight=0.4)
    ),
    "departure above the maximum": Scenario(
        a_portfolio({"A": 50, "B": 100}, _HALF), "trend", market=falling()
    ),
    "no departure": Scenario(
        a_portfolio({"A": 50, "B": 100}, _HALF, max_departure=0), "trend", market=falling()
    ),
    "departure within the maximum": Scenario(
        a_portfolio({"A": 50, "B": 100}, _HALF, max_departure=0.5), "trend", market=falling()
    ),
    "too few closes": Scenario(a_portfolio({"A": 50, "B": 100}, _HALF, max_departure=0), "trend"),
    "minimum trade": Scenario(
        a_portfolio({"D": 5}, {"A": 0.52, "B": 0.03, "D": 0.45}, cash=20, min_trade=30)
    ),
    "minimum trade in whole steps": Scenario(
        a_portfolio({"A": 9845}, {"A": 0.9845, "D": 0.0155}, cash=155, min_trade=150)
    ),
    "minimum trade above the cash that is left": Scenario(
        a_portfolio({"C": 2, "A": 180}, {"C": 0.4, "A": 0.6}, cash=70, min_trade=80)
    ),
    "minimum trade above what the turnover cap leaves": Scenario(
        a_portfolio(
            {"A": 50}, {"A": 0.05, "B": 0.1, "D": 0.2}, cash=950, max_turnover=0.13, min_trade=40
        )
    ),
    "minimum trade and locks": Scenario(
        a_portfolio(
            {"A": 650, "B": "87.5"},
            {"A": 0.4, "B": 0.3, "D": 0.3},
            flow=175,
            min_trade=80,
            do_not_sell=["A"],
        )
    ),
    "locks that leave no cash": Scenario(a_portfolio({"A": 900}, _TARGETS, do_not_sell=["A"])),
    "less than a step": Scenario(a_portfolio({"A": 1000}, {"A": 0.96, "D": 0.04})),
    "remainder worth less than a cent": Scenario(a_portfolio({"A": "0.004", "B": 100}, {"B": 1.0})),
    "less than a step of a fraction": Scenario(
        a_portfolio({"D": "0.000004"}, {"A": 1.0}, cash=1000, **_IN_FRACTIONS)
    ),
    "fraction closed": Scenario(
        a_portfolio({"D": "0.000012"}, {"A": 1.0}, cash=1000, **_IN_FRACTIONS)
    ),
    "no cash after rounding": Scenario(a_portfolio({}, {"C": 0.34, "D": 0.66}, cash=150)),
    "worth of an order": Scenario(
        a_portfolio({"A": 60, "B": 80}, _HALF), bps=10, market=swinging()
    ),
    "unprofitable order": Scenario(
        a_portfolio({"A": 51, "B": 98}, _HALF, skip_unprofitable=True), bps=10, market=swinging()
    ),
    "profile": Scenario(
        a_portfolio(
            {"A": 50, "B": 100},
            {"A": 0.1, "B": 0.9},
            last_rebalance=date(2022, 12, 30),
            profile="conservative",
        ),
        bps=10,
        market=swinging(),
    ),
    "limit on realised gains": Scenario(
        a_portfolio(
            {"A": 500, "B": 250},
            {"A": 0.3, "B": 0.3, "C": 0.4},
            lots={"A": [(500, 200)], "B": [(250, 450)]},
            max_realised_gain=18,
        )
    ),
    "no realised gain": Scenario(
        a_portfolio({"A": 1000}, _HALF, lots={"A": [(1000, 400)]}, max_realised_gain=0)
    ),
    "withdrawal above the limit on realised gains": Scenario(
        a_portfolio(
            {"A": 1000}, {"A": 1.0}, flow=-200, lots={"A": [(1000, None)]}, max_realised_gain=50
        )
    ),
    "limit on the realised gains of a year": Scenario(
        a_portfolio(
            {"A": 1000},
            _HALF,
            lots={"A": [(1000, 400)]},
            gain_this_year=90,
            max_realised_gain_year=100,
        )
    ),
    "band of a group": Scenario(
        attrs.evolve(
            a_portfolio({"A": 340, "B": 170, "C": 32}),
            target_groups=TargetTree(
                (
                    TargetGroup("Bonds", 0.6, assets={"A": 0.5, "B": 0.5}, band=0.03),
                    TargetGroup("Gold", 0.4, assets={"C": 1.0}),
                )
            ),
        ),
        rule="band",
    ),
    "within the band of a group": Scenario(
        attrs.evolve(
            a_portfolio({"A": 540, "C": 46}),
            target_groups=TargetTree(
                (
                    TargetGroup("Bonds", 0.6, assets={"A": 1.0}),
                    TargetGroup("Gold", 0.4, assets={"C": 1.0}, inside=Inside.CURRENT, band=0.08),
                )
            ),
        ),
        rule="band:band=0.07",
    ),
    "unknown symbol on a list": Scenario(
        a_portfolio({"A": 600}, {"A": 0.5}, do_not_sell=["A", "APPL"])
    ),
}


def lines() -> Iterator[str]:
    """Lines of the golden file."""
    yield HEADER
    for name, scenario in SCENARIOS.items():
        proposal = scenario.propose()
        yield ""
        yield f"{name}:"
        reasons = (*proposal.orders, *proposal.not_traded)
        for reason in sorted(reasons, key=lambda reason: reason.symbol):
            yield f"  {reason.symbol} {reason.reason_code}: {reason.reason}"
        yield from (f"  note: {note}" for note in proposal.notes)


if __name__ == "__main__":
    GOLDEN.write_text("\n".join(lines()) + "\n", encoding="utf-8")
