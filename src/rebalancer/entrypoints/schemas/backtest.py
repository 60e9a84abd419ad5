"""A backtest, in requests and responses."""

from __future__ import annotations

from datetime import date, datetime
from itertools import chain
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, field

from rebalancer.application.backtests import BacktestRequest
from rebalancer.domain.backtest.universe import Unlisted
from rebalancer.domain.errors import InvalidRequest, faults_of
from rebalancer.domain.jobs.job import JobState
from rebalancer.domain.portfolio.portfolio import check_targets
from rebalancer.domain.portfolio.risk import DEFAULT_PROFILE
from rebalancer.entrypoints.schemas.decoding import collect
from rebalancer.entrypoints.schemas.parameters import (
    CostBps,
    CostPreset,
    FxSpread,
    PolicyName,
    ProfileName,
    Weights,
)
from rebalancer.entrypoints.schemas.target_groups import (
    LookThroughFields,
    TargetTreeBody,
    look_through_of,
)
from rebalancer.entrypoints.schemas.wire import (
    CURRENCY,
    Body,
    Capital,
    ClosesPerYear,
    Fraction,
    Symbol,
    View,
    about,
    documented_default,
)

_CAPITAL = BacktestRequest(policies=()).capital


class BacktestBody(Body, frozen=True, kw_only=True):
    """Policies to test, and the conditions."""

    policies: Annotated[
        list[PolicyName], Meta(min_length=1, max_length=20, examples=[["monthly", "band"]])
    ]
    targets: Annotated[Weights | None, about("Default: equal weights of all assets.")] = None
    target_groups: Annotated[
        TargetTreeBody | None, about("Targets by asset classes and own groups, instead of targets.")
    ] = None
    look_through: LookThroughFields = field(default_factory=dict)
    first: Annotated[date | None, about("Start of the period.")] = field(default=None, name="from")
    last: Annotated[date | None, about("End of the period.")] = field(default=None, name="to")
    cost_bps: CostBps = None
    costs: CostPreset = None
    fx_spread_bps: FxSpread = None
    risk_free: Annotated[
        Fraction, about("Annual interest rate of cash."), documented_default(0)
    ] = field(default_factory=Fraction)
    risk_free_symbol: Annotated[
        Symbol | None,
        about("Instead of a rate: an asset whose returns cash earns. It is then not traded."),
    ] = None
    capital: Annotated[Capital, documented_default(_CAPITAL)] = field(
        default_factory=lambda: Capital(_CAPITAL)
    )
    whole_shares: Annotated[
        bool, about("Trade whole shares, or the lots and quantity steps of instruments.")
    ] = False
    quantity_step: Annotated[
        float,
        Meta(gt=0),
        about("With whole_shares: smallest quantity of assets without a step of their own."),
    ] = 1.0
    max_departure: Annotated[
        Fraction,
        about("Most one-way distance of a policy's weights from the targets."),
        documented_default(1),
    ] = field(default_factory=lambda: Fraction(1))
    risk_profile: Annotated[
        ProfileName, about("Learned policies use the risk aversion of this profile.")
    ] = DEFAULT_PROFILE
    keep_limits: Annotated[
        bool, about("Apply the limits of the profile to every policy, as in proposals.")
    ] = False
    periods_per_year: Annotated[
        ClosesPerYear | None,
        about("Closes that count as a year, such as 252. Default: as the prices have."),
    ] = None
    currency: Annotated[
        Annotated[str, Meta(pattern=CURRENCY)] | None,
        about("Base currency, into which prices are converted. Default: that of the server."),
    ] = None
    unlisted: Annotated[
        Unlisted,
        about("Where the target of an asset goes while it has no current price."),
    ] = Unlisted.OTHERS

    def check(self) -> None:
        """Reject targets that are not weights, and two sources of the risk-free rate."""
        if self.targets is not None:
            check_targets(self.targets)
            if self.target_groups is not None:
                raise InvalidRequest(
                    "the targets are stated by symbol and by groups; leave out one of them",
                    field="targets",
                    code="targets_stated_twice",
                )
        if self.target_groups is not None:
            self.target_groups.tree()
        look_through_of(self.look_through)
        if self.risk_free and self.risk_free_symbol is not None:
            raise InvalidRequest(
                "both a rate and a symbol are given; send only one of them",
                field="risk_free_symbol",
                code="conflicting_fields",
            )

    @classmethod
    def broken_rules(cls, name: str, value: Any) -> list[InvalidRequest]:
        """Return the rule that the targets break, if any."""
        if name == "target_groups" and value is not None:
            return list(chain.from_iterable(map(faults_of, collect(value.tree))))
        if name == "look_through":
            return list(chain.from_iterable(map(faults_of, collect(look_through_of, value))))
        return collect(check_targets, value) if name == "targets" and value is not None else []

    def request(self) -> BacktestRequest:
        """Convert to what the application stores and runs."""
        return BacktestRequest(
            policies=tuple(self.policies),
            cost_bps=None if self.cost_bps is None else float(self.cost_bps),
            costs=self.costs,
            fx_spread_bps=None if self.fx_spread_bps is None else float(self.fx_spread_bps),
            targets=self.targets and {s: float(w) for s, w in self.targets.items()},
            first=self.first,
            last=self.last,
            risk_free=self.risk_free_symbol or float(self.risk_free),
            capital=float(self.capital),
            as_live=self.whole_shares,
            quantity_step=self.quantity_step,
            max_departure=float(self.max_departure),
            risk_profile=self.risk_profile,
            keep_limits=self.keep_limits,
            periods_per_year=self.periods_per_year and float(self.periods_per_year),
            unlisted=self.unlisted,
            currency=self.currency,
            target_groups=None if self.target_groups is None else self.target_groups.tree(),
            look_through=look_through_of(self.look_through),
        )


class BacktestView(View, frozen=True, kw_only=True):
    """A backtest: its progress, then its results."""

    id: UUID
    state: JobState
    progress: Annotated[float, Meta(ge=0, le=1)]
    created: datetime
    finished: datetime | None
    request: dict[str, Any]
    result: Annotated[dict[str, Any] | None, about("Figures by policy.")]
    error: str | None


class SeriesView(View, frozen=True, kw_only=True):
    """Values of policies over time."""

    id: UUID
    dates: list[date]
    values: Annotated[dict[str, list[float]], about("By policy: its value on each date.")]
