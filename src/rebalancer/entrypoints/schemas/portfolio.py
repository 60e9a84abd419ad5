"""A portfolio and its preferences, in requests, responses and files."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import attrs
import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from rebalancer.domain.errors import InvalidRequest, faults_of
from rebalancer.domain.market.symbols import normalize_symbol, normalize_symbols
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.lots.model import LotMethod
from rebalancer.domain.portfolio.lots.sellable import SellableLot, in_order_of_sale
from rebalancer.domain.portfolio.mandate import (
    LONGEST_NAME,
    ActionBooking,
    ManagedPortfolio,
    Mandate,
)
from rebalancer.domain.portfolio.portfolio import (
    NO_PREFERENCES,
    Conversions,
    Portfolio,
    Preferences,
    check_targets,
)
from rebalancer.domain.portfolio.risk import RISK_PROFILES, RiskProfile
from rebalancer.domain.portfolio.target_groups import TargetTree
from rebalancer.domain.text import check_visible
from rebalancer.entrypoints.schemas.decoding import collect, decode_file
from rebalancer.entrypoints.schemas.following import FollowingView, following_view
from rebalancer.entrypoints.schemas.parameters import ProfileName, Quantities, Symbols, Weights
from rebalancer.entrypoints.schemas.target_groups import (
    LookThroughFields,
    TargetTreeBody,
    TargetTreeView,
    look_through_of,
    look_through_record,
    target_tree_view,
    tree_record,
)
from rebalancer.entrypoints.schemas.wire import (
    CURRENCY,
    Amount,
    Body,
    Cash,
    DecimalText,
    Fraction,
    NonNegative,
    OneLine,
    OpeningCash,
    View,
    about,
    documented_default,
    format_decimal,
)

if TYPE_CHECKING:
    from rebalancer.application.valuation import ValuedPortfolio

AmountT = TypeVar("AmountT")
FractionT = TypeVar("FractionT")
SymbolsT = TypeVar("SymbolsT")
R = TypeVar("R")

LONGEST_ID = 200
"""Most characters in the id of a portfolio in a file."""

LotMethodName = Literal["fifo", "lifo", "highest_cost", "average_cost", "specific", "uk_pool"]
_Text = Annotated[str, Meta(min_length=1)]
_ANY_CURRENCY = Currency("XXX")
_EMPTY = Portfolio(id="-", currency=_ANY_CURRENCY, cash=Decimal(0), holdings={}, targets={})


_STEP = NonNegative(NO_PREFERENCES.quantity_step)


def _default(value: Any) -> Any:
    """Set the default of a field whose type is open."""
    return field(default_factory=list if value == [] else lambda: value)


class PreferenceFields(Body, Generic[AmountT, FractionT, SymbolsT], frozen=True, kw_only=True):
    """Each preference once; requests, files and responses choose the types of the values."""

    whole_shares: bool = NO_PREFERENCES.whole_shares
    quantity_step: Annotated[AmountT, documented_default("0.0001")] = _default(_STEP)
    min_trade: Annotated[AmountT, documented_default("0")] = _default(NonNegative())
    do_not_sell: SymbolsT = _default([])
    do_not_buy: SymbolsT = _default([])
    max_turnover: FractionT | None = None
    cash_reserve: Annotated[AmountT, documented_default("0")] = _default(NonNegative())
    max_weight: FractionT | None = None
    band: FractionT | None = None
    max_departure: Annotated[FractionT, documented_default(NO_PREFERENCES.max_departure)] = (
        _default(Fraction(NO_PREFERENCES.max_departure))
    )
    skip_unprofitable: bool = NO_PREFERENCES.skip_unprofitable
    sell_remainders: Annotated[
        bool,
        about(
            "Whether a sale that closes a position includes an odd lot and the last fraction of a "
            "share."
        ),
    ] = NO_PREFERENCES.sell_remainders
    lot_method: Annotated[
        LotMethodName, about("Which units sales dispose of, for gains; see docs/gains.md.")
    ] = NO_PREFERENCES.lot_method.value
    max_realised_gain: Annotated[
        AmountT | None,
        about(
            "Most that the sales of a proposal may gain, net of their losses, in the base "
            "currency; null: no limit. See docs/gains.md."
        ),
    ] = None
    max_realised_gain_year: Annotated[
        AmountT | None,
        about(
            "Most that the sales of a tax year may gain, net of losses, with what is realised "
            "already; null: no limit."
        ),
    ] = None


class PreferencesBody(PreferenceFields[NonNegative, Fraction, Symbols], frozen=True, kw_only=True):
    """Rules of the owner for all trades; see docs/rebalancing.md."""

    def preferences(self) -> Preferences:
        """Convert to the domain's preferences."""
        if self is _DEFAULTS:  # most lines of a book
            return NO_PREFERENCES
        values = {name: _to_domain(getattr(self, name)) for name in self.__struct_fields__}
        return Preferences(**values | {"lot_method": LotMethod(self.lot_method)})

    @classmethod
    def broken_rules(cls, name: str, value: Any) -> list[InvalidRequest]:
        """Return the rule of `Preferences` that the field breaks, if any."""
        return collect(Preferences, **{name: _to_domain(value)})


