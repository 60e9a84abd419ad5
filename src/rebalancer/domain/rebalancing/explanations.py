"""Explain why an asset is traded, why another is not, and what else matters.

A reason is a stable `ReasonCode` and a sentence made from it and its figures. The texts of orders
and non-orders are in the two tables below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property, partial

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, positive_or_one
from rebalancer.domain.market.symbols import hint_at
from rebalancer.domain.number_text import money_text, percent_text
from rebalancer.domain.policy.policy import Frequency
from rebalancer.domain.portfolio.book import Book, OrderRules
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.gain_reasons import GainCut
from rebalancer.domain.rebalancing.limits import LimitedDecision, PortfolioRisk
from rebalancer.domain.rebalancing.model import PreparedPortfolio, ReasonCode, RebalanceContext
from rebalancer.domain.rebalancing.outcome_notes import (
    Outcome,
    expected_notes,
    flow_note,
    kept_text,
    remainder_note,
)
from rebalancer.domain.rebalancing.price_notes import price_notes
from rebalancer.domain.rebalancing.rate_notes import LAST_CLOSE
from rebalancer.domain.rebalancing.rounding.orders import RoundedTrades, SkipReason
from rebalancer.domain.rebalancing.rounding.problem import NEARLY
from rebalancer.domain.rebalancing.solver import Trades

_CENT = Decimal("0.01")

_CLEAR = 2.0
"""Weights above this are written as amounts."""

_LONGEST = 100
"""Years after which the time to break even has no exact figure."""

_VISIBLE = 5e-5
"""Weights closer than this are equal when written with one decimal of a percent."""

ORDER_TEXTS = {
    ReasonCode.DEPOSIT: "Bought with the deposit, which goes to the largest shortfalls first",
    ReasonCode.WITHDRAWAL: "Sold for the withdrawal, which comes from the largest excesses first",
    ReasonCode.RESERVE: "Sold to restore the cash reserve",
    ReasonCode.DEBIT: "Sold to cover the debit",
    ReasonCode.LIMIT: "Above a limit on its weight or its asset class",
    ReasonCode.CASH_REQUIRED: "Sold because whole steps of the other sales do not cover required "
    "cash",
    ReasonCode.BOUGHT_WITHIN_BAND: "Within its band; bought with the proceeds of other sales",
    ReasonCode.SOLD_WITHIN_BAND: "Within its band; sold to fund the other trades",
    ReasonCode.NOT_TARGETED: "Not among the targets",
    ReasonCode.UNDERWEIGHT: "Underweight",
    ReasonCode.OVERWEIGHT: "Overweight",
    ReasonCode.GROUP_UNDERWEIGHT: "Underweight, and its group is due",
    ReasonCode.GROUP_OVERWEIGHT: "Overweight, and its group is due",
}
"""First part of an order's reason; its weights and costs follow."""

