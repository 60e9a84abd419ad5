"""Explain why an asset is traded, why another is not, and what else matters.

A reason is a stable `ReasonCode` and a sentence made from it and its figures. The texts of orders
and non-orders are in the two tables below.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, positive_or_one
from rebalancer.domain.policy.policy import Frequency
from rebalancer.domain.portfolio.book import Book, OrderRules
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.limits import RISK_WINDOW, LimitedDecision, PortfolioRisk
from rebalancer.domain.rebalancing.model import PreparedPortfolio, ReasonCode, RebalanceContext
from rebalancer.domain.rebalancing.rounding import RoundedTrades, SkipReason
from rebalancer.domain.rebalancing.solver import Trades

_VISIBLE = 5e-5
"""Weights closer than this are equal when written with one decimal of a percent."""

ORDER_TEXTS = {
    ReasonCode.DEPOSIT: "Bought with the deposit, which goes to the largest shortfalls first",
    ReasonCode.WITHDRAWAL: "Sold for the withdrawal, which comes from the largest excesses first",
    ReasonCode.RESERVE: "Sold to restore the cash reserve",
    ReasonCode.DEBIT: "Sold to cover the debit",
    ReasonCode.LIMIT: "Above a limit on its weight or its asset class",
    ReasonCode.CASH_REQUIRED: "One more step is sold to cover required cash",
    ReasonCode.BOUGHT_WITHIN_BAND: "Within its band; bought with the proceeds of other sales",
    ReasonCode.SOLD_WITHIN_BAND: "Within its band; sold to fund the other trades",
    ReasonCode.NOT_TARGETED: "Not among the targets",
    ReasonCode.UNDERWEIGHT: "Underweight",
    ReasonCode.OVERWEIGHT: "Overweight",
}
"""First part of an order's reason; its weights and costs follow."""

NO_ORDER_TEXTS = {
    ReasonCode.BELOW_STEP: "{verb} {count} would take its weight from {held:.1%} to {reach:.1%}, "
    "but orders are multiples of {step}.",
    ReasonCode.BELOW_MINIMUM_TRADE: "{verb} {amount:.2f} would take its weight from {held:.1%} to "
    "{reach:.1%}, but the minimum trade is {min_trade:.2f}.",
    ReasonCode.STEP_BELOW_MINIMUM_TRADE: "{verb} {amount:.2f} would take its weight from "
    "{held:.1%} to {reach:.1%}, but in whole steps the order is below the minimum trade of "
    "{min_trade:.2f}.",
    ReasonCode.UNPROFITABLE: "{verb} {amount:.2f} would cost {cost:.2f} and {benefit}.",
    ReasonCode.NO_CASH: "At {held:.1%}, aiming at {aim:.1%}; no cash is left after rounding "
    "orders to whole steps.",
    ReasonCode.DO_NOT_SELL: "At {held:.1%}, above its target of {target:.1%}, but on the "
    "do-not-sell list.",
    ReasonCode.DO_NOT_BUY: "At {held:.1%}, below its target of {target:.1%}, but on the "
    "do-not-buy list.",
    ReasonCode.AT_TARGET: "At its target of {target:.1%}.",
    ReasonCode.AT_LIMITED_TARGET: "At {aim:.1%}, which is as much of its target of {target:.1%} as "
    "limits and cash allow.",
    ReasonCode.RESERVE_SHORT: "At {held:.1%}, aiming at {aim:.1%}; nothing is bought until the "
    "cash reserve is restored.",
    ReasonCode.NEVER_DUE: "At {held:.1%}, aiming at {aim:.1%}; {policy} leaves holdings unchanged.",
    ReasonCode.REBALANCED_LATER: "At {held:.1%}, aiming at {aim:.1%}; {policy} is not due: the "
    "last rebalance, {last}, is later than these prices.",
    ReasonCode.NOT_DUE: "At {held:.1%}, aiming at {aim:.1%}; {policy} is not due: the last "
    "rebalance, {last}, was in the same {period}.",
    ReasonCode.WITHIN_BAND: "Within its band: at {held:.1%}, at most {width:.1%} from {aim:.1%}.",
    ReasonCode.TURNOVER_CAP: "At {held:.1%}, aiming at {aim:.1%}; the turnover cap leaves no room "
    "for it.",
    ReasonCode.LEFT_UNCHANGED: "At {held:.1%}, aiming at {aim:.1%}; {policy} leaves it unchanged.",
}
"""Why an asset is not traded."""