class PreferencesInFile(PreferencesBody, frozen=True, kw_only=True):
    """Preferences in a file: any symbols, and any number of them."""

    do_not_sell: list[_Text] = field(default_factory=list)
    do_not_buy: list[_Text] = field(default_factory=list)


class PreferencesView(
    PreferenceFields[DecimalText, float, list[str]], View, frozen=True, forbid_unknown_fields=False
):
    """Preferences of a portfolio; see `PreferencesBody`."""


class MandateBody(Body, frozen=True, kw_only=True):
    """What a portfolio should become, and by which rules."""

    alternatives = ("targets", "target_groups")

    name: Annotated[OneLine, Meta(min_length=1, max_length=LONGEST_NAME, examples=["Retirement"])]
    targets: Annotated[
        Weights | UnsetType, about("Required, unless target_groups states them.")
    ] = UNSET
    currency: Annotated[
        Annotated[str, Meta(pattern=CURRENCY)] | UnsetType,
        about("Default: that of the prices; of an open portfolio, its own."),
    ] = UNSET
    risk_profile: Annotated[
        ProfileName | UnsetType | None,
        about("Default of a new portfolio: the profile of your assessment; null: no profile."),
    ] = UNSET
    preferences: PreferencesBody = field(default_factory=PreferencesBody)
    acknowledge_limits: Annotated[
        bool, about("The owner accepts that the targets exceed the profile's limits.")
    ] = False
    conversions: Annotated[
        Literal["automatic", "listed"],
        about(
            "automatic: the broker converts money with each order in a foreign currency. listed: "
            "proceeds stay in their currency, and proposals list the conversions to make."
        ),
    ] = "automatic"
    corporate_actions: Annotated[
        Literal["automatic", "confirm"],
        about(
            "automatic: splits, dividends and the like are booked once they are known. confirm: "
            "they wait for the owner, for trades that are made elsewhere."
        ),
    ] = "automatic"
    target_groups: Annotated[
        TargetTreeBody | UnsetType | None,
        about("Targets by asset classes and own groups, instead of targets by symbol."),
    ] = UNSET
    look_through: LookThroughFields = field(default_factory=dict)

    def mandate(self, currency: Currency = _ANY_CURRENCY) -> Mandate:
        """Convert to the domain's mandate, in the given currency unless the body names one."""
        return Mandate(
            name=self.name,
            currency=Currency(self.currency) if isinstance(self.currency, str) else currency,
            targets=self.stated_targets(),
            risk_profile=self.profile,
            preferences=self.preferences.preferences(),
            acknowledge_limits=self.acknowledge_limits,
            conversions=Conversions(self.conversions),
            corporate_actions=ActionBooking(self.corporate_actions),
            target_groups=self.tree(),
            look_through=look_through_of(self.look_through),
        )

    def stated_targets(self) -> dict[str, float]:
        """Return the targets by symbol; nothing if they are stated by groups alone.

        Raises:
            InvalidRequest: they are stated in neither way.
        """
        if isinstance(self.targets, dict):
            return {symbol: float(weight) for symbol, weight in self.targets.items()}
        if isinstance(self.target_groups, TargetTreeBody):
            return {}
        raise InvalidRequest(
            "the field is required, unless target_groups states the targets",
            field="targets",
            code="targets_missing",
        )

    def tree(self) -> TargetTree | None:
        """Return the targets by groups; None without them."""
        groups = self.target_groups
        return groups.tree() if isinstance(groups, TargetTreeBody) else None

    @property
    def profile(self) -> RiskProfile | None:
        """The risk profile; None without one."""
        return RISK_PROFILES[self.risk_profile] if isinstance(self.risk_profile, str) else None

    def check(self) -> None:
        """Apply the rules of `Mandate` and of `Preferences`."""
        self.mandate()

    @classmethod
    def broken_rules(cls, name: str, value: Any) -> list[InvalidRequest]:
        """Return the rules of `Mandate` that the field breaks."""
        if name == "name":
            return collect(Mandate, name=value, currency=_EMPTY.currency, targets={})
        if name == "targets":
            each = _collect_for_each(value, check_targets)
            return each or collect(check_targets, value)
        if name == "target_groups" and isinstance(value, TargetTreeBody):
            return list(chain.from_iterable(map(faults_of, collect(value.tree))))
        if name == "look_through":
            return list(chain.from_iterable(map(faults_of, collect(look_through_of, value))))
        return []