NO_ORDER_TEXTS = {
    ReasonCode.WITHHELD: "Not tradable: {withheld}.",
    ReasonCode.BELOW_STEP: "{verb} {count} would take its weight from {held} to {reach}, "
    "but orders are multiples of {step}.",
    ReasonCode.BELOW_MINOR_UNIT: "{verb} the {count} that are held would bring less than {unit}.",
    ReasonCode.BELOW_MINIMUM_TRADE: "{verb} {amount} would take its weight from {held} to "
    "{reach}, but the minimum trade is {min_trade}.",
    ReasonCode.STEP_BELOW_MINIMUM_TRADE: "{verb} {amount} would take its weight from "
    "{held} to {reach}, but in whole steps the order is below the minimum trade of "
    "{min_trade}.",
    ReasonCode.UNPROFITABLE: "{verb} {amount} would cost {cost} and {benefit}.",
    ReasonCode.NO_CASH: "At {held}, aiming at {aim}; after rounding to whole steps, the "
    "orders leave too little cash for it.",
    ReasonCode.NO_ROOM_FOR_MINIMUM_TRADE: "At {held}, aiming at {aim}; {source} {room}, less than "
    "the minimum trade of {min_trade}.",
    ReasonCode.ROUNDED: "At {held}, aiming at {aim}; in whole steps, orders without it come nearer "
    "to the targets, costs included.",
    ReasonCode.DO_NOT_SELL: "At {held}, above its target of {target}, but on the do-not-sell list.",
    ReasonCode.DO_NOT_BUY: "At {held}, below its target of {target}, but on the do-not-buy list.",
    ReasonCode.AT_TARGET: "At its target of {target}.",
    ReasonCode.AT_LIMITED_TARGET: "At {aim}, which is as much of its target of {target} as "
    "{bounds} allow.",
    ReasonCode.RESERVE_SHORT: "At {held}, aiming at {aim}; nothing is bought until the "
    "cash reserve is restored.",
    ReasonCode.NEVER_DUE: "At {held}, aiming at {aim}; {policy} leaves holdings unchanged.",
    ReasonCode.REBALANCED_LATER: "At {held}, aiming at {aim}; {policy} is not due: the "
    "last rebalance, {last}, is later than these prices.",
    ReasonCode.NOT_DUE: "At {held}, aiming at {aim}; {policy} is not due: the last "
    "rebalance, {last}, was in the same {period}.",
    ReasonCode.WITHIN_BAND: "Within its band: at {held}, at most {width} from {aim}.",
    ReasonCode.WITHIN_GROUP_BAND: "Within the band of its group.",
    ReasonCode.TURNOVER_CAP: "At {held}, aiming at {aim}; the turnover cap leaves no room for it.",
    ReasonCode.GAIN_LIMIT: "At {held}, aiming at {aim}; {limited}.",
    ReasonCode.LEFT_UNCHANGED: "At {held}, aiming at {aim}; {policy} leaves it unchanged.",
    ReasonCode.QUOTE_MISSING: "Not traded at quotes: {withheld}.",
    ReasonCode.QUOTE_STALE: "Not traded at quotes: {withheld}.",
    ReasonCode.QUOTE_IMPLAUSIBLE: "Not traded at quotes: {withheld}.",
    ReasonCode.SPREAD_TOO_WIDE: "Not traded at quotes: {withheld}.",
}
"""Why an asset is not traded."""

_WITHOUT_OTHERS = {
    ReasonCode.BOUGHT_WITHIN_BAND: "Within its band; bought with cash above its target",
    ReasonCode.SOLD_WITHIN_BAND: "Within its band; sold to restore cash to its target",
}
"""Texts where no orders on the other side remain after rounding."""

_WITH_LOTS = {
    ReasonCode.WITHDRAWAL: "Sold for the withdrawal, which comes from losses and the smallest "
    "gains first",
}
"""Texts where the gains of lots decide what is sold for cash."""

_PERIODS = {
    Frequency.DAILY: "day",
    Frequency.WEEKLY: "week",
    Frequency.MONTHLY: "month",
    Frequency.QUARTERLY: "quarter",
    Frequency.YEARLY: "year",
}

_SKIPPED = {
    ReasonCode.BELOW_STEP,
    ReasonCode.BELOW_MINOR_UNIT,
    ReasonCode.BELOW_MINIMUM_TRADE,
    ReasonCode.STEP_BELOW_MINIMUM_TRADE,
    ReasonCode.UNPROFITABLE,
}
"""Codes whose texts state the figures of a wanted trade."""


@attrs.frozen(eq=False)
class SolvedBook:
    """A book after both stages of rebalancing.

    Attributes:
        book: The portfolios as arrays, before trading.
        decided_on: The book that the policy saw, see `hide_withheld`.
        withheld: (B, K) assets that are not tradable; None if there are none.
        charges: Costs by slot, or the same for all.
        limited: The policy's decision within limits.
        wanted: Trades of the first stage.
        rounded: Orders of the second stage.
        drift_cost: (B, K) money a year that a squared drift of 1 costs; NaN where unknown.
        gain_cuts: What a limit on realised gains has changed, by row.
    """

    context: RebalanceContext
    prepared: Sequence[PreparedPortfolio]
    book: Book
    decided_on: Book
    withheld: Bools | None
    order_rules: OrderRules
    charges: CostSchedule
    limited: LimitedDecision
    wanted: Trades
    rounded: RoundedTrades
    drift_cost: Floats
    risk: PortfolioRisk
    gain_cuts: Mapping[int, GainCut] = attrs.field(factory=dict)


