"""Why an asset is traded, why another is not, and what else a person should know."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from rebalancer.domain.arrays import Bools, Floats
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Frequency, Policy
from rebalancer.domain.portfolio.book import Book, OrderRules
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.limits import RISK_WINDOW, LimitedDecision
from rebalancer.domain.rebalancing.rounding import RoundedTrades, SkipReason
from rebalancer.domain.rebalancing.solver import Trades

_SEEN = 5e-5
"""Weights closer than this look alike when written with one decimal of a percent."""


class Reasons:
    """Sentences on the rows of a solved book."""

    def __init__(
        self,
        *,
        policy: Policy,
        market: PriceHistory,
        book: Book,
        order_rules: OrderRules,
        limited: LimitedDecision,
        wanted: Trades,
        made: RoundedTrades,
        yearly_scale: Floats,
    ) -> None:
        self._policy, self._market, self._book = policy, market, book
        self._decision, self._wanted = limited.decision, wanted
        limits = book.limits
        assert limits is not None
        total = np.where(wanted.total > 0, wanted.total, 1.0)[:, None]
        decision = self._decision
        # What every order asks for: one conversion for the book instead of one for each sentence.
        self._held = (book.values / total).tolist()
        self.aims: list[list[float]] = (wanted.aims / total).tolist()
        self._scale: list[list[float]] = np.where(np.isnan(yearly_scale), -1, yearly_scale).tolist()
        self._buying, self._selling = self._motives(limits.reserve > 0)
        # What some ask for.
        self._total = total[:, 0]
        self._targets = decision.targets
        self._trade = wanted.values
        self._kept = made.kept
        self._unit = order_rules.prices * order_rules.step[:, None]
        self._step = order_rules.step.tolist()
        self._least = order_rules.min_trade.tolist()
        self._reserve = limits.reserve.tolist()
        self._no_sell = limits.no_sell
        self._no_buy = limits.no_buy
        self._due = decision.due.tolist()
        self._acts = wanted.acts.tolist()
        self._band: Floats | None = None
        if decision.band is not None:
            self._band = np.broadcast_to(decision.band, book.present.shape)
        self._restores: list[bool] = np.any(wanted.restored < 0, axis=1).tolist()
        self._allowed = wanted.allowed.tolist()
        self._poor = wanted.short_of_reserve.tolist()
        self._left = limited.left()
        self._departure = limited.departure.tolist()
        self._forced = limited.forced.tolist()
        self._spent = np.maximum(wanted.flow, 0.0).sum(axis=1).tolist()
        self._raised = np.maximum(-wanted.flow, 0.0).sum(axis=1).tolist()

    def for_order(self, row: int, slot: int, after: float, cost: Decimal) -> str:
        """Why this order, what it costs and what that buys."""
        held, aim = self._held[row][slot], self.aims[row][slot]
        why = (self._buying if after > held else self._selling)[row][slot]
        scale, costs = self._scale[row][slot], str(cost)
        if scale < 0:
            return f"{why}: from {held:.1%} to {after:.1%}, aiming at {aim:.1%}. Costs {costs}."
        yearly = scale * ((held - aim) ** 2 - (after - aim) ** 2)
        return (
            f"{why}: from {held:.1%} to {after:.1%}, aiming at {aim:.1%}. "
            f"Costs {costs}{_worth(float(costs), yearly)}."
        )

    def _motives(self, reserved: Bools) -> tuple[list[list[str]], list[list[str]]]:
        """(B, K) why each asset is bought, if it is, and why it is sold; what comes first counts.

        Args:
            reserved: (B,) portfolios with a cash reserve.
        """
        wanted, decision = self._wanted, self._decision
        more = wanted.values > 0
        inside = ~wanted.outside if decision.band is not None else np.zeros_like(more)
        either = [
            (inside & more, "Inside its band, but it takes up money that the other trades free"),
            (inside, "Inside its band, but the other trades need its money"),
            (decision.targets == 0, "Not among the targets"),
            (more, "Underweight"),
        ]
        buying = [
            (wanted.flow > 0, "Among the largest shortfalls, so the deposit goes here first"),
            *either,
        ]
        restored = wanted.restored < 0
        selling = [
            (wanted.flow < 0, "Among the largest excesses, so the withdrawal comes from here"),
            (restored & reserved[:, None], "Sold to restore the cash reserve"),
            (restored, "Sold to cover the debit"),
            (wanted.trimmed < 0, "Above a limit on its weight or its class"),
            (
                wanted.values >= 0,
                "Sold because a whole share more is needed to pay for what must be paid",
            ),
            *either,
        ]
        return _first(buying, "Overweight"), _first(selling, "Overweight")

    def against(self, row: int, slot: int) -> str:
        """Why this asset is not traded."""
        held, aim = self._held[row][slot], self.aims[row][slot]
        trade: float = self._trade.item(row, slot)
        target: float = self._targets.item(row, slot)
        kept = self._kept.item(row, slot)
        verb = "buying" if trade > 0 else "selling"
        reach = held + trade / self._total.item(row)
        if trade and kept == SkipReason.STEP:
            count = abs(trade) / self._unit.item(row, slot)
            return (
                f"{verb} {_plain(count * self._step[row])} would reach {reach:.1%} from "
                f"{held:.1%}, but orders are multiples of {_plain(self._step[row])}"
            )
        if trade and kept == SkipReason.MIN_TRADE:
            whole = "in whole steps " if abs(trade) >= self._least[row] else ""
            return (
                f"{verb} {abs(trade):.2f} would reach {reach:.1%} from {held:.1%}, but {whole}the "
                f"minimum trade is {self._least[row]:.2f}"
            )
        if trade and kept == SkipReason.UNPROFITABLE:
            cost = self._wanted.costs[row, slot]
            yearly = self._scale[row][slot] * ((held - aim) ** 2 - (reach - aim) ** 2)
            return f"{verb} {abs(trade):.2f} would cost {cost:.2f}{_worth(cost, yearly)}"
        if trade:
            return (
                f"{held:.1%}, aiming at {aim:.1%}, but once orders are whole no cash is left for it"
            )
        if self._no_sell[row, slot] and held > target + _SEEN:
            return f"{held:.1%}, above its target of {target:.1%}, but on the do-not-sell list"
        if self._no_buy[row, slot] and held < target - _SEEN:
            return f"{held:.1%}, below its target of {target:.1%}, but on the do-not-buy list"
        if abs(held - aim) <= _SEEN:
            if abs(aim - target) > _SEEN:
                return f"at {aim:.1%}, which is what limits and cash leave of its {target:.1%}"
            return f"at its target of {target:.1%}"
        if self._poor[row] > 0 and held < aim:
            return (
                f"{held:.1%}, aiming at {aim:.1%}: nothing is bought until the reserve is restored"
            )
        if not self._due[row]:
            return f"{held:.1%}, aiming at {aim:.1%}; {self._waiting(row)}"
        if self._band is not None:
            width = self._band.item(row, slot)
            if not self._wanted.outside[row, slot]:
                return f"inside its band: {held:.1%} against {aim:.1%} give or take {width:.1%}"
        if self._acts[row] and self._allowed[row] < 1:
            return f"{held:.1%}, aiming at {aim:.1%}; the turnover cap leaves no room for it"
        return f"{held:.1%}, aiming at {aim:.1%}; left as it is by {self._policy.name}"

    def _waiting(self, row: int) -> str:
        last = self._book.reviewed[row]
        frequency = self._policy.frequency
        if frequency is Frequency.ONCE:
            return f"{self._policy.name} leaves holdings alone"
        if last > self._book.as_of[row]:
            return f"{self._policy.name} is not due: the last rebalance, {last}, is later than this"
        return (
            f"{self._policy.name} is not due: the last rebalance, {last}, lies in the same "
            f"{_PERIODS[frequency]}"
        )

    def notes(self, row: int, portfolio: Portfolio) -> list[str]:
        """What else a person should know of a portfolio's proposal."""
        notes = list(self._policy.remarks(self._decision, self._book, self._market, row))
        for name in ("do_not_sell", "do_not_buy"):
            listed = getattr(portfolio.preferences, name)
            if listed and (unknown := sorted(listed - self._market.columns.keys())):
                notes.append(f"{name} names what the prices do not know: {', '.join(unknown)}")
        most = portfolio.preferences.max_departure
        if (departure := self._departure[row]) > most + _SEEN:
            allowed = f"lets it go {most:.1%}" if most else "is 0, so the given targets hold"
            notes.append(
                f"the policy would move {departure:.1%} of the portfolio away from the given "
                f"targets; preferences.max_departure {allowed}"
            )
        for name, left in self._left[row].items():
            profile = portfolio.risk_profile
            by = f"profile {profile.name}" if profile else "preferences"
            notes.append(f"limit '{name}' ({by}) left {left:.1%} of the targets; the rest is cash")
        if self._forced[row]:
            notes.append(
                "left alone it would be riskier than the profile bears, by the last "
                f"{min(RISK_WINDOW, len(self._market) - 1)} days, so it goes to its targets now, "
                "whatever the policy's schedule"
            )
        if portfolio.cash_flow > 0:
            spent = self._spent[row]
            notes.append(f"of the deposit of {portfolio.cash_flow}, {spent:.2f} is invested")
        elif portfolio.cash_flow < 0:
            raised = self._raised[row]
            takes = f"takes sales of {raised:.2f}, which the turnover cap does not count"
            if not raised:
                takes = "is paid from cash"
            notes.append(f"the withdrawal of {-portfolio.cash_flow} {takes}")
        if self._restores[row]:
            notes.append(
                "cash was below the reserve, which is restored before anything is bought"
                if self._reserve[row]
                else "cash was a debit, which is covered before anything is bought"
            )
        if self._poor[row] > 0:
            notes.append(
                f"the cash reserve stays short by {self._poor[row]:.2f}: what may be sold does not "
                "cover it, so nothing is bought"
            )
        if self._allowed[row] < 1 - 1e-9:
            notes.append(
                f"the turnover cap lets {self._allowed[row]:.0%} of the wanted trades through"
            )
        return notes


