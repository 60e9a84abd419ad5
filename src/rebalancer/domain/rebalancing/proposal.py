"""A proposal: what to trade now, what it costs, why, and why not.

`propose` takes portfolios from Decimal to arrays, through the two stages, and back to Decimal,
where conservation is exact: cash after = cash + cash flow - buys + sells - costs.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import ROUND_CEILING, Decimal, localcontext
from enum import StrEnum
from functools import cached_property
from operator import sub

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Policy, identity
from rebalancer.domain.portfolio.book import Book, Handling, open_book, placed
from rebalancer.domain.portfolio.costs import Charges, CostModel
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.limits import PortfolioRisk, Restraint, bounded_trades
from rebalancer.domain.rebalancing.orders import Rounded, rounded
from rebalancer.domain.rebalancing.reasons import Reasons
from rebalancer.domain.rebalancing.trades import Trades, unlimited

Floats = NDArray[np.float64]

ALGORITHM = "2"
"""Part of every input hash: changes whenever the same inputs may give another proposal."""

_ZERO, _ONE = Decimal(0), Decimal(1)

_DIGITS = 60
"""Enough for any quantity times any price, exactly."""


class Side(StrEnum):
    """Which way an order goes."""

    BUY = "buy"
    SELL = "sell"


class Status(StrEnum):
    """What became of a request for a proposal."""

    PROPOSED = "proposed"
    NOTHING_TO_DO = "nothing_to_do"


@attrs.frozen
class Order:
    """One trade to make.

    Attributes:
        symbol: What.
        side: Buy or sell.
        quantity: How many, > 0, a multiple of the portfolio's step.
        price: The as-of close.
        value: Quantity times price, rounded half-even to the minor unit.
        cost: All that it costs, rounded alike.
        reason: Why, in plain language.
    """

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    value: Decimal
    cost: Decimal
    reason: str


@attrs.frozen
class NotTraded:
    """A held or targeted asset that is not traded, and why not."""

    symbol: str
    reason: str


@attrs.frozen
class Proposal:
    """The answer for one portfolio.

    Attributes:
        portfolio_id: Whose.
        status: Whether there is something to trade.
        as_of: Day of the closes.
        policy: Who decided.
        orders: What to trade, by symbol.
        not_traded: Every other held or targeted asset.
        weights_before: By symbol, of portfolio value before trading; the rest is cash.
        weights_after: The same after the orders.
        cash_after: Cash + cash flow - buys + sells - costs, exactly.
        turnover: One-way, fraction of portfolio value.
        cost: Sum of the orders' costs.
        drift_before: One-way distance from the policy's targets, fraction of portfolio value.
        drift_after: The same after the orders.
        volatility_before: Expected, a year; None when there is too little history.
        volatility_after: The same after the orders.
        notes: What else a person should know.
        input_hash: SHA-256 of all that the proposal follows from.
    """

    portfolio_id: str
    status: Status
    as_of: date
    policy: str
    orders: tuple[Order, ...]
    not_traded: tuple[NotTraded, ...]
    weights_before: dict[str, float]
    weights_after: dict[str, float]
    cash_after: Decimal
    turnover: float
    cost: Decimal
    drift_before: float
    drift_after: float
    volatility_before: float | None
    volatility_after: float | None
    notes: tuple[str, ...]
    input_hash: str


@attrs.frozen
class Failure:
    """Why there is no proposal for a portfolio."""

    portfolio_id: str
    error: InvalidRequest
    input_hash: str


@attrs.frozen(slots=False)
class Terms:
    """What proposals follow from, beside the portfolio itself.

    Attributes:
        policy: Who decides.
        market: Prices up to the as-of close, and nothing later.
        instruments: Classes and volumes.
        costs: The price list.
        currency: Of the prices.
    """

    policy: Policy
    market: PriceHistory
    instruments: Instruments
    costs: CostModel
    currency: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all of them."""
        listed = sorted(
            (i.symbol, i.asset_class or "", repr(i.daily_volume)) for i in self.instruments
        )
        costs = (attrs.astuple(self.costs.rates), sorted(self.costs.overrides.items()))
        parts = (
            ALGORITHM,
            identity(self.policy),
            self.market.digest,
            listed,
            repr(costs),
            self.currency,
        )
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def input_hash(self, portfolio: Portfolio) -> str:
        """SHA-256 of these terms and a portfolio; equal inputs give equal proposals."""
        wishes = portfolio.preferences
        held, targeted = sorted(portfolio.holdings), sorted(portfolio.targets)
        weights = [portfolio.targets[symbol] + 0.0 for symbol in targeted]  # -0.0 is 0.0
        parts = (
            self.digest,
            portfolio.id,
            portfolio.currency.code,
            _canonical(portfolio.cash),
            _canonical(portfolio.cash_flow),
            held,
            [_canonical(portfolio.holdings[symbol]) for symbol in held],
            targeted,
            struct.pack(f"<{len(weights)}d", *weights),  # as text they would take thrice as long
            attrs.astuple(portfolio.risk_profile) if portfolio.risk_profile else None,
            str(portfolio.last_rebalance),
            bool(wishes.whole_shares),
            _canonical(wishes.quantity_step),
            _canonical(wishes.min_trade),
            sorted(wishes.do_not_sell),
            sorted(wishes.do_not_buy),
            _number(wishes.max_turnover),
            _canonical(wishes.cash_reserve),
            _number(wishes.max_weight),
            _number(wishes.band),
            _number(wishes.max_departure),
            bool(wishes.skip_unprofitable),
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def propose(portfolio: Portfolio, terms: Terms) -> Proposal:
    """The proposal for one portfolio.

    Raises:
        InvalidRequest: the portfolio contradicts itself or the market; names the field.
    """
    (answer,) = propose_book([portfolio], terms)
    if isinstance(answer, Failure):
        raise answer.error
    return answer


def propose_book(portfolios: Sequence[Portfolio], terms: Terms) -> list[Proposal | Failure]:
    """One answer for each portfolio, in order; a failure neither stops nor changes the rest."""
    answers: dict[int, Proposal | Failure] = {}
    sound: list[int] = []
    places: list[list[int]] = []
    for index, portfolio in enumerate(portfolios):
        try:
            places.append(_checked(portfolio, terms))
            sound.append(index)
        except InvalidRequest as error:
            answers[index] = Failure(portfolio.id, error, terms.input_hash(portfolio))
    if sound:
        chosen = [portfolios[index] for index in sound]
        answers.update(zip(sound, _answers(chosen, places, terms), strict=True))
    return [answers[index] for index in range(len(portfolios))]


def _checked(portfolio: Portfolio, terms: Terms) -> list[int]:
    """The portfolio's columns of the market.

    Raises:
        InvalidRequest: another currency, an unknown symbol, or more asked for than there is.
    """
    if portfolio.currency.code != terms.currency:
        raise InvalidRequest(
            f"is {portfolio.currency}, but prices are in {terms.currency}; exchange rates are not "
            "supported yet, so hold one currency in a portfolio",
            field="currency",
        )
    columns = placed(portfolio, terms.market)
    wishes = portfolio.preferences
    if portfolio.cash >= 0 and portfolio.cash_flow >= 0 and not wishes.cash_reserve:
        return columns
    closes = terms.market.last_closes
    held = sum(
        float(portfolio.holdings.get(symbol, 0)) * float(closes[column])
        for symbol, column in zip(portfolio.symbols, columns, strict=True)
    )
    before = float(portfolio.cash) + held
    total = before + float(portfolio.cash_flow)
    cent = float(portfolio.currency.minor_unit) / 2
    if total < -cent:
        if portfolio.cash_flow < 0:
            raise InvalidRequest(
                f"takes {-portfolio.cash_flow} out of a portfolio worth {before:.2f}; lower it",
                field="cash_flow",
            )
        raise InvalidRequest(
            f"is a debit of {-portfolio.cash}, but holdings and cash flow are worth "
            f"{total - float(portfolio.cash):.2f}; deposit at least {-total:.2f}",
            field="cash",
        )
    reserve = float(portfolio.preferences.cash_reserve)
    if reserve > total + cent:
        raise InvalidRequest(
            f"of {portfolio.preferences.cash_reserve} exceeds the portfolio's value of "
            f"{total:.2f} after the cash flow; lower it",
            field="preferences.cash_reserve",
        )
    return columns


def _answers(
    portfolios: Sequence[Portfolio], places: list[list[int]], terms: Terms
) -> Iterator[Proposal | Failure]:
    market = terms.market
    book, handling = open_book(portfolios, places, market, terms.instruments)
    charges = terms.costs.of(market.symbols, terms.instruments).at(book.assets)
    book = attrs.evolve(book, cost_rate=charges.usual_rate(book.present))
    risk = PortfolioRisk(book, market)
    restraint, wanted = bounded_trades(terms.policy.decide(book, market), book, risk, charges)
    limits = book.limits or unlimited(book)
    whole = np.where(wanted.total > 0, wanted.total, 1.0)[:, None]

    def risky(moved: Floats) -> NDArray[np.bool_]:
        return risk.exceeds((book.values + moved) / whole, limits)

    worth = _worth(book, handling, wanted, risk)

    def orders(required: NDArray[np.bool_]) -> Rounded:
        return rounded(
            book,
            wanted,
            handling,
            charges,
            required=np.broadcast_to(required[:, None], book.present.shape),
            unprofitable=worth.unprofitable(wanted.costs),
        )

    required = restraint.forced | risky(np.zeros_like(book.values))
    made = orders(required)
    # Sales left out, for being small or not worth their cost, can leave too much risk.
    left = risky(made.values) & ~required
    if left.any():
        made = orders(required | left)
    desk = _Desk(terms, places, book, handling, charges, restraint, wanted, made, worth, risk)
    for row, portfolio in enumerate(portfolios):
        try:
            yield desk.proposal(row, portfolio)
        except InvalidRequest as error:
            yield Failure(portfolio.id, error, terms.input_hash(portfolio))


@attrs.frozen(eq=False)
class Worth:
    """What each trade is worth: the drift risk that it removes, in money a year.

    With the other orders done, leaving one out leaves a drift of its size against cash. Under
    mean-variance preferences that costs ``risk aversion / 2 x variance x drift^2`` of portfolio
    value a year (Masters 2003, "Rebalancing", Journal of Portfolio Management).

    Attributes:
        yearly: (B, K) money a year; NaN where volatility is unknown.
        scale: (B, K) ``risk aversion / 2 x variance x V``: what a squared drift costs a year.
    """

    yearly: Floats
    scale: Floats

    def unprofitable(self, costs: Floats) -> NDArray[np.bool_]:
        """(B, K) trades whose cost exceeds what they are worth in a year."""
        return costs > self.yearly


def _worth(book: Book, handling: Handling, wanted: Trades, risk: PortfolioRisk) -> Worth:
    total = np.where(wanted.total > 0, wanted.total, 1.0)[:, None]
    variance = risk.asset_variance()
    scale = handling.risk_aversion[:, None] / 2 * variance * total
    before = (book.values - wanted.aims) / total
    after = (book.values + wanted.values - wanted.aims) / total
    return Worth(scale * (before * before - after * after), scale)


def _canonical(number: Decimal) -> str:
    """One text for equal numbers: 10, 10.0 and 1E+1 alike."""
    text = str(number)
    if text.isdigit():
        return text
    return format(number.normalize(), "f") if number else "0"


def _number(fraction: float | None) -> float | None:
    """One value for equal fractions: 1 and 1.0, 0.0 and -0.0 alike."""
    return None if fraction is None else float(fraction) + 0.0


class _Desk:
    """Turns rows of arrays into proposals: where float64 becomes Decimal again."""

    def __init__(
        self,
        terms: Terms,
        places: list[list[int]],
        book: Book,
        handling: Handling,
        charges: Charges,
        restraint: Restraint,
        wanted: Trades,
        made: Rounded,
        worth: Worth,
        risk: PortfolioRisk,
    ) -> None:
        self.terms, self.places, self.book, self.charges = terms, places, book, charges
        self.reasons = Reasons(
            policy=terms.policy,
            market=terms.market,
            book=book,
            handling=handling,
            restraint=restraint,
            wanted=wanted,
            made=made,
            yearly_scale=worth.scale,
        )
        total = np.where(wanted.total > 0, wanted.total, 1.0)[:, None]
        before = book.values / total
        after = (book.values + made.values) / total
        self.totals = total[:, 0].tolist()
        self.as_of = terms.market.last_date
        self.rate = _exact_rate(charges)
        self.steps = made.steps.tolist()
        self.costs = made.costs.tolist()
        self.before = np.round(before, 10).tolist()
        self.volatility_before = risk.volatility(before).tolist()
        self.volatility_after = risk.volatility(after).tolist()
        self.aims = self.reasons.aims
        self.closes: list[list[float]] = handling.prices.tolist()
        # The same in the digits in which they were read, by column, once for a market.
        self.exact: list[Decimal] = terms.market.memo(
            "exact closes",
            lambda: [Decimal(repr(close)) for close in terms.market.last_closes.tolist()],
        )

    def prices(self, row: int) -> list[Decimal]:
        """The as-of closes of a portfolio's assets."""
        return [self.exact[column] for column in self.places[row]]

    def cost(self, row: int, slot: int, traded: Decimal, known: float | None) -> Decimal:
        """What an order costs, before rounding, where that is no plain share of traded value."""
        if known is None:
            values = np.zeros(self.book.present.shape[1])
            values[slot] = float(traded)
            known = float(self.charges.row(row)(values)[slot])
        return Decimal(repr(round(known, 8)))

    def proposal(self, row: int, portfolio: Portfolio) -> Proposal:
        """The proposal for one row.

        Raises:
            InvalidRequest: a withdrawal or a debit cannot be paid from what may be sold.
        """
        with localcontext(prec=_DIGITS):
            return self._proposal(row, portfolio)

    def _proposal(self, row: int, portfolio: Portfolio) -> Proposal:
        ticket = _Ticket(self, row, portfolio)
        cash = ticket.balanced()
        total, closes = self.totals[row], self.closes[row]
        orders, others = [], []
        weights_before = dict(zip(portfolio.symbols, self.before[row], strict=False))
        weights_after = dict(weights_before)
        bought = sold = cost = _ZERO
        for slot, (symbol, line) in enumerate(zip(portfolio.symbols, ticket.lines, strict=True)):
            if line is None:
                others.append(NotTraded(symbol, self.reasons.against(row, slot)))
                continue
            if line.buys:
                side = Side.BUY
                bought += line.value
            else:
                side = Side.SELL
                sold += line.value
            cost += line.cost
            after = float(line.after) * closes[slot] / total
            weights_after[symbol] = round(after, 10)
            why = self.reasons.for_order(row, slot, after, line.cost)
            orders.append(
                Order(symbol, side, line.quantity, line.price, line.value, line.cost, why)
            )
        return Proposal(
            portfolio_id=portfolio.id,
            status=Status.PROPOSED if orders else Status.NOTHING_TO_DO,
            as_of=self.as_of,
            policy=self.terms.policy.name,
            orders=tuple(orders),
            not_traded=tuple(others),
            weights_before=weights_before,
            weights_after=weights_after,
            cash_after=cash,
            turnover=round(float(max(bought, sold)) / total, 10),
            cost=cost,
            drift_before=_distance(self.aims[row], weights_before),
            drift_after=_distance(self.aims[row], weights_after),
            volatility_before=_known(self.volatility_before[row]),
            volatility_after=_known(self.volatility_after[row]),
            notes=tuple(self.reasons.notes(row, portfolio)),
            input_hash=self.terms.input_hash(portfolio),
        )


@attrs.define  # never changed, but made by the million: frozen costs a microsecond
class _Line:
    """One order being made."""

    buys: bool
    quantity: Decimal
    price: Decimal
    value: Decimal
    cost: Decimal
    after: Decimal

    @property
    def cash(self) -> Decimal:
        """What it adds to cash."""
        return (-self.value if self.buys else self.value) - self.cost


class _Ticket:
    """The orders of one portfolio in Decimal, and the cash that they leave."""

    def __init__(self, desk: _Desk, row: int, portfolio: Portfolio) -> None:
        self._desk, self._row, self._portfolio = desk, row, portfolio
        self._step = portfolio.preferences.step
        self._round = portfolio.currency.round
        held = portfolio.holdings
        self._held = [held.get(symbol, _ZERO) for symbol in portfolio.symbols]
        self._prices = desk.prices(row)
        self.lines = [
            self._ordered(slot, steps, cost) if steps else None
            for slot, (_, steps, cost) in enumerate(
                zip(self._held, desk.steps[row], desk.costs[row], strict=False)
            )
        ]

    @property
    def _cash(self) -> Decimal:
        """Cash + cash flow - buys + sells - costs, exactly."""
        cash = self._portfolio.cash + self._portfolio.cash_flow
        for line in self.lines:
            if line is not None:
                cash += line.cash
        return cash

    def balanced(self) -> Decimal:
        """Make sure of the cent: cash covers the reserve if anything is bought or can be sold.

        The arrays know nothing of rounding to the minor unit, so a step may have to give way.

        Returns:
            Cash + cash flow - buys + sells - costs, exactly.

        Raises:
            InvalidRequest: what may be sold does not pay a withdrawal or a debit.
        """
        reserve, cash = self._portfolio.preferences.cash_reserve, self._cash
        while (lack := reserve - cash) > 0 and (self._buy_less(lack) or self._sell_more(lack)):
            cash = self._cash
        if cash >= 0:
            return cash
        outflow = -self._portfolio.cash_flow
        if outflow > 0:
            raise InvalidRequest(
                f"withdraws {outflow}, but at most {max(cash + outflow, _ZERO)} can be paid "
                "out after costs without selling what is on the do-not-sell list; lower it, or "
                "unlock an asset",
                field="cash_flow",
            )
        raise InvalidRequest(
            f"is {self._portfolio.cash}, and no permitted sale covers it; deposit {-cash}, "
            "or unlock an asset",
            field="cash",
        )

    def _buy_less(self, lack: Decimal) -> bool:
        """Take what is lacking from the smallest buy; none is left of it under the minimum trade.

        Returns:
            Whether there was a buy.
        """
        buys = [
            (ln.value, slot) for slot, ln in enumerate(self.lines) if ln is not None and ln.buys
        ]
        if not buys:
            return False
        slot = min(buys)[1]
        line = self.lines[slot]
        assert line is not None
        quantity = line.quantity - self._steps(lack, line.price)
        enough = quantity > 0 and quantity * line.price >= self._portfolio.preferences.min_trade
        self.lines[slot] = self._line(slot, quantity, buys=True) if enough else None
        return True

    def _sell_more(self, lack: Decimal) -> bool:
        """Sell what is lacking of what lies furthest above its aim; at last, remaining fractions.

        Returns:
            Whether any sale brought money.
        """
        locked = self._portfolio.preferences.do_not_sell
        candidates = []
        for slot, symbol in enumerate(self._portfolio.symbols):
            line = self.lines[slot]
            sold = line.quantity if line is not None else _ZERO
            left = self._held[slot] - sold
            if symbol not in locked and left > 0:
                excess = self._desk.before[self._row][slot] - self._desk.aims[self._row][slot]
                candidates.append((left < self._step, -float(excess), slot, sold, left))
        for _, _, slot, sold, left in sorted(candidates):
            line = self.lines[slot]
            # What the larger sale costs more has to be raised as well.
            price, held = self._prices[slot], sold + left
            larger = min(sold + self._steps(lack, price), held)
            fee = self._line(slot, larger, buys=False).cost - (line.cost if line else _ZERO)
            steps = self._steps(lack + fee, price)
            more = self._line(slot, held if left < steps else sold + steps, buys=False)
            if more.cash > (line.cash if line else _ZERO):
                self.lines[slot] = more
                return True
        return False

    def _steps(self, money: Decimal, price: Decimal) -> Decimal:
        """The least quantity, in whole steps and at least one, that is worth an amount."""
        count = (money / (self._step * price)).to_integral_value(ROUND_CEILING)
        return max(count, _ONE) * self._step

    def _ordered(self, slot: int, steps: float, cost: float) -> _Line | None:
        """The line for a signed number of steps; a broken number sells all that is held."""
        held = self._held[slot]
        whole = round(abs(steps))
        quantity = whole * self._step
        if steps < 0 and (whole != -steps or quantity > held):
            quantity = held
        return self._line(slot, quantity, buys=steps > 0, known=cost) if quantity else None

    def _line(
        self, slot: int, quantity: Decimal, *, buys: bool, known: float | None = None
    ) -> _Line:
        """An order; its cost in floating point, where known, spares working it out."""
        held, price, rate = self._held[slot], self._prices[slot], self._desk.rate
        traded = quantity * price
        # Exact where it is a share of traded value.
        cost = self._desk.cost(self._row, slot, traded, known) if rate is None else traded * rate
        after = held + quantity if buys else held - quantity
        return _Line(buys, quantity, price, self._round(traded), self._round(cost), after)


def _exact_rate(charges: Charges) -> Decimal | None:
    """The share of traded value that every order costs; None where that is not all it costs."""
    if not charges.proportional or charges.fixed.size > 1:
        return None
    bps = charges.commission_bps.item(), charges.half_spread_bps.item()
    return sum((Decimal(repr(one)) for one in bps), _ZERO).scaleb(-4)


def _distance(aims: list[float], weights: dict[str, float]) -> float:
    """One-way distance between weights and aims; cash counts as an asset."""
    drifts: list[float] = list(map(sub, weights.values(), aims))
    return round((sum(map(abs, drifts)) + abs(sum(drifts))) / 2, 10)


def _known(value: float) -> float | None:
    return None if value != value else round(value, 10)