@attrs.define  # not frozen: created for every portfolio of a batch
class OrderReasons:
    """Why the orders of one portfolio are made.

    Attributes:
        held: (K,) weights before the orders.
        aims: (K,) weights to aim at.
        buying: (K,) code of each asset if it is bought.
        selling: (K,) code of each asset if it is sold.
        drift_cost: (K,) money a year that a squared drift of 1 costs; -1 where unknown.
        unit: Smallest amount of money.
        buys: Whether some orders buy.
        sells: Whether some orders sell.
        write: Writes weights as amounts; None: as percentages.
        kept: Cash that is kept for planned withdrawals, as a text; empty if a reserve comes first.
        prefers_losses: Whether sales for cash prefer losses and small gains.
    """

    held: list[float]
    aims: list[float]
    buying: list[ReasonCode]
    selling: list[ReasonCode]
    drift_cost: list[float]
    unit: Decimal
    buys: bool
    sells: bool
    write: Callable[[float], str] | None
    kept: str = ""
    prefers_losses: bool = False

    def explain(self, slot: int, after: float, cost: Decimal) -> tuple[ReasonCode, str]:
        """Explain why an order is made, what it costs, and how much drift it removes.

        Args:
            slot: The asset.
            after: Its weight after the order.
            cost: Cost of the order, money.
        """
        held, aim = self.held[slot], self.aims[slot]
        buys = after > held
        code = (self.buying if buys else self.selling)[slot]
        text = ORDER_TEXTS[code]
        if not (self.sells if buys else self.buys):
            text = _WITHOUT_OTHERS.get(code, text)
        if self.kept and code is ReasonCode.RESERVE:
            text = f"Sold to keep {self.kept}"
        if self.prefers_losses:
            text = _WITH_LOTS.get(code, text)
        if self.write is not None:
            change = f"{self.write(held)} to {self.write(after)}, aiming at {self.write(aim)}"
            return code, f"{text}: from {change}. Costs {cost!s}."
        change = f"{held:.1%} to {after:.1%}, aiming at {aim:.1%}"  # of most orders of a batch
        drift_cost = self.drift_cost[slot]
        if drift_cost < 0:
            return code, f"{text}: from {change}. Costs {cost!s}."
        yearly = drift_cost * ((held - aim) ** 2 - (after - aim) ** 2)
        benefit = _benefit("removes", float(cost), yearly, self.unit)
        return code, f"{text}: from {change}. Costs {cost!s} and {benefit}."