_PERIODS = {
    Frequency.DAILY: "day",
    Frequency.WEEKLY: "week",
    Frequency.MONTHLY: "month",
    Frequency.QUARTERLY: "quarter",
    Frequency.YEARLY: "year",
}

_CODES_OF_SKIPPED = {
    SkipReason.STEP: ReasonCode.BELOW_STEP,
    SkipReason.MIN_TRADE: ReasonCode.BELOW_MINIMUM_TRADE,
    SkipReason.UNPROFITABLE: ReasonCode.UNPROFITABLE,
}


@attrs.frozen(eq=False)
class SolvedBook:
    """A book after both stages of rebalancing.

    Attributes:
        context: Inputs that the portfolios have in common.
        prepared: The portfolios.
        book: The same as arrays, before trading.
        order_rules: How their orders are made.
        charges: Costs by slot, or the same for all.
        limited: The policy's decision within limits.
        wanted: Trades of the first stage.
        rounded: Orders of the second stage.
        drift_cost: (B, K) money a year that a squared drift of 1 costs; NaN where unknown.
        risk: Estimates of the portfolios' risk.
    """

    context: RebalanceContext
    prepared: Sequence[PreparedPortfolio]
    book: Book
    order_rules: OrderRules
    charges: CostSchedule
    limited: LimitedDecision
    wanted: Trades
    rounded: RoundedTrades
    drift_cost: Floats
    risk: PortfolioRisk


