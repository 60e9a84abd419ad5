"""Round the trades of a whole book of arrays to whole steps.

Sales and buys begin at sizes that satisfy every constraint (`problem`), and a search improves their
score (`search`), so the result is never worse than truncation.
"""

from __future__ import annotations

from enum import IntEnum

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Bools, Floats
from rebalancer.domain.portfolio.book import Book, OrderRules
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.rebalancing.model import ALGORITHM, Algorithm
from rebalancer.domain.rebalancing.rounding import algorithm_2, search
from rebalancer.domain.rebalancing.rounding.deposits import place_deposits
from rebalancer.domain.rebalancing.rounding.problem import pose
from rebalancer.domain.rebalancing.solver import Trades


class SkipReason(IntEnum):
    """Why a wanted trade became no order."""

    NONE = 0
    STEP = 1
    MIN_TRADE = 2
    UNPROFITABLE = 3
    NO_CASH = 4


@attrs.frozen(eq=False)
class RoundedTrades:
    """Orders of B portfolios as whole numbers of steps.

    Attributes:
        steps: (B, K) number of steps bought (+) or sold (-); whole, except a forced sale that
            closes a fractional holding.
        values: (B, K) money bought (+) or sold (-).
        costs: (B, K) money.
        skipped: (B, K) `SkipReason` of each wanted trade that became no order.
    """

    steps: Floats
    values: Floats
    costs: Floats
    skipped: NDArray[np.int8]


def round_trades(
    book: Book,
    wanted: Trades,
    order_rules: OrderRules,
    charges: CostSchedule,
    *,
    required: Bools | None = None,
    unprofitable: Bools | None = None,
    targets: Floats | None = None,
    algorithm: Algorithm = ALGORITHM,
    pinned: Floats | None = None,
    strict: Bools | None = None,
) -> RoundedTrades:
    """Round a book's trades to whole steps.

    Args:
        book: Portfolios before trading.
        wanted: Trades of the first stage.
        order_rules: Steps, minimum trades and the like.
        charges: Costs by slot, or the same for all.
        required: (B, K) sales that a constraint above the minimum trade demands; by default those
            for withdrawals, the reserve and limits. Where a portfolio has a profile, rounding may
            raise its risk unless some of its sales are required, or all by default.
        unprofitable: (B, K) trades whose cost exceeds their benefit, dropped where a portfolio's
            rules ask for it.
        targets: (B, K) weights that the policy aims at, before locks lower the aims.
        algorithm: Version of the search.
        pinned: (B, K) steps of sales whose sizes are given; NaN for other orders.
        strict: (B,) further portfolios whose sales are not rounded down, nor buys up.
    """
    skipped = np.zeros(wanted.values.shape, dtype=np.int8)
    dropped = np.zeros(wanted.values.shape, dtype=bool)
    if unprofitable is not None:
        dropped = unprofitable & order_rules.skip_unprofitable[:, None]
    earlier = algorithm is Algorithm.SECOND
    careful = book.limits.profiled & (required is None or earlier or required.any(axis=1))
    problem = pose(
        book,
        wanted,
        order_rules,
        charges,
        required=required,
        dropped=dropped,
        closing=not earlier,
        strict=careful if strict is None else careful | strict,
        pinned=pinned,
    )
    skipped[problem.dropped] = SkipReason.UNPROFITABLE
    side, sizes = problem.sales()
    sizes = sizes + problem.buys(side, sizes)
    improve = algorithm_2.improve if earlier else search.improve
    sizes = improve(problem, side, sizes)
    bounds = problem.bounds
    if not earlier:
        side, sizes = place_deposits(problem, wanted, side, sizes, targets)
    unmade = (sizes == 0) & (problem.trade != 0)
    skipped[unmade] = SkipReason.NO_CASH
    skipped[unmade & (bounds.low == 0)] = SkipReason.STEP
    too_small = (bounds.low < bounds.least) & (bounds.least > 1)
    skipped[unmade & too_small] = SkipReason.MIN_TRADE
    steps = side * sizes
    values = steps * problem.unit
    return RoundedTrades(steps, values, charges(np.abs(values)), skipped)