class Explanations:
    """Reasons and notes on the rows of a solved book.

    What the rows need is converted from arrays to lists once for the book: looking up single
    elements of an array takes longer than writing a sentence.

    Attributes:
        totals: (B,) V, or 1 for an empty portfolio.
        aims: (B, K) weights to aim at.
    """

    def __init__(self, solved: SolvedBook) -> None:
        self._solved = solved
        wanted, limited, book = solved.wanted, solved.limited, solved.book
        policy, decision = solved.context.policy, solved.limited.decision
        total = positive_or_one(wanted.total)[:, None]
        held, aims = book.values / total, wanted.aims / total
        self.totals: list[float] = total[:, 0].tolist()
        self.aims: list[list[float]] = aims.tolist()
        self._held: list[list[float]] = held.tolist()
        self._targets: list[list[float]] = decision.targets.tolist()
        band = 0.0 if decision.band is None else decision.band
        self._widths: list[list[float]] = np.broadcast_to(band, held.shape).tolist()
        # -1 where it is unknown.
        drift_cost = np.where(np.isnan(solved.drift_cost), -1, solved.drift_cost)
        self._drift_cost: list[list[float]] = drift_cost.tolist()
        self._buying, self._selling = _order_codes(solved)
        self._policy, self._period = policy.name, _PERIODS.get(policy.frequency)
        self._reductions = limited.reductions()
        self._departure: list[float] = limited.departure.tolist()
        self._forced: list[bool] = limited.forced.tolist()
        self._restores: list[bool] = np.any(wanted.restored < 0, axis=1).tolist()
        # Where a withdrawal leaves little, weights are many times the value: amounts are clearer.
        self._in_money: list[bool] = (np.maximum(held, aims).max(axis=1) > _CLEAR).tolist()
        values = solved.rounded.values
        self._buys: list[bool] = np.any(values > 0, axis=1).tolist()
        self._sells: list[bool] = np.any(values < 0, axis=1).tolist()
        self._units = [one.portfolio.currency.minor_unit for one in solved.prepared]
        self._allowed: list[float] = wanted.allowed.tolist()

    @cached_property
    def _no_order_codes(self) -> list[list[ReasonCode]]:
        return _no_order_codes(self._solved, np.array(self._held), np.array(self.aims))

    def order_reasons(self, row: int) -> OrderReasons:
        """Return what explains the orders of a portfolio."""
        weight = partial(self._weight, row) if self._in_money[row] else None
        return OrderReasons(
            self._held[row],
            self.aims[row],
            self._buying[row],
            self._selling[row],
            self._drift_cost[row],
            self._units[row],
            self._buys[row],
            self._sells[row],
            weight,
            self._kept(row),
            self._solved.prepared[row].portfolio.lots is not None,
        )

    def _kept(self, row: int) -> str:
        """Describe what planned withdrawals need, if cash covers the reserve without them."""
        portfolio = self._solved.prepared[row].portfolio
        if not portfolio.kept_cash:
            return ""
        cash = portfolio.cash + portfolio.cash_flow
        return kept_text(portfolio) if cash >= portfolio.preferences.cash_reserve else ""

    def _weight(self, row: int, weight: float) -> str:
        """Write a weight as a percentage, or as an amount where percentages are too large."""
        if self._in_money[row]:
            return money_text(weight * self.totals[row], self._units[row])
        return percent_text(weight)

    def explain_no_order(self, row: int, slot: int, cash: float) -> tuple[ReasonCode, str]:
        """Explain why an asset is not traded.

        Args:
            row: The portfolio.
            slot: The asset.
            cash: Cash after the orders, money.
        """
        code = self._no_order_codes[row][slot]
        figures: dict[str, object] = {}
        if code is ReasonCode.WITHHELD:
            code = self._withheld_code(row, slot)
        elif code is ReasonCode.NO_CASH:
            code, figures = self._explain_rounding(row, slot, cash)
        elif code is ReasonCode.AT_LIMITED_TARGET:
            figures = {"bounds": self._bounds(row, slot, cash)}
        elif code in _SKIPPED:
            figures = self._skipped_trade(row, slot)
        return code, NO_ORDER_TEXTS[code].format(
            held=self._weight(row, self._held[row][slot]),
            aim=self._weight(row, self.aims[row][slot]),
            target=self._weight(row, self._targets[row][slot]),
            width=percent_text(self._widths[row][slot]),
            policy=self._policy,
            period=self._period,
            last=self._solved.book.reviewed[row],
            withheld=self._withheld_reason(row, slot),
            **figures,
        )

    def explain_gain_limit(self, row: int, slot: int, limited: str) -> tuple[ReasonCode, str]:
        """Explain that the limit on realised gains leaves an asset untraded."""
        return ReasonCode.GAIN_LIMIT, NO_ORDER_TEXTS[ReasonCode.GAIN_LIMIT].format(
            held=self._weight(row, self._held[row][slot]),
            aim=self._weight(row, self.aims[row][slot]),
            limited=limited,
        )

    def _explain_rounding(
        self, row: int, slot: int, cash: float
    ) -> tuple[ReasonCode, dict[str, object]]:
        """Return why rounding to whole steps left no order, given the cash after the orders."""
        solved = self._solved
        if solved.wanted.values.item(row, slot) < 0:
            return ReasonCode.ROUNDED, {}
        rules = solved.order_rules
        unit, least = self._step_value(row, slot), rules.min_trade.item(row)
        bought = float(np.maximum(solved.rounded.values[row], 0.0).sum())
        turnover = solved.book.limits.max_turnover.item(row) * self.totals[row] - bought
        for source, room, code in (
            ("cash after the orders is", self._spare_cash(row, cash), ReasonCode.NO_CASH),
            ("the turnover cap leaves", turnover, ReasonCode.TURNOVER_CAP),
        ):
            if room < unit * (1 - NEARLY):
                return code, {}
            if room < least * (1 - NEARLY):
                figures: dict[str, object] = {
                    "source": source,
                    "room": money_text(room, self._units[row]),
                    "min_trade": self._min_trade(row),
                }
                return ReasonCode.NO_ROOM_FOR_MINIMUM_TRADE, figures
        return ReasonCode.ROUNDED, {}

    def _step_value(self, row: int, slot: int) -> float:
        """Return the money that a step of an asset is worth."""
        rules = self._solved.order_rules
        value: float = rules.prices.item(row, slot) * rules.step.item(row, slot)
        return value

    def _spare_cash(self, row: int, cash: float) -> float:
        """Return the part of the cash after the orders that need not stay."""
        limits = self._solved.book.limits
        return cash - max(limits.reserve.item(row), limits.cash_floor.item(row) * self.totals[row])

    def _bounds(self, row: int, slot: int, cash: float) -> str:
        """Name what keeps an asset below or above its target."""
        solved = self._solved
        limits, targets = solved.book.limits, solved.limited.decision.targets[row]
        locked = limits.no_sell[row] & (solved.book.values[row] > 0)
        if solved.withheld is not None:
            locked |= solved.withheld[row]
        above = np.array(self._held[row]) > targets + _VISIBLE
        if not (locked & above).any():
            return "limits and cash"
        bounds = ["holdings that cannot be sold"]
        if limits.profiled.item(row) or targets[slot] > limits.max_weight.item(row):
            bounds.append("limits")
        if limits.reserve.item(row) > 0:
            bounds.append("the cash reserve")
        # A deposit that stays idle buys above the lowered aims, up to the targets.
        short = (targets[slot] - self._held[row][slot]) * self.totals[row]
        spare, least = self._spare_cash(row, cash), solved.order_rules.min_trade.item(row)
        affords = solved.book.flow.item(row) > 0 and spare >= self._step_value(row, slot)
        if affords and 0 < min(short, spare) < least:
            bounds.append(f"the minimum trade of {self._min_trade(row)}")
        *others, last = bounds
        return f"{', '.join(others)} and {last}" if others else last

    def _min_trade(self, row: int) -> str:
        return money_text(self._solved.order_rules.min_trade.item(row), self._units[row])

    def _withheld_code(self, row: int, slot: int) -> ReasonCode:
        """Return whether the quote of an asset is why it is not tradable, and how."""
        live = self._solved.context.live
        symbol = self._solved.prepared[row].portfolio.symbols[slot]
        block = None if live is None else live.blocked_by(symbol)
        return ReasonCode.WITHHELD if block is None else ReasonCode(block.value)

    def _withheld_reason(self, row: int, slot: int) -> str | None:
        symbols = self._solved.prepared[row].portfolio.symbols
        return self._solved.context.market.withheld.get(symbols[slot])

    def _skipped_trade(self, row: int, slot: int) -> dict[str, object]:
        """Return the figures of a wanted trade that became no order."""
        wanted, rules = self._solved.wanted, self._solved.order_rules
        trade: float = wanted.values.item(row, slot)
        held, aim = self._held[row][slot], self.aims[row][slot]
        reach = held + trade / self.totals[row]
        step, cost = rules.step.item(row, slot), wanted.costs.item(row, slot)
        count = abs(trade) / (rules.prices.item(row, slot) * step) * step
        yearly = self._drift_cost[row][slot] * ((held - aim) ** 2 - (reach - aim) ** 2)
        unit = self._units[row]
        return {
            "verb": "Buying" if trade > 0 else "Selling",
            "amount": money_text(abs(trade), unit),
            "reach": self._weight(row, reach),
            "step": _plain(step),
            "count": _plain(count),
            "min_trade": self._min_trade(row),
            "unit": unit,
            "cost": money_text(cost, unit),
            "benefit": _benefit("remove", cost, yearly, unit),
        }

    def notes(self, row: int, portfolio: Portfolio, outcome: Outcome) -> list[str]:
        """Write what else a reader should know about a portfolio's proposal."""
        solved = self._solved
        market, preferences = solved.context.market, portfolio.preferences
        remarks = solved.context.policy.remarks
        closes = solved.context.history
        notes = list(remarks(solved.limited.decision, solved.decided_on, closes, row))
        last = LAST_CLOSE
        if solved.context.live is not None:
            notes += solved.context.live.notes(closes)
            last = "the quotes"
        if solved.context.age_note is not None:
            notes.append(solved.context.age_note)
        notes += price_notes(portfolio, market, last=last)
        for name, listed in (
            ("do_not_sell", preferences.do_not_sell),
            ("do_not_buy", preferences.do_not_buy),
        ):
            if listed and (unknown := sorted(listed - market.columns.keys())):
                end = hint_at(unknown, market.symbols) or "."
                notes.append(f"{name} names symbols without prices: {', '.join(unknown)}{end}")
        most, departure = preferences.max_departure, self._departure[row]
        if departure > most + _VISIBLE:
            allowed = f"allows {most:.1%}" if most else "is 0, so the given targets hold"
            notes.append(
                f"The policy would move {percent_text(departure)} of the portfolio away from the "
                f"given targets; preferences.max_departure {allowed}."
            )
        for name, share in self._reductions[row].items():
            profile = portfolio.risk_profile
            source = f"profile {profile.name}" if profile else "preferences"
            notes.append(
                f"The limit '{name}' ({source}) reduces the targets to {share:.1%} of their sum; "
                "the rest is held in cash."
            )
        if self._forced[row]:
            time = solved.risk.describe_window(row)
            notes.append(
                f"The risk over the last {time} exceeds the profile's limit; the portfolio is "
                "rebalanced now, regardless of the policy's schedule."
            )
        if portfolio.cash_flow or portfolio.uninvested:
            notes.append(flow_note(portfolio, outcome, self._units[row]))
        if portfolio.expected:
            notes += expected_notes(portfolio)
        if self._restores[row]:
            notes.append(
                "Cash was below the reserve, which is restored before anything is bought."
                if portfolio.required_cash
                else "Cash was negative; the debit is covered before anything is bought."
            )
        if (short := portfolio.required_cash - outcome.cash) > 0:
            what = "Cash to be kept" if portfolio.kept_cash else "The cash reserve"
            notes.append(
                f"{what} stays short by {money_text(short, self._units[row])}, because "
                "permitted sales do not cover it; nothing is bought."
            )
        if (share := self._allowed[row]) < 1 - 1e-9:
            allowed = "under 1%" if 0 < share < 0.01 else f"{share:.0%}"
            notes.append(f"The turnover cap allows {allowed} of the wanted trades.")
        notes += [remainder_note(*each, portfolio) for each in outcome.remainders]
        return notes


