"""Projections of a portfolio, in requests and responses."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from rebalancer.application.projection import (
    FEWEST_PATHS,
    MOST_PATHS,
    ProjectionReport,
    ProjectionRequest,
)
from rebalancer.domain.jobs.job import Job, JobState
from rebalancer.domain.projection.flows import INTERVALS, RecurringFlow
from rebalancer.domain.projection.opening import LONGEST, Assumptions
from rebalancer.domain.projection.returns import ReturnModel
from rebalancer.domain.projection.summary import Goal
from rebalancer.entrypoints.schemas.parameters import CostBps, CostPreset, PolicyName
from rebalancer.entrypoints.schemas.wire import (
    MOST_ASSETS,
    Body,
    Bounded,
    Symbol,
    View,
    about,
    documented_default,
)

_MOST_FLOWS = 50


class YearlyRate(Bounded):
    """A rate a year, as a fraction."""

    low, high = -0.5, 1.0


class FlowAmount(Bounded):
    """A deposit (+) or a withdrawal (-)."""

    low, high = -1e12, 1e12


class PositiveAmount(Bounded):
    """An amount of zero or more."""

    low, high = 0.0, 1e12


class FlowBody(Body, frozen=True, kw_only=True):
    """A deposit or withdrawal that recurs, paid at the start of a month."""

    amount: Annotated[
        FlowAmount, about("Deposit, or withdrawal if negative, in money of the first month.")
    ]
    every: Annotated[int, about(f"Months between payments: {', '.join(map(str, INTERVALS))}.")] = 1
    first: Annotated[int, Meta(ge=1, le=LONGEST), about("Month of the first payment, from 1.")] = 1
    last: Annotated[
        Annotated[int, Meta(ge=1)] | None, about("Last month of a payment. Default: to the end.")
    ] = None
    growth: Annotated[YearlyRate, about("Growth of the amount a year."), documented_default(0)] = (
        msgspec.field(default_factory=YearlyRate)
    )


class GoalBody(Body, frozen=True, kw_only=True):
    """An amount to have by a month."""

    amount: Annotated[PositiveAmount, Meta(examples=[250_000])]
    month: Annotated[
        Annotated[int, Meta(ge=1, le=LONGEST)] | None,
        about("Months from now. Default: the last one."),
    ] = None
    nominal: Annotated[bool, about("Whether the amount is money of that month, not of today.")] = (
        False
    )


class ProjectionBody(Body, frozen=True, kw_only=True):
    """What to project, and what to assume."""

    months: Annotated[int, Meta(ge=1, le=LONGEST, examples=[120])] = 360
    policy: Annotated[PolicyName, about("Reviews the portfolio every month.")] = "monthly"
    flows: Annotated[list[FlowBody], Meta(max_length=_MOST_FLOWS)] = msgspec.field(
        default_factory=list
    )
    goal: GoalBody | None = None
    extra: Annotated[
        PositiveAmount,
        about("Further deposit a month whose effect is shown; 0 for none."),
        documented_default(100),
    ] = msgspec.field(default_factory=lambda: PositiveAmount(100))
    planned_flows: Annotated[
        bool, about("Whether the planned flows of the portfolio count, besides flows.")
    ] = True
    model: Annotated[
        ReturnModel,
        about("bootstrap: blocks of history. lognormal: independent months."),
    ] = ReturnModel.BOOTSTRAP
    uncertain_means: Annotated[
        bool, about("Whether paths differ in their expected returns, which history barely knows.")
    ] = True
    expected_returns: Annotated[
        dict[Symbol, YearlyRate],
        Meta(max_length=MOST_ASSETS),
        about("Expected return a year by symbol. Default: the mean of history."),
    ] = msgspec.field(default_factory=dict)
    cash_rate: Annotated[YearlyRate, about("Interest on cash a year."), documented_default(0)] = (
        msgspec.field(default_factory=YearlyRate)
    )
    inflation: Annotated[
        YearlyRate, about("Growth of prices a year."), documented_default(0.02)
    ] = msgspec.field(default_factory=lambda: YearlyRate(0.02))
    paths: Annotated[int, Meta(ge=FEWEST_PATHS, le=MOST_PATHS)] = 1_000
    seed: Annotated[
        int, Meta(ge=0, lt=2**32), about("The same seed and inputs give the same result.")
    ] = 0
    cost_bps: CostBps = None
    costs: CostPreset = None

    def request(self) -> ProjectionRequest:
        """Convert to what the application computes.

        Raises:
            InvalidRequest: a value is out of range; names the field.
        """
        goal = self.goal
        return ProjectionRequest(
            Assumptions(
                months=self.months,
                model=self.model,
                uncertain_means=self.uncertain_means,
                expected_returns={one: float(rate) for one, rate in self.expected_returns.items()},
                cash_rate=float(self.cash_rate),
                inflation=float(self.inflation),
                flows=tuple(
                    RecurringFlow(
                        float(flow.amount), flow.every, flow.first, flow.last, float(flow.growth)
                    )
                    for flow in self.flows
                ),
            ),
            policy=self.policy,
            paths=self.paths,
            seed=self.seed,
            cost_bps=None if self.cost_bps is None else float(self.cost_bps),
            costs=self.costs,
            goal=None
            if goal is None
            else Goal(float(goal.amount), goal.month or self.months, goal.nominal),
            extra=float(self.extra),
            planned_flows=self.planned_flows,
        )


_SERIES = about("Now, and at the end of each month.")
_PERCENTILES = about("Percentiles p5, p10, p25, p50, p75, p90 and p95 of the value over time.")


class ChanceView(View, frozen=True, kw_only=True):
    """A probability that is estimated from paths."""

    probability: float
    standard_error: Annotated[float, about("Of the simulation, not of its assumptions.")]


class GoalChanceView(ChanceView, frozen=True, kw_only=True):
    """The chance of reaching a goal."""

    amount: float
    month: int
    nominal: bool


class OwnGoalView(GoalChanceView, frozen=True, kw_only=True):
    """The chance of reaching a goal of the portfolio."""

    name: str
    by: date


class ExtraView(View, frozen=True, kw_only=True):
    """What a further deposit a month would change."""

    amount: float
    median_gain_real: Annotated[float, about("Of the final value, in money of today.")]
    goal_before: Annotated[float | None, about("Chance of the goal on the same paths.")]
    goal_after: float | None


class ProjectionResult(View, frozen=True, kw_only=True):
    """Distribution of what the portfolio may be worth; amounts in its base currency."""

    currency: str
    policy: str
    model: str
    months: int
    paths: int
    dates: Annotated[list[date], _SERIES]
    fan: Annotated[dict[str, list[float]], _PERCENTILES]
    real_fan: Annotated[dict[str, list[float]], about("The same in money of today.")]
    paid_in: Annotated[list[float], about("Deposits less withdrawals until then.")]
    mean: Annotated[list[float], _SERIES]
    prices: Annotated[list[float], about("Price level; 1 now.")]
    worst_decile: Annotated[float, about("Mean final value of the worst tenth of the paths.")]
    worst_decile_real: float
    goal: Annotated[GoalChanceView | None, about("Of the request.")]
    goals: Annotated[
        list[OwnGoalView],
        about("Goals of the portfolio within the projection, in money of today unless nominal."),
    ]
    exhausted: Annotated[ChanceView, about("Chance that a withdrawal cannot be paid in full.")]
    exhausted_year: Annotated[
        float | None, about("Median year of that, on the paths on which it happens.")
    ]
    costs: Annotated[float, about("Mean costs of trading, in all.")]
    turnover_per_year: float
    expected_return: Annotated[float, about("Expected return of the targets a year.")]
    expected_return_error: Annotated[
        float, about("Standard error of that, from so many years of history.")
    ]
    years_of_history: float
    extra: ExtraView | None
    notes: list[str]


class ProjectionView(View, frozen=True, kw_only=True):
    """A projection: its progress, then its result."""

    id: Annotated[UUID | None, about("Of the job; null if the answer was computed at once.")]
    state: JobState
    progress: Annotated[float, Meta(ge=0, le=1)]
    created: datetime
    finished: datetime | None
    result: ProjectionResult | None
    error: str | None

    @classmethod
    def of_job(cls, job: Job) -> ProjectionView:
        """Show a job."""
        return cls(
            id=job.id,
            state=job.state,
            progress=job.progress,
            created=job.created,
            finished=job.finished,
            result=None if job.result is None else _result(dict(job.result)),
            error=job.error,
        )

    @classmethod
    def of_report(cls, report: ProjectionReport, now: datetime) -> ProjectionView:
        """Show a projection that was computed at once."""
        return cls(
            id=None,
            state=JobState.SUCCEEDED,
            progress=1.0,
            created=now,
            finished=now,
            result=_result(report.document),
            error=None,
        )


def _result(document: dict[str, Any]) -> ProjectionResult:
    return msgspec.convert(document, ProjectionResult)