class OpeningBody(MandateBody, frozen=True, kw_only=True):
    """A new portfolio, its initial cash and holdings."""

    cash: Annotated[
        OpeningCash,
        about("In the base currency, or an object of amounts by currency."),
        documented_default("0"),
    ] = field(default_factory=OpeningCash)
    holdings: Quantities = field(default_factory=dict)
    on: Annotated[
        date | None, about("The market day on which it starts; default: the day of the last close.")
    ] = None


_DEFAULTS = PreferencesInFile()


class LotInFile(Body, frozen=True, kw_only=True):
    """Units of a holding that were acquired together."""

    quantity: NonNegative
    cost: Annotated[
        NonNegative | None,
        about("What the units cost in the base currency, trading costs included; null: unknown."),
    ] = None
    acquired: date | None = None

    def lot(self) -> SellableLot:
        """Convert to the domain's lot."""
        cost = None if self.cost is None else Decimal(self.cost)
        return SellableLot(Decimal(self.quantity), cost, self.acquired)


class PortfolioFile(MandateBody, frozen=True, kw_only=True):
    """A portfolio in a JSON file, or on a line of a book."""

    id: Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
    name: _Text = ""
    currency: Annotated[str, Meta(pattern=CURRENCY)]
    cash: Cash
    holdings: dict[str, NonNegative]
    targets: dict[str, Fraction] | UnsetType = UNSET
    risk_profile: ProfileName | UnsetType | None = None
    cash_flow: Amount = field(default_factory=Amount)
    last_rebalance: date | None = None
    preferences: PreferencesInFile = field(default_factory=lambda: _DEFAULTS)
    acknowledge_limits: bool = False
    lots: dict[str, list[LotInFile]] | None = None
    gain_this_year: Amount = field(default_factory=Amount)

    def portfolio(self) -> Portfolio:
        """Convert to the domain's portfolio."""
        cash, foreign_cash = self.cash.split(self.currency)
        targets, tree = self.stated_targets(), self.tree()
        if tree is not None:
            # Checks that targets which are stated, too, are the same.
            targets = dict(self.mandate().targets)
        return Portfolio(
            id=self.id,
            currency=Currency(self.currency),
            cash=cash,
            holdings={
                symbol: Decimal(units)
                for symbol, units in normalize_symbols(self.holdings, field="holdings").items()
            },
            targets=normalize_symbols(targets, field="targets"),
            risk_profile=self.profile,
            cash_flow=Decimal(self.cash_flow),
            last_rebalance=self.last_rebalance,
            preferences=self.preferences.preferences(),
            foreign_cash=foreign_cash,
            conversions=Conversions(self.conversions),
            target_groups=tree,
            look_through=look_through_of(self.look_through),
            lots=self._lots(),
            gain_this_year=Decimal(self.gain_this_year),
        )

    def _lots(self) -> dict[str, tuple[SellableLot, ...]] | None:
        """Return the lots by symbol, in the order in which sales use them."""
        if self.lots is None:
            return None
        method = LotMethod(self.preferences.lot_method)
        return {
            symbol: in_order_of_sale(tuple(one.lot() for one in each), method)
            for symbol, each in normalize_symbols(self.lots, field="lots").items()
        }

    def mandate(self, currency: Currency = _ANY_CURRENCY) -> Mandate:
        """Convert to a mandate; the id names a portfolio without a name."""
        name = unicodedata.normalize("NFC", self.name or self.id)
        check_visible(name, field="name" if self.name else "id")
        named = msgspec.structs.replace(self, name=name)
        return MandateBody.mandate(named, currency)

    @classmethod
    def broken_rules(cls, name: str, value: Any) -> list[InvalidRequest]:
        """Return the rules of `Portfolio` that the field breaks."""
        if name == "holdings":
            return _collect_for_each(value, lambda held: attrs.evolve(_EMPTY, holdings=held))
        checked = ("targets", "target_groups", "look_through")
        return super().broken_rules(name, value) if name in checked else []