_Cases = list[tuple[Bools, ReasonCode]]


def _order_codes(solved: SolvedBook) -> tuple[list[list[ReasonCode]], list[list[ReasonCode]]]:
    """(B, K) code of each asset if it is bought, and if it is sold."""
    wanted, decision = solved.wanted, solved.limited.decision
    more = wanted.values > 0
    inside = ~wanted.outside if decision.band is not None else np.zeros_like(more)
    either: _Cases = [
        (inside & more, ReasonCode.BOUGHT_WITHIN_BAND),
        (inside, ReasonCode.SOLD_WITHIN_BAND),
        (decision.targets == 0, ReasonCode.NOT_TARGETED),
        (more, ReasonCode.UNDERWEIGHT),
    ]
    restored = wanted.restored < 0
    selling: _Cases = [
        (wanted.flow < 0, ReasonCode.WITHDRAWAL),
        (restored & (solved.book.limits.reserve > 0)[:, None], ReasonCode.RESERVE),
        (restored, ReasonCode.DEBIT),
        (wanted.trimmed < 0, ReasonCode.LIMIT),
        (wanted.values >= 0, ReasonCode.CASH_REQUIRED),
    ]
    # What rounding leaves of a deposit goes to assets that were to get none of it.
    rest = (solved.book.flow > 0)[:, None] & (wanted.values == 0)
    buying: _Cases = [((wanted.flow > 0) | rest, ReasonCode.DEPOSIT)]
    return (
        _first_case([*buying, *either], ReasonCode.OVERWEIGHT, more.shape),
        _first_case([*selling, *either], ReasonCode.OVERWEIGHT, more.shape),
    )


