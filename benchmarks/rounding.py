"""Round 2,000 small accounts, and large ones of 500 targets, and compare with other purchases.

The distance of a purchase is one-way with cash as an asset. Small accounts are compared with the
least distance of all affordable purchases, which branch and bound finds, and all accounts with
greedy fills.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
import numpy as np

from benchmarks.figures import Figure, best_of
from rebalancer.domain.arrays import Floats
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.policy.policy import Decision
from rebalancer.domain.portfolio.book import Book, Limits, OrderRules
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.rebalancing.rounding.orders import round_trades
from rebalancer.domain.rebalancing.solver import solve_trades

ACCOUNTS, LARGE, TARGETS = 2_000, 60, 500
RATE = 10e-4
CLOSE = 1e-9


def figures() -> Iterator[Figure]:
    dice = np.random.default_rng(2026)
    small = [_small(dice) for _ in range(ACCOUNTS)]
    seconds, bought = best_of(lambda: [one.buy() for one in small], least=1)
    taken, best = best_of(
        lambda: [one.least_distance(own) for one, own in zip(small, bought, strict=True)], least=1
    )
    ours = np.array([one.distance(own) for one, own in zip(small, bought, strict=True)])
    near = np.mean(ours <= 1.01 * np.array(best) + CLOSE)
    greedy = [one.greedy_burden() for one in small]
    worse = _count_worse(small, bought, greedy)
    yield Figure(
        subject="rounding",
        what=f"{ACCOUNTS:,} accounts of 300 to 5,000, up to 6 assets at 10 to 1,000",
        unit="/s",
        ours=ACCOUNTS / seconds,
        peer_name="branch and bound",
        peer=ACCOUNTS / taken,
        agrees=bool(near >= 0.99 and worse == 0),
        how_close=f"{near:.1%} within 1% of the least distance, at most "
        f"{(ours - best).max():.4f} above it; {worse} worse than a greedy fill, costs included",
        note="One account at a time. Branch and bound begins with our purchase.",
    )
    large = [_large(dice) for _ in range(LARGE)]
    seconds, bought = best_of(lambda: [one.buy() for one in large], least=1)
    ours = np.array([one.distance(own) for one, own in zip(large, bought, strict=True)])
    taken, greedy = best_of(lambda: [one.greedy_burden() for one in large], least=1)
    worse = _count_worse(large, bought, greedy)
    yield Figure(
        subject="rounding",
        what=f"{LARGE} accounts of 10,000 to 1,000,000, {TARGETS} assets at 10 to 1,000",
        unit="/s",
        ours=LARGE / seconds,
        peer_name="the better of two greedy fills",
        peer=LARGE / taken,
        agrees=worse == 0,
        how_close=f"{worse} worse than greedy, costs included; mean distance {ours.mean():.3f}",
    )


def _count_worse(accounts: list[_Account], bought: list[Floats], greedy: list[float]) -> int:
    """Count accounts with a larger distance and costs than greedy fills leave."""
    return sum(
        one.burden(own) > other + CLOSE
        for one, own, other in zip(accounts, bought, greedy, strict=True)
    )


@attrs.frozen(eq=False)
class _Account:
    """An account in cash.

    Attributes:
        prices: (K,) of one share each.
        targets: (K,) weights.
        cash: Money.
    """

    prices: Floats
    targets: Floats
    cash: float

    @property
    def wanted(self) -> Floats:
        """(K,) money that targets ask for; costs are paid from it."""
        return self.targets * self.cash / (1 + RATE)

    def buy(self) -> Floats:
        """(K,) shares that rebalancer buys."""
        count = len(self.prices)
        slots = -(-count // 8) * 8
        present = np.arange(slots) < count

        def row(array: Floats, fill: float) -> Floats:
            return np.pad(array, (0, slots - count), constant_values=fill)[None, :]

        nothing = np.zeros((1, slots))
        book = Book(
            assets=np.zeros((1, slots), dtype=np.intp),
            present=present[None, :],
            values=nothing,
            cash=np.array([self.cash]),
            flow=np.zeros(1),
            targets=row(self.targets, 0.0),
            as_of=np.array(["2026-01-02"], dtype="datetime64[D]"),
            reviewed=np.array(["NaT"], dtype="datetime64[D]"),
            band=np.array([np.nan]),
        )
        book = attrs.evolve(book, limits=Limits.none(book))
        charges = CostModel.flat(RATE * 1e4).of(["A"], Instruments())
        wanted = solve_trades(book, Decision(book.targets, np.ones(1, dtype=bool)), charges)
        rules = OrderRules(
            quantities=nothing,
            prices=row(self.prices, 1.0),
            step=np.ones((1, slots)),
            sellable=nothing,
            min_trade=np.zeros(1),
            minor_unit=np.full(1, 0.01),
            skip_unprofitable=np.zeros(1, dtype=bool),
            risk_aversion=np.full(1, 3.0),
        )
        return round_trades(book, wanted, rules, charges).steps[0, :count]

    def distance(self, shares: Floats) -> float:
        """One-way distance of a purchase."""
        error = (shares * self.prices - self.wanted) / self.cash
        return float(np.abs(error).sum() + abs(error.sum())) / 2

    def burden(self, shares: Floats) -> float:
        """Distance and costs of a purchase."""
        return self.distance(shares) + float(shares @ self.prices) * RATE / self.cash

    def greedy_burden(self) -> float:
        """Least burden of two greedy fills: largest shortfall in money, or in shares."""
        keys: tuple[Callable[[Floats], Floats], ...] = (
            lambda short: short,
            lambda short: short / self.prices,
        )
        return min(self.burden(self._fill(key)) for key in keys)

    def _fill(self, key: Callable[[Floats], Floats]) -> Floats:
        """(K,) shares bought one after another, where the key is largest, as long as cash lasts."""
        shares, left, dearer = np.zeros(len(self.prices)), self.cash, self.prices * (1 + RATE)
        while True:
            short = self.wanted - shares * self.prices
            possible = (dearer <= left) & (short > 0)
            if not possible.any():
                return shares
            best = int(np.where(possible, key(short), -np.inf).argmax())
            shares[best] += 1
            left -= dearer[best]

    def least_distance(self, known: Floats) -> float:
        """Least distance of all affordable purchases, given the shares of one."""
        order = np.argsort(-self.prices)
        prices, wanted = self.prices[order], self.wanted[order]
        limit = self.distance(known) + CLOSE
        states = np.zeros((1, 0))
        for at, price in enumerate(prices):
            # An error larger than the known distance cannot be part of a better purchase.
            least = max(np.ceil((wanted[at] - limit * self.cash) / price - CLOSE), 0.0)
            most = np.floor((wanted[at] + limit * self.cash) / price + CLOSE)
            sizes = np.arange(least, most + 1)
            states = np.column_stack(
                (np.repeat(states, len(sizes), axis=0), np.tile(sizes, len(states)))
            )
            values = states * prices[: at + 1]
            states = states[values.sum(axis=1) * (1 + RATE) <= self.cash]
            errors = (states * prices[: at + 1] - wanted[: at + 1]) / self.cash
            over = np.maximum(errors, 0.0).sum(axis=1)
            states = states[np.maximum(over, over - errors.sum(axis=1)) <= limit]
        errors = (states * prices - wanted) / self.cash
        found = (np.abs(errors).sum(axis=1) + np.abs(errors.sum(axis=1))) / 2
        return float(found.min())


def _small(dice: np.random.Generator) -> _Account:
    count = int(dice.integers(1, 7))
    even = dice.random() < 0.5
    prices = dice.uniform(10, 1000, count) if even else 10 ** dice.uniform(1, 3, count)
    targets = dice.dirichlet(np.full(count, 2.0))
    return _Account(np.round(prices, 2), targets, round(dice.uniform(300, 5000), 2))


def _large(dice: np.random.Generator) -> _Account:
    targets = dice.dirichlet(np.full(TARGETS, dice.choice([1.0, 5.0, 50.0])))
    prices = np.round(10 ** dice.uniform(1, 3, TARGETS), 2)
    return _Account(prices, targets, round(10 ** dice.uniform(4, 6), 2))