@attrs.frozen(eq=False)
class Explanations:
    """Reasons and notes on the rows of a solved book.

    What every order needs is converted once for the book; the rest is looked up when asked for.

    Attributes:
        solved: The book.
        held: (B, K) weights before trading.
        aims: (B, K) weights to aim at.
        totals: (B,) V, or 1 for an empty portfolio.
        drift_cost: (B, K) as in `SolvedBook`, but -1 where it is unknown.
        buying: (B, K) code of each asset if it is bought.
        selling: (B, K) code of each asset if it is sold.
        band: (B, K) half-width around each target; None without a band.
        reductions: (B,) share of the targets that each limit left, by name.
    """

    solved: SolvedBook
    held: list[list[float]]
    aims: list[list[float]]
    totals: list[float]
    drift_cost: list[list[float]]
    buying: list[list[ReasonCode]]
    selling: list[list[ReasonCode]]
    band: Floats | None
    reductions: list[dict[str, float]]

    @classmethod
    def of(cls, solved: SolvedBook) -> Explanations:
        """Prepare the explanations of a book."""
        total = positive_or_one(solved.wanted.total)[:, None]
        drift_cost, band = solved.drift_cost, solved.limited.decision.band
        buying, selling = _order_codes(solved)
        return cls(
            solved=solved,
            held=(solved.book.values / total).tolist(),
            aims=(solved.wanted.aims / total).tolist(),
            totals=total[:, 0].tolist(),
            drift_cost=np.where(np.isnan(drift_cost), -1, drift_cost).tolist(),
            band=None if band is None else np.broadcast_to(band, solved.book.present.shape),
            buying=buying,
            selling=selling,
            reductions=solved.limited.reductions(),
        )

    def explain_order(
        self, row: int, slot: int, after: float, cost: Decimal
    ) -> tuple[ReasonCode, str]:
        """Explain why an order is made, what it costs, and how much drift it removes.

        Args:
            row: The portfolio.
            slot: The asset.
            after: Its weight after the order.
            cost: Cost of the order, money.
        """
        held, aim = self.held[row][slot], self.aims[row][slot]
        code = (self.buying if after > held else self.selling)[row][slot]
        weights = f"{ORDER_TEXTS[code]}: from {held:.1%} to {after:.1%}, aiming at {aim:.1%}."
        drift_cost = self.drift_cost[row][slot]
        if drift_cost < 0:
            return code, f"{weights} Costs {cost}."
        yearly = drift_cost * ((held - aim) ** 2 - (after - aim) ** 2)
        return code, f"{weights} Costs {cost} and {_benefit('removes', float(cost), yearly)}."

    def explain_no_order(self, row: int, slot: int) -> tuple[ReasonCode, str]:
        """Explain why an asset is not traded."""
        code, figures = self._no_order(row, slot)
        held, aim = self.held[row][slot], self.aims[row][slot]
        return code, NO_ORDER_TEXTS[code].format(held=held, aim=aim, **figures)

    def _no_order(self, row: int, slot: int) -> tuple[ReasonCode, dict[str, object]]:
        """Find the reason why an asset is not traded, and the figures of its text."""
        solved = self.solved
        limits, wanted, decision = solved.book.limits, solved.wanted, solved.limited.decision
        held, aim = self.held[row][slot], self.aims[row][slot]
        target: float = decision.targets.item(row, slot)
        if trade := wanted.values.item(row, slot):
            return self._skipped(row, slot, trade)
        if limits.no_sell.item(row, slot) and held > target + _VISIBLE:
            return ReasonCode.DO_NOT_SELL, {"target": target}
        if limits.no_buy.item(row, slot) and held < target - _VISIBLE:
            return ReasonCode.DO_NOT_BUY, {"target": target}
        if abs(held - aim) <= _VISIBLE:
            limited = abs(aim - target) > _VISIBLE
            code = ReasonCode.AT_LIMITED_TARGET if limited else ReasonCode.AT_TARGET
            return code, {"target": target}
        if wanted.short_of_reserve.item(row) > 0 and held < aim:
            return ReasonCode.RESERVE_SHORT, {}
        if not decision.due.item(row):
            return self._not_due(row)
        if self.band is not None and not wanted.outside.item(row, slot):
            return ReasonCode.WITHIN_BAND, {"width": self.band.item(row, slot)}
        if wanted.acts.item(row) and wanted.allowed.item(row) < 1:
            return ReasonCode.TURNOVER_CAP, {}
        return ReasonCode.LEFT_UNCHANGED, {"policy": solved.context.policy.name}

    def _skipped(self, row: int, slot: int, trade: float) -> tuple[ReasonCode, dict[str, object]]:
        """Find the reason why a wanted trade became no order, and the figures of its text."""
        solved = self.solved
        rules, amount = solved.order_rules, abs(trade)
        skip = SkipReason(solved.rounded.skipped.item(row, slot))
        code = _CODES_OF_SKIPPED.get(skip, ReasonCode.NO_CASH)
        held, aim = self.held[row][slot], self.aims[row][slot]
        reach = held + trade / self.totals[row]
        figures: dict[str, object] = {
            "verb": "Buying" if trade > 0 else "Selling",
            "amount": amount,
            "reach": reach,
        }
        if code is ReasonCode.BELOW_STEP:
            step = rules.step.item(row)
            unit = rules.prices.item(row, slot) * step
            figures |= {"step": _plain(step), "count": _plain(amount / unit * step)}
        elif code is ReasonCode.BELOW_MINIMUM_TRADE:
            least = rules.min_trade.item(row)
            figures["min_trade"] = least
            if amount >= least:
                code = ReasonCode.STEP_BELOW_MINIMUM_TRADE
        elif code is ReasonCode.UNPROFITABLE:
            cost = solved.wanted.costs.item(row, slot)
            yearly = self.drift_cost[row][slot] * ((held - aim) ** 2 - (reach - aim) ** 2)
            figures |= {"cost": cost, "benefit": _benefit("remove", cost, yearly)}
        return code, figures

    def _not_due(self, row: int) -> tuple[ReasonCode, dict[str, object]]:
        book, policy = self.solved.book, self.solved.context.policy
        last, frequency = book.reviewed[row], policy.frequency
        figures: dict[str, object] = {"policy": policy.name, "last": last}
        if frequency is Frequency.ONCE:
            return ReasonCode.NEVER_DUE, figures
        if last > book.as_of[row]:
            return ReasonCode.REBALANCED_LATER, figures
        return ReasonCode.NOT_DUE, figures | {"period": _PERIODS[frequency]}

    def notes(self, row: int, portfolio: Portfolio) -> list[str]:
        """Write what else a reader should know about a portfolio's proposal."""
        solved = self.solved
        context, wanted, limited = solved.context, solved.wanted, solved.limited
        market, preferences = context.market, portfolio.preferences
        notes = list(context.policy.remarks(limited.decision, solved.book, market, row))
        for name, listed in (
            ("do_not_sell", preferences.do_not_sell),
            ("do_not_buy", preferences.do_not_buy),
        ):
            if listed and (unknown := sorted(listed - market.columns.keys())):
                notes.append(f"{name} names symbols without prices: {', '.join(unknown)}.")
        most, departure = preferences.max_departure, limited.departure.item(row)
        if departure > most + _VISIBLE:
            allowed = f"allows {most:.1%}" if most else "is 0, so the given targets hold"
            notes.append(
                f"The policy would move {departure:.1%} of the portfolio away from the given "
                f"targets; preferences.max_departure {allowed}."
            )
        for name, share in self.reductions[row].items():
            profile = portfolio.risk_profile
            source = f"profile {profile.name}" if profile else "preferences"
            notes.append(
                f"The limit '{name}' ({source}) reduces the targets to {share:.1%} of their sum; "
                "the rest is held in cash."
            )
        if limited.forced[row]:
            days = min(RISK_WINDOW, len(market) - 1)
            notes.append(
                f"The risk over the last {days} days exceeds the profile's limit; the portfolio is "
                "rebalanced now, regardless of the policy's schedule."
            )
        if portfolio.cash_flow:
            notes.append(_flow_note(portfolio.cash_flow, wanted.flow[row]))
        if (wanted.restored[row] < 0).any():
            notes.append(
                "Cash was below the reserve, which is restored before anything is bought."
                if solved.book.limits.reserve.item(row)
                else "Cash was negative; the debit is covered before anything is bought."
            )
        if (short := wanted.short_of_reserve.item(row)) > 0:
            notes.append(
                f"The cash reserve stays short by {short:.2f}, because permitted sales do not "
                "cover it; nothing is bought."
            )
        if (share := wanted.allowed.item(row)) < 1 - 1e-9:
            notes.append(f"The turnover cap allows {share:.0%} of the wanted trades.")
        return notes