def _no_order_codes(solved: SolvedBook, held: Floats, aims: Floats) -> list[list[ReasonCode]]:
    """(B, K) code of each asset if it is not traded, given (B, K) weights held and aimed at."""
    book, wanted, decision = solved.book, solved.wanted, solved.limited.decision
    targets, skipped = decision.targets, solved.rounded.skipped
    trades = wanted.values != 0
    small = trades & (skipped == SkipReason.MIN_TRADE)
    below_minimum = np.abs(wanted.values) < solved.order_rules.min_trade[:, None]
    rules = solved.order_rules
    # A sale that closes a position ignores the step, but not the smallest amount of money.
    remainder = (rules.sellable > 0) & (wanted.values < 0)
    remainder &= -wanted.values >= book.values * (1 - NEARLY)
    remainder &= rules.sellable * rules.prices < rules.minor_unit[:, None]
    at_aim = np.abs(held - aims) <= _VISIBLE
    waiting = ~decision.due[:, None]
    never = solved.context.policy.frequency is Frequency.ONCE
    untradable = np.zeros_like(trades) if solved.withheld is None else solved.withheld
    cases: _Cases = [
        (untradable, ReasonCode.WITHHELD),
        (trades & (skipped == SkipReason.STEP) & remainder, ReasonCode.BELOW_MINOR_UNIT),
        (trades & (skipped == SkipReason.STEP), ReasonCode.BELOW_STEP),
        (small & below_minimum, ReasonCode.BELOW_MINIMUM_TRADE),
        (small, ReasonCode.STEP_BELOW_MINIMUM_TRADE),
        (trades & (skipped == SkipReason.UNPROFITABLE), ReasonCode.UNPROFITABLE),
        (trades, ReasonCode.NO_CASH),
        (book.limits.no_sell & (held > targets + _VISIBLE), ReasonCode.DO_NOT_SELL),
        (book.limits.no_buy & (held < targets - _VISIBLE), ReasonCode.DO_NOT_BUY),
        (at_aim & (np.abs(aims - targets) > _VISIBLE), ReasonCode.AT_LIMITED_TARGET),
        (at_aim, ReasonCode.AT_TARGET),
        ((wanted.short_of_reserve > 0)[:, None] & (held < aims), ReasonCode.RESERVE_SHORT),
        (waiting & never, ReasonCode.NEVER_DUE),
        (waiting & (book.reviewed > book.as_of)[:, None], ReasonCode.REBALANCED_LATER),
        (waiting, ReasonCode.NOT_DUE),
        (~wanted.outside & (decision.band is not None), ReasonCode.WITHIN_BAND),
        ((wanted.acts & (wanted.allowed < 1))[:, None], ReasonCode.TURNOVER_CAP),
    ]
    return _first_case(cases, ReasonCode.LEFT_UNCHANGED, trades.shape)


