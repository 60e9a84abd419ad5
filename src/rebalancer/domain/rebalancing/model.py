"""Proposals, their orders, and the inputs that they follow from."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import cached_property, lru_cache, partial

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.convertible import check_convertible
from rebalancer.domain.market.currencies import missing_rate
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import NOTABLE_AGE, PriceHistory
from rebalancer.domain.money import canonical_text, check_price_currency
from rebalancer.domain.number_text import money_text
from rebalancer.domain.policy.policy import Policy, identity
from rebalancer.domain.portfolio.book import find_columns
from rebalancer.domain.portfolio.costs import CostModel, CostSchedule
from rebalancer.domain.portfolio.lots.sellable import SaleGain, SellableLot
from rebalancer.domain.portfolio.portfolio import (
    NO_PREFERENCES,
    Conversions,
    ExpectedFlow,
    Portfolio,
    Preferences,
)
from rebalancer.domain.portfolio.target_groups import (
    TargetTree,
    canonical_look_through,
    canonical_tree,
)
from rebalancer.domain.portfolio.target_resolution import (
    ResolvedGroup,
    ResolvedTargets,
    resolve_targets,
)
from rebalancer.domain.rebalancing.conversions import ConversionOrder
from rebalancer.domain.rebalancing.group_outcomes import GroupOutcome
from rebalancer.domain.rebalancing.live_prices import LivePrices


class Algorithm(StrEnum):
    """Version of the rules that turn inputs into orders.

    Part of every input hash. It changes whenever the same inputs may give other orders, and earlier
    versions stay available, so that stored proposals can be replayed.
    """

    SECOND = "2"
    THIRD = "3"


ALGORITHM = Algorithm.THIRD
"""Version for new proposals."""


class Side(StrEnum):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"


class Status(StrEnum):
    """Whether a proposal has orders."""

    PROPOSED = "proposed"
    NOTHING_TO_DO = "nothing_to_do"


class ReasonCode(StrEnum):
    """Why an asset is traded, or why it is not; stable, unlike the texts.

    Values are stored with proposals and returned to clients.
    """

    # Orders.
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    RESERVE = "reserve"
    DEBIT = "debit"
    LIMIT = "limit"
    CASH_REQUIRED = "cash_required"
    BOUGHT_WITHIN_BAND = "bought_within_band"
    SOLD_WITHIN_BAND = "sold_within_band"
    NOT_TARGETED = "not_targeted"
    UNDERWEIGHT = "underweight"
    OVERWEIGHT = "overweight"
    GROUP_UNDERWEIGHT = "group_underweight"
    GROUP_OVERWEIGHT = "group_overweight"

    # Assets that are not traded.
    WITHHELD = "withheld"
    BELOW_STEP = "below_step"
    BELOW_MINOR_UNIT = "below_minor_unit"
    BELOW_MINIMUM_TRADE = "below_minimum_trade"
    STEP_BELOW_MINIMUM_TRADE = "step_below_minimum_trade"
    UNPROFITABLE = "unprofitable"
    NO_CASH = "no_cash"
    NO_ROOM_FOR_MINIMUM_TRADE = "no_room_for_minimum_trade"
    ROUNDED = "rounded"
    DO_NOT_SELL = "do_not_sell"
    DO_NOT_BUY = "do_not_buy"
    AT_TARGET = "at_target"
    AT_LIMITED_TARGET = "at_limited_target"
    RESERVE_SHORT = "reserve_short"
    NEVER_DUE = "never_due"
    REBALANCED_LATER = "rebalanced_later"
    NOT_DUE = "not_due"
    WITHIN_BAND = "within_band"
    WITHIN_GROUP_BAND = "within_group_band"
    TURNOVER_CAP = "turnover_cap"
    GAIN_LIMIT = "gain_limit"
    LEFT_UNCHANGED = "left_unchanged"

    # Assets that are not traded in a proposal at quotes, see `live_prices`.
    QUOTE_MISSING = "quote_missing"
    QUOTE_STALE = "quote_stale"
    QUOTE_IMPLAUSIBLE = "quote_implausible"
    SPREAD_TOO_WIDE = "spread_too_wide"


@attrs.frozen(slots=False)  # created in half the time, and batches create many
class Order:
    """One trade to make.

    Attributes:
        symbol: Asset to trade.
        side: Buy or sell.
        quantity: Number of shares, > 0, a multiple of the portfolio's step.
        price: The as-of close, or the quote, in the order's currency.
        value: Quantity times price in the base currency, rounded half-even to the minor unit.
        cost: Cost of the order, rounded in the same way; without conversions.
        reason: Why, as a sentence.
        reason_code: Why, for programs; None in proposals stored before there were codes.
        currency: ISO 4217 code of the order's currency; None: the base currency, in which amount
            and cost amount are value and cost.
        amount: Quantity times price, rounded half-even to the currency's minor unit.
        cost_amount: Cost of the order in its currency, rounded in the same way.
    """

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    value: Decimal
    cost: Decimal
    reason: str
    reason_code: ReasonCode | None = None
    currency: str | None = None
    amount: Decimal | None = None
    cost_amount: Decimal | None = None


@attrs.frozen
class NotTraded:
    """A held or targeted asset that is not traded; reasons as those of `Order`."""

    symbol: str
    reason: str
    reason_code: ReasonCode | None = None


@attrs.frozen
class Proposal:
    """What one portfolio should trade.

    Attributes:
        portfolio_id: The portfolio.
        status: Whether there is something to trade.
        as_of: Day of the closes, or of the quotes.
        policy: Name of the policy.
        orders: What to trade, by symbol.
        not_traded: Every other held or targeted asset.
        weights_before: By symbol, of portfolio value before trading; the rest is cash.
        weights_after: The same after the orders.
        cash_after: Cash + cash flow - buys + sells - costs, exactly; with several currencies, that
            in the base currency.
        turnover: One-way, fraction of portfolio value.
        cost: Sum of the costs of orders and conversions.
        drift_before: One-way distance from the policy's targets, fraction of portfolio value.
        drift_after: The same after the orders.
        volatility_before: Expected annual volatility; None with too little history.
        volatility_after: The same after the orders.
        notes: Further information on the portfolio, as sentences.
        input_hash: SHA-256 of all inputs that determine the proposal.
        periods_per_year: Closes that count as a year in figures of risk; None in proposals stored
            before it was stated.
        conversions: Conversions of money that the orders need.
        foreign_cash_after: Cash after the orders by the ISO 4217 codes of other currencies.
        sale_gains: What each sale would realise; empty if that was not computed.
        groups: Outcome of each group of the targets, each before those inside.
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
    periods_per_year: float | None = None
    conversions: tuple[ConversionOrder, ...] = ()
    foreign_cash_after: Mapping[str, Decimal] = attrs.field(factory=dict)
    sale_gains: tuple[SaleGain, ...] = ()
    groups: tuple[GroupOutcome, ...] = ()