def decode_portfolio(
    values: dict[str, Any], *, currency: str, build: Callable[[PortfolioFile], R]
) -> R:
    """Decode a portfolio of a file, as `parse_json` returns it, and build an object of it.

    The currency is the default of the portfolio's.

    Raises:
        InvalidRequest: one field is invalid.
        InvalidFields: several fields are.
    """
    if values.get("currency") is None:
        values = {**values, "currency": currency}
    return decode_file(values, PortfolioFile, build)


def read_portfolio(values: dict[str, Any], *, currency: str) -> Portfolio:
    """Decode a portfolio to propose for; see `decode_portfolio`."""
    return decode_portfolio(values, currency=currency, build=PortfolioFile.portfolio)


def read_weights(values: dict[str, Any]) -> dict[str, float]:
    """Decode target weights by symbol, as `parse_json` returns them.

    Raises:
        InvalidRequest: one weight is not a number.
        InvalidFields: several are not.
    """
    weights = decode_file(values, dict[str, Fraction], dict)
    named = normalize_symbols(weights, field="targets")
    return {symbol: float(weight) for symbol, weight in named.items()}


def portfolio_record(managed: ManagedPortfolio) -> dict[str, Any]:
    """Write a portfolio as JSON values for a file, without fields that are unset."""
    mandate, positions = managed.mandate, managed.positions
    record: dict[str, Any] = {
        "id": str(managed.id),
        "name": mandate.name,
        "currency": mandate.currency.code,
        "cash": _cash_record(managed),
        "holdings": {symbol: format_decimal(units) for symbol, units in positions.holdings.items()},
        "targets": dict(mandate.targets),
    }
    if mandate.risk_profile is not None:
        record["risk_profile"] = mandate.risk_profile.name
    preferences = msgspec.structs.asdict(preferences_view(mandate.preferences))
    record["preferences"] = {k: v for k, v in preferences.items() if v is not None}
    if mandate.acknowledge_limits:
        record["acknowledge_limits"] = True
    if mandate.conversions is not Conversions.AUTOMATIC:
        record["conversions"] = mandate.conversions.value
    if mandate.corporate_actions is not ActionBooking.AUTOMATIC:
        record["corporate_actions"] = mandate.corporate_actions.value
    if mandate.target_groups is not None:
        record["target_groups"] = tree_record(mandate.target_groups)
    if mandate.look_through:
        record["look_through"] = look_through_record(mandate.look_through)
    return record


def _cash_record(managed: ManagedPortfolio) -> str | dict[str, str]:
    """Write cash as an amount, or by currency if there are several."""
    positions = managed.positions
    if not positions.foreign_cash:
        return format_decimal(positions.cash)
    amounts = {managed.mandate.currency.code: positions.cash, **positions.foreign_cash}
    return {code: format_decimal(amount) for code, amount in amounts.items()}


class PositionView(View, frozen=True, kw_only=True):
    """A holding at the last close, or at an earlier price if it has no current one."""

    quantity: DecimalText
    price: Annotated[
        DecimalText | None, about("As traded, in currency; null if no price is known.")
    ]
    currency: Annotated[str | None, about("Currency of the price.")]
    price_date: Annotated[date | None, about("Day of the price.")]
    stale: Annotated[bool, about("Whether the asset has no current price; see notes.")]
    value: Annotated[
        DecimalText | None,
        about("In the base currency; null without a price or an exchange rate."),
    ]
    weight: Annotated[float | None, about("Share of the portfolio's value; null without a value.")]