def _first_case(
    cases: _Cases, otherwise: ReasonCode, shape: tuple[int, ...]
) -> list[list[ReasonCode]]:
    """(B, K) code of the first case that holds."""
    number = np.full(shape, len(cases), dtype=np.int8)
    for index in range(len(cases) - 1, -1, -1):  # half the time of `np.select`
        np.copyto(number, index, where=cases[index][0])
    codes = np.array([*(code for _, code in cases), otherwise], dtype=object)
    found: list[list[ReasonCode]] = codes[number].tolist()
    return found


def _plain(number: float) -> str:
    """Write four significant digits without an exponent."""
    return np.format_float_positional(number, precision=4, fractional=False, trim="-")


def _benefit(verb: str, cost: float, yearly: float, unit: Decimal) -> str:
    """Describe the drift risk that a cost removes, and when the cost has paid off."""
    if yearly <= 0:
        return f"{verb} no drift risk of its own"
    worth = f"{yearly:.2f}" if unit == _CENT else money_text(yearly, unit)
    if yearly < 1 and not float(worth):
        worth = f"under {unit}"
    if cost <= 0:
        return f"{verb} drift risk worth {worth} a year"
    years = cost / yearly
    verdict = "" if years <= 1 else ": not worth its cost within a year"
    after = f"{years:.1f} years" if years >= 0.95 else f"{max(years * 12, 0.1):.1f} months"
    if years > _LONGEST:
        after = f"more than {_LONGEST} years"
    return f"{verb} drift risk worth {worth} a year, breaking even after {after}{verdict}"