_PERIODS = {
    Frequency.DAILY: "day",
    Frequency.WEEKLY: "week",
    Frequency.MONTHLY: "month",
    Frequency.QUARTERLY: "quarter",
    Frequency.YEARLY: "year",
}


def _first(cases: list[tuple[Bools, str]], otherwise: str) -> list[list[str]]:
    """(B, K) sentences, each of the first case that holds."""
    number = np.select([case for case, _ in cases], list(range(len(cases))), len(cases))
    sentences = np.array([*(sentence for _, sentence in cases), otherwise], dtype=object)
    found: list[list[str]] = sentences[number].tolist()
    return found


def _plain(number: float) -> str:
    """Four significant digits without an exponent."""
    return np.format_float_positional(number, precision=4, fractional=False, trim="-")


def _worth(cost: float, yearly: float) -> str:
    """What a cost buys, and after how long it has paid."""
    if yearly <= 0:
        return " and removes no drift risk of its own"
    if cost <= 0:
        return f" and removes drift risk worth {yearly:.2f} a year"
    years = cost / yearly
    verdict = "" if years <= 1 else ": not worth its cost within a year"
    after = f"{years:.1f} years" if years >= 0.95 else f"{max(years * 12, 0.1):.1f} months"
    return (
        f" and removes drift risk worth {yearly:.2f} a year, breaking even after {after}{verdict}"
    )