@attrs.frozen
class Failure:
    """Error that prevented a proposal for a portfolio."""

    portfolio_id: str
    error: InvalidRequest
    input_hash: str


@attrs.frozen
class PreparedPortfolio:
    """A checked portfolio, the market's column of each of its symbols, and its input hash.

    Attributes:
        groups: Groups of its targets; the targets of the portfolio follow from them.
    """

    portfolio: Portfolio
    columns: list[int]
    input_hash: str
    groups: tuple[ResolvedGroup, ...] = ()


@attrs.frozen(slots=False)
class RebalanceContext:
    """Inputs that all proposals of a book have in common; prices end at the as-of close.

    Attributes:
        market: Prices in the base currency of the portfolios; given in the assets' own currencies,
            they are converted.
        currency: Base currency of the portfolios.
        asked: Day for which proposals are requested; None: that of the last close.
        own_prices: The prices in the assets' own currencies; None if they state no currencies.
        closes: Closes before ``market``, if that is a row of quotes; see `at_quotes`.
        live: The quotes; None for proposals at closes.
    """

    policy: Policy
    market: PriceHistory
    instruments: Instruments
    costs: CostModel
    currency: str
    asked: date | None = None
    algorithm: Algorithm = ALGORITHM
    own_prices: PriceHistory | None = attrs.field(default=None, eq=False, repr=False)
    closes: PriceHistory | None = None
    live: LivePrices | None = None
    _others: dict[str, RebalanceContext] = attrs.field(
        factory=dict, init=False, eq=False, repr=False
    )

    def __attrs_post_init__(self) -> None:
        quotes = self.market.quotes
        if quotes is not None and quotes.currency is None:
            object.__setattr__(self, "own_prices", self.market)
            object.__setattr__(self, "market", self.market.in_currency(self.currency))

    @property
    def history(self) -> PriceHistory:
        """Closes from which policies decide and risk is estimated; without quotes."""
        return self.market if self.closes is None else self.closes

    def at_quotes(self, live: LivePrices) -> RebalanceContext:
        """Return the context that values portfolios and prices orders at quotes.

        The quotes are of the assets of one portfolio, in whose base currency the context is.
        """
        closes = self.history
        return attrs.evolve(self, market=live.apply(closes), closes=closes, live=live)

    def in_currency(self, code: str) -> RebalanceContext:
        """Return the context for portfolios of a base currency, by its ISO 4217 code.

        The same object if it is the own one, or if the prices state no currencies.
        """
        own = self.own_prices
        if code == self.currency or own is None or own.quotes is None:
            return self
        if code not in self._others:
            market = own.at_frequency(self.market.periods_per_year)
            self._others[code] = attrs.evolve(self, market=market, currency=code, own_prices=None)
        return self._others[code]

    @cached_property
    def stepped(self) -> frozenset[str]:
        """Symbols of the instruments that have a quantity step or a lot size of their own."""
        return self.instruments.stepped

    @property
    def charges(self) -> CostSchedule:
        """Costs of orders in the assets of the market."""
        quotes = self.market.quotes
        if quotes is None or quotes.rates is None:
            return self.costs.of(self.market.symbols, self.instruments)
        return self.costs.of(
            self.market.symbols,
            self.instruments,
            quotes.currencies,
            self.currency,
            self.market.last_rates,
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the context."""
        listed = sorted(
            (i.symbol, i.asset_class or "", repr(i.daily_volume), *_canonical_steps(i))
            for i in self.instruments
        )
        costs = self.costs.figures(converting=self.market.last_rates is not None)
        parts = (
            self.algorithm,
            identity(self.policy),
            self.history.digest,
            listed,
            repr(costs),
            self.currency,
            *(() if self.age_note is None else (self.age_note,)),
        )
        if self.market.periods_per_year is not None:
            parts += (self.market.periods_per_year,)
        if self.live is not None:
            parts += (("quotes", self.live.canonical()),)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @cached_property
    def age_note(self) -> str | None:
        """Sentence on the age of the last close at the requested day; None if it is recent."""
        if self.asked is None:
            return None
        age = self.market.missed_days(self.asked)
        if age <= NOTABLE_AGE:
            return None
        unit = (
            "weekdays" if age == self.market.age(len(self.market) - 1, self.asked) else "sessions"
        )
        return (
            f"The last close before {self.asked} is of {self.market.last_date}, {age} {unit} "
            "earlier."
        )

    def last_prices(self, portfolio: Portfolio) -> dict[str, Decimal]:
        """Return the last price of each asset of a portfolio that has one."""
        exact, columns = self.market.exact_closes(), self.market.columns
        prices = ((symbol, exact[columns[symbol]]) for symbol in portfolio.symbols)
        return {symbol: price for symbol, price in prices if price.is_finite()}

    def last_rates(self, portfolio: Portfolio) -> dict[str, Decimal]:
        """Return the exchange rate of each foreign currency of a portfolio that has one."""
        codes = {*self.foreign_currencies(portfolio).values(), *portfolio.foreign_cash}
        rates = {code: self.market.last_rate(code) for code in sorted(codes)}
        return {code: Decimal(repr(rate)) for code, rate in rates.items() if rate is not None}

    def foreign_currencies(self, portfolio: Portfolio) -> dict[str, str]:
        """Return the currency of each asset of a portfolio that is not the base currency."""
        quotes, columns = self.market.quotes, self.market.columns
        if quotes is None or quotes.rates is None:
            return {}
        known = {
            symbol: quotes.currencies[columns[symbol]]
            for symbol in portfolio.symbols
            if symbol in columns
        }
        return {symbol: code for symbol, code in known.items() if code != self.currency}

    def prepare(self, portfolio: Portfolio) -> PreparedPortfolio | Failure:
        """Hash a portfolio's inputs, and check them against the market."""
        input_hash = self.input_hash(portfolio)
        try:
            columns = self._find_columns(portfolio)
            groups: tuple[ResolvedGroup, ...] = ()
            if portfolio.target_groups is not None:
                resolved = self.resolve_targets(portfolio, portfolio.target_groups)
                portfolio = attrs.evolve(portfolio, targets=resolved.weights)
                groups = resolved.groups
        except InvalidRequest as error:
            return Failure(portfolio.id, error, input_hash)
        return PreparedPortfolio(portfolio, columns, input_hash, groups)

    def resolve_targets(self, portfolio: Portfolio, tree: TargetTree) -> ResolvedTargets:
        """Return the weights that follow from targets by groups at the last prices.

        Raises:
            InvalidRequest: a class group has no member.
        """
        prices, columns = self.market.last_prices, self.market.columns
        values = {
            symbol: float(units) * float(prices[columns[symbol]])
            for symbol, units in portfolio.holdings.items()
            if units
        }
        return resolve_targets(
            tree,
            values,
            class_of=lambda symbol: self.instruments[symbol].asset_class,
            look_through=portfolio.look_through,
        )

    def input_hash(self, portfolio: Portfolio) -> str:
        """SHA-256 of the context and a portfolio; equal inputs give equal proposals.

        Without ``uninvested``, which only words a note, so that stored proposals replay.
        """
        if (own := self.in_currency(portfolio.currency.code)) is not self:
            return own.input_hash(portfolio)
        tree = portfolio.target_groups
        # Those of groups follow from the groups.
        targeted = sorted(portfolio.targets) if tree is None else []
        held = sorted(portfolio.holdings)
        weights = [portfolio.targets[symbol] + 0.0 for symbol in targeted]  # -0.0 is 0.0
        parts = (
            self.digest,
            portfolio.id,
            portfolio.currency.code,
            canonical_text(portfolio.cash),
            canonical_text(portfolio.cash_flow),
            held,
            [canonical_text(portfolio.holdings[symbol]) for symbol in held],
            targeted,
            struct.pack(f"<{len(weights)}d", *weights),  # three times as fast as text
            attrs.astuple(portfolio.risk_profile) if portfolio.risk_profile else None,
            str(portfolio.last_rebalance),
            *_canonical_preferences(portfolio.preferences),
        )
        if any(portfolio.foreign_cash.values()):
            parts += (("foreign cash", self._foreign_cash(portfolio)),)
        if portfolio.conversions is not Conversions.AUTOMATIC:
            parts += (("conversions", portfolio.conversions.value),)
        if tree is not None:
            parts += (("target groups", canonical_tree(tree)),)
        if portfolio.look_through:
            parts += (("look through", canonical_look_through(portfolio.look_through)),)
        if portfolio.expected:
            parts += (("expected", [_canonical_flow(one) for one in portfolio.expected]),)
        if portfolio.lots is not None:
            parts += (("lots", _canonical_lots(portfolio.lots)),)
        if portfolio.gain_this_year:
            parts += (("gain this year", canonical_text(portfolio.gain_this_year)),)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _foreign_cash(self, portfolio: Portfolio) -> tuple[object, ...]:
        """Return what determines the value of foreign cash, and the cost of converting it."""
        amounts = [
            (code, canonical_text(amount), repr(self.market.last_rate(code)))
            for code, amount in sorted(portfolio.foreign_cash.items())
            if amount
        ]
        return (*amounts, repr(self.costs.rates.fx_spread_bps))

    def replaying(self, portfolio: Portfolio, input_hash: str) -> RebalanceContext | None:
        """Return the context with the algorithm that gives an input hash; None if there is none."""
        for algorithm in reversed(Algorithm):
            context = attrs.evolve(self, algorithm=algorithm)
            if context.input_hash(portfolio) == input_hash:
                return context
        return None

    def _find_columns(self, portfolio: Portfolio) -> list[int]:
        """Find a portfolio's columns of the market, and check its amounts against its value.

        Raises:
            InvalidRequest: another currency, no exchange rate, an unknown symbol, a flow, debit or
                reserve above the value, or a limit on gains without lots.
        """
        check_price_currency(portfolio.currency.code, self.currency)
        _check_lots_known(portfolio)
        check_convertible(self.market, portfolio.symbols, needed=portfolio.holdings)
        columns = find_columns(portfolio, self.market)
        reserve = portfolio.preferences.cash_reserve
        foreign = self._foreign_value(portfolio) if portfolio.foreign_cash else 0.0
        if portfolio.cash >= 0 and portfolio.cash_flow >= 0 and not reserve:
            return columns
        prices = self.market.last_prices
        held = sum(
            float(portfolio.holdings[symbol]) * float(prices[column])
            for symbol, column in zip(portfolio.symbols, columns, strict=True)
            if portfolio.holdings.get(symbol)
        )
        total = float(portfolio.cash) + held + float(portfolio.cash_flow) + foreign
        money = partial(money_text, minor_unit=portfolio.currency.minor_unit)
        cent = float(portfolio.currency.minor_unit) / 2
        if total < -cent and portfolio.cash_flow < 0:
            raise InvalidRequest(
                f"the withdrawal exceeds the portfolio's value by {money(-total)}; withdraw at "
                "least that much less",
                field="cash_flow",
                code="flow_exceeds_value",
            )
        if total < -cent:
            raise InvalidRequest(
                f"a debit of {-portfolio.cash} exceeds the value of holdings and cash flow, "
                f"{money(total - float(portfolio.cash))}; deposit at least {money(-total)}",
                field="cash",
                code="debit_exceeds_value",
            )
        if float(reserve) > total + cent:
            raise InvalidRequest(
                f"a reserve of {reserve} exceeds the portfolio's value after the cash flow, "
                f"{money(total)}; enter at most {money(max(total, 0.0))}",
                field="preferences.cash_reserve",
                code="reserve_exceeds_value",
            )
        return columns

    def _foreign_value(self, portfolio: Portfolio) -> float:
        """Return the value of foreign cash.

        Raises:
            InvalidRequest: a currency has no exchange rate.
        """
        value = 0.0
        for code, amount in portfolio.foreign_cash.items():
            rate = self.market.last_rate(code)
            if rate is None:
                exchange = None if self.market.quotes is None else self.market.quotes.exchange
                raise missing_rate(code, self.currency, field=f"cash.{code}", exchange=exchange)
            value += float(amount) * rate
        return value


def _check_lots_known(portfolio: Portfolio) -> None:
    """Check that a portfolio whose realised gains are limited states its lots.

    Raises:
        InvalidRequest: it does not.
    """
    wishes = portfolio.preferences
    if not wishes.limits_gains or portfolio.lots is not None:
        return
    if not any(portfolio.holdings.values()):
        return
    name = "max_realised_gain"
    if wishes.max_realised_gain is None:
        name = "max_realised_gain_year"
    limit = money_text(getattr(wishes, name), portfolio.currency.minor_unit)
    raise InvalidRequest(
        f"a limit of {limit} {portfolio.currency} on realised gains needs the cost of what is "
        "held; state the lots of each holding, or use a portfolio with a ledger",
        field=f"preferences.{name}",
        code="lots_needed",
    )


_ALWAYS_HASHED = 11
"""Preferences that are in every input hash; later ones are only where they are not the default."""


def _canonical_flow(flow: ExpectedFlow) -> tuple[str, ...]:
    """Return the text of a planned flow for an input hash."""
    amounts = canonical_text(flow.amount), canonical_text(flow.value)
    return (str(flow.on), *amounts, flow.currency)


@lru_cache(maxsize=256)
def _canonical_preferences(preferences: Preferences) -> tuple[object, ...]:
    """Return the same values for equal preferences; cached, because most portfolios share them."""
    values = attrs.asdict(preferences, recurse=False)
    names = list(values)
    later = names[_ALWAYS_HASHED:]
    changed = [name for name in later if values[name] != getattr(NO_PREFERENCES, name)]
    return (
        *(_canonical(values[name]) for name in names[:_ALWAYS_HASHED]),
        *((name, _canonical(values[name])) for name in changed),
    )


def _canonical_lots(lots: Mapping[str, tuple[SellableLot, ...]]) -> list[object]:
    """Return the same values for equal lots."""
    return [
        (
            symbol,
            [
                (
                    canonical_text(lot.quantity),
                    None if lot.cost is None else canonical_text(lot.cost),
                    str(lot.acquired),
                    lot.is_dated,
                )
                for lot in each
            ],
        )
        for symbol, each in sorted(lots.items())
        if each
    ]


def _canonical(value: object) -> object:
    """Return the same value for equal values, such as 1 and 1.0, 0.0 and -0.0, or sets."""
    if isinstance(value, Decimal):
        return canonical_text(value)
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) + 0.0
    return value


def _canonical_steps(instrument: Instrument) -> tuple[str, ...]:
    """Return the same texts for equal steps, and none for instruments without their own."""
    if instrument.order_step is None:
        return ()
    sizes = (instrument.quantity_step, instrument.lot_size)
    return tuple("" if size is None else canonical_text(size) for size in sizes)