def _order_codes(solved: SolvedBook) -> tuple[list[list[ReasonCode]], list[list[ReasonCode]]]:
    """(B, K) code of each asset if it is bought, and if it is sold; the first case counts."""
    wanted, decision = solved.wanted, solved.limited.decision
    more = wanted.values > 0
    inside = ~wanted.outside if decision.band is not None else np.zeros_like(more)
    either = [
        (inside & more, ReasonCode.BOUGHT_WITHIN_BAND),
        (inside, ReasonCode.SOLD_WITHIN_BAND),
        (decision.targets == 0, ReasonCode.NOT_TARGETED),
        (more, ReasonCode.UNDERWEIGHT),
    ]
    restored = wanted.restored < 0
    selling = [
        (wanted.flow < 0, ReasonCode.WITHDRAWAL),
        (restored & (solved.book.limits.reserve > 0)[:, None], ReasonCode.RESERVE),
        (restored, ReasonCode.DEBIT),
        (wanted.trimmed < 0, ReasonCode.LIMIT),
        (wanted.values >= 0, ReasonCode.CASH_REQUIRED),
        *either,
    ]
    buying = [(wanted.flow > 0, ReasonCode.DEPOSIT), *either]
    return _first_case(buying), _first_case(selling)


def _first_case(cases: list[tuple[Bools, ReasonCode]]) -> list[list[ReasonCode]]:
    """(B, K) code of the first case that holds; otherwise overweight."""
    number = np.select([case for case, _ in cases], list(range(len(cases))), len(cases))
    codes = np.array([*(code for _, code in cases), ReasonCode.OVERWEIGHT], dtype=object)
    found: list[list[ReasonCode]] = codes[number].tolist()
    return found


def _flow_note(cash_flow: Decimal, trades: Floats) -> str:
    """Describe how a deposit or a withdrawal is dealt with by (K,) trades."""
    if cash_flow > 0:
        spent = np.maximum(trades, 0.0).sum()
        return f"Of the deposit of {cash_flow}, {spent:.2f} is invested."
    raised = np.maximum(-trades, 0.0).sum()
    if not raised:
        return f"The withdrawal of {-cash_flow} is paid from cash."
    return (
        f"The withdrawal of {-cash_flow} needs sales of {raised:.2f}, which do not count towards "
        "the turnover cap."
    )


def _plain(number: float) -> str:
    """Write four significant digits without an exponent."""
    return np.format_float_positional(number, precision=4, fractional=False, trim="-")


def _benefit(verb: str, cost: float, yearly: float) -> str:
    """Describe the drift risk that a cost removes, and when the cost has paid off."""
    if yearly <= 0:
        return f"{verb} no drift risk of its own"
    if cost <= 0:
        return f"{verb} drift risk worth {yearly:.2f} a year"
    years = cost / yearly
    verdict = "" if years <= 1 else ": not worth its cost within a year"
    after = f"{years:.1f} years" if years >= 0.95 else f"{max(years * 12, 0.1):.1f} months"
    return f"{verb} drift risk worth {yearly:.2f} a year, breaking even after {after}{verdict}"