class PortfolioView(View, frozen=True, kw_only=True):
    """A portfolio at the last close."""

    id: UUID
    version: Annotated[int, about("Counts the changes; the ETag starts with it.")]
    name: str
    currency: Annotated[str, about("The base currency.")]
    targets: dict[str, float]
    risk_profile: str | None
    preferences: PreferencesView
    acknowledge_limits: bool
    conversions: str
    corporate_actions: str
    target_groups: Annotated[
        TargetTreeView | None,
        about("Targets by groups, from which targets follow; null if they are stated by symbol."),
    ]
    look_through: Annotated[
        dict[str, dict[str, float]], about("Fractions of funds in asset classes, by symbol.")
    ]
    following: Annotated[
        FollowingView | None,
        about("The model that states the targets; null if the owner states them."),
    ]
    as_of: Annotated[date | None, about("Day of the last close; null without a value.")]
    value: Annotated[DecimalText | None, about("null if it cannot be computed; see notes.")]
    cash: Annotated[DecimalText, about("In the base currency.")]
    cash_by_currency: Annotated[dict[str, DecimalText], about("All cash, by currency.")]
    uninvested: Annotated[DecimalText, about("Deposits not invested yet; part of cash.")]
    holdings: dict[str, PositionView]
    notes: Annotated[list[str], about("What to know about the value, as sentences.")]
    last_rebalance: date | None
    created: datetime
    changed: datetime


def preferences_view(preferences: Preferences) -> PreferencesView:
    """Show preferences, with symbols in alphabetical order."""
    symbols = {name: sorted(getattr(preferences, name)) for name in ("do_not_sell", "do_not_buy")}
    method = {"lot_method": preferences.lot_method.value}
    return PreferencesView.of(attrs.asdict(preferences, recurse=False) | symbols | method)


def portfolio_view(valued: ValuedPortfolio) -> PortfolioView:
    """Show a portfolio to its owner."""
    managed = valued.portfolio
    mandate, positions = managed.mandate, managed.positions
    currency, total = mandate.currency, valued.value
    holdings = {}
    for symbol, units in positions.holdings.items():
        known = valued.prices.get(symbol)
        value = None if known is None or known.value is None else currency.round(known.value)
        weight = None
        if value is not None and total is not None:
            weight = round(float(value) / float(total), 10) if total else 0.0
        holdings[symbol] = {
            "quantity": units,
            "price": known and known.price,
            "currency": known and known.currency,
            "price_date": known and known.on,
            "stale": known is None or known.stale,
            "value": value,
            "weight": weight,
        }
    return PortfolioView.of(
        attrs.asdict(managed, recurse=False)
        | attrs.asdict(mandate, recurse=False)
        | {
            "currency": currency.code,
            "risk_profile": mandate.risk_profile and mandate.risk_profile.name,
            "preferences": preferences_view(mandate.preferences),
            "target_groups": mandate.target_groups and target_tree_view(mandate.target_groups),
            "look_through": look_through_record(mandate.look_through),
            "following": following_view(managed.following),
            "as_of": valued.as_of,
            "value": total,
            "cash": currency.round(positions.cash),
            "cash_by_currency": {
                code: Currency(code).round(money) for code, money in valued.cash_by_currency.items()
            },
            "uninvested": currency.round(positions.uninvested),
            "holdings": holdings,
            "notes": valued.notes,
            "last_rebalance": positions.last_rebalance,
        }
    )


def _collect_for_each(
    values: dict[str, Any], check: Callable[[dict[str, Any]], object]
) -> list[InvalidRequest]:
    return [fault for key, item in values.items() for fault in collect(check, {key: item})]


def _to_domain(value: Any) -> Any:
    """Convert a value of a schema to the plain type that the domain uses."""
    if isinstance(value, Decimal):
        return Decimal(value)
    if isinstance(value, float):
        return float(value)
    return frozenset(map(normalize_symbol, value)) if isinstance(value, list) else value
