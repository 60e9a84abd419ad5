"""Projections of stored portfolios: answered at once, or run as background jobs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs
import numpy as np

from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.gains import DayRates
from rebalancer.application.idempotency import fingerprint
from rebalancer.application.job_worker import Progress
from rebalancer.application.jobs import SubmitJob
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.rebalance import BuildContext, own_context
from rebalancer.application.reporting.projection import projection_document
from rebalancer.domain.arrays import Floats
from rebalancer.domain.errors import InvalidRequest, NotFound
from rebalancer.domain.jobs.job import Job
from rebalancer.domain.market.frequency import DAYS_A_YEAR
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.costs import cost_model
from rebalancer.domain.portfolio.goals import SavingsGoal
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.projection.flows import RecurringFlow, monthly_payments
from rebalancer.domain.projection.opening import Assumptions, open_projection
from rebalancer.domain.projection.returns import ReturnModel
from rebalancer.domain.projection.simulation import (
    PATHS_TOGETHER,
    Paths,
    Setting,
    simulate_paths,
)
from rebalancer.domain.projection.summary import (
    Chance,
    Goal,
    Projection,
    chance_of,
    summarize_paths,
)

PROJECTION = "projection"
"""Kind of job."""

MOST_PATHS = 100_000
FEWEST_PATHS = 100

QUICK = 400_000
"""Most steps, paths times months, of a projection that is answered at once."""

SLOWER_WITHIN_LIMITS = 5
"""Steps take so many times as long for a portfolio with limits."""

SLOWER_LOOKING_BACK = 50
"""The same for policies that decide by past closes."""

_THREADS = 2

NO_LOTS = "Projections have no lots, so the limit on realised gains does not count in them."
"""Note on portfolios that limit their gains."""


@attrs.frozen
class ProjectionRequest:
    """Request for a projection; all its values can be stored as JSON.

    Attributes:
        policy: Name of the policy that reviews the portfolio every month.
        paths: Number of paths.
        seed: The same seed and inputs give the same result.
        cost_bps: Trading costs in basis points; None: see ``costs``.
        costs: Name of a cost preset; None: ``cost_bps``, or the default.
        goal: What to reach; None: the chance of reaching anything is not computed.
        extra: Deposit a month whose effect is shown; 0: none.
        planned_flows: Whether the planned flows of the portfolio count, besides those stated.

    Raises:
        InvalidRequest: a number is out of range.
    """

    assumptions: Assumptions
    policy: str = "monthly"
    paths: int = 1_000
    seed: int = 0
    cost_bps: float | None = None
    costs: str | None = None
    goal: Goal | None = None
    extra: float = 100.0
    planned_flows: bool = True

    def __attrs_post_init__(self) -> None:
        if not FEWEST_PATHS <= self.paths <= MOST_PATHS:
            raise InvalidRequest(
                f"{self.paths} paths are out of range; enter {FEWEST_PATHS} to {MOST_PATHS:,}",
                field="paths",
                code="paths_out_of_range",
            )
        if not 0 <= self.extra < 1e9:
            raise InvalidRequest(
                f"{self.extra:g} is not a deposit; enter zero or more",
                field="extra",
                code="amount_negative",
            )
        if self.goal is not None:
            self.goal.check_within(self.assumptions.months)

    def to_json(self) -> dict[str, Any]:
        """Return the request as JSON values."""
        document = attrs.asdict(self)
        assumed = document.pop("assumptions")
        flows = [attrs.asdict(flow) for flow in self.assumptions.flows]
        model = self.assumptions.model.value
        return {**document, **assumed, "flows": flows, "model": model}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> ProjectionRequest:
        """Return the request that `to_json` stored."""
        own = {name: stored[name] for name in attrs.fields_dict(cls) if name in stored}
        assumed = {name: stored[name] for name in attrs.fields_dict(Assumptions) if name in stored}
        assumed["flows"] = tuple(RecurringFlow(**flow) for flow in stored["flows"])
        assumed["model"] = ReturnModel(stored["model"])
        own["goal"] = None if stored["goal"] is None else Goal(**stored["goal"])
        return cls(Assumptions(**assumed), **own)


@attrs.frozen(eq=False)
class ProjectionReport:
    """A projection, and what it was made from.

    Attributes:
        setting: What it starts from.
        projection: The distribution of values.
        with_extra: The same with the extra deposit, and the one without it, on equal paths; None
            without an extra deposit.
        goals: Goals of the portfolio within the projection, with the chance of each.
        notes: What readers should know, as sentences.
    """

    request: ProjectionRequest
    setting: Setting
    projection: Projection
    with_extra: tuple[Projection, Projection] | None
    goals: tuple[tuple[SavingsGoal, Goal, Chance], ...]
    notes: tuple[str, ...]

    @property
    def document(self) -> dict[str, Any]:
        """Figures as JSON values."""
        return projection_document(
            self.projection,
            self.setting,
            goal=self.request.goal,
            extra=self.request.extra,
            with_extra=self.with_extra,
            goals=self.goals,
            notes=self.notes,
        )


@attrs.frozen(eq=False)
class OpenedProjection:
    """A projection to run.

    Attributes:
        setting: What it starts from.
        goals: Goals of the portfolio.
        notes: What readers should know about the portfolio, as sentences.
    """

    setting: Setting
    goals: tuple[SavingsGoal, ...] = ()
    notes: tuple[str, ...] = ()


def run_projection(
    opened: OpenedProjection,
    request: ProjectionRequest,
    *,
    progress: Callable[[float], None] = lambda _: None,
) -> ProjectionReport:
    """Simulate and summarize a projection; ``progress`` receives the finished share."""
    setting = opened.setting
    extra_paths = min(request.paths, 10 * setting.paths_together, PATHS_TOGETHER)
    extra_paths = extra_paths if request.extra else 0
    total = request.paths + extra_paths

    def summarize(paths: Paths, flows: Floats) -> Projection:
        inflation = request.assumptions.inflation
        return summarize_paths(paths, flows, inflation=inflation, goal=request.goal)

    with ThreadPoolExecutor(_THREADS) as pool:
        paths = simulate_paths(
            setting,
            request.paths,
            seed=request.seed,
            mapper=pool.map,
            progress=lambda done: progress(done / total),
        )
    with_extra = None
    if extra_paths:
        more = attrs.evolve(setting, flows=setting.flows + request.extra)
        helped = simulate_paths(more, extra_paths, seed=request.seed)
        alike = paths.first(extra_paths)
        with_extra = summarize(helped, more.flows), summarize(alike, setting.flows)
    projection = summarize(paths, setting.flows)
    goals = tuple(
        (goal, one, chance_of(one, paths, inflation=request.assumptions.inflation))
        for goal in opened.goals
        if (one := _goal_within(goal, setting, request)) is not None
    )
    return ProjectionReport(request, setting, projection, with_extra, goals, opened.notes)


def _goal_within(goal: SavingsGoal, setting: Setting, request: ProjectionRequest) -> Goal | None:
    """Return a goal of the portfolio in terms of the projection; None if it is not within it.

    Money of the day on which the goal was set becomes money of today.
    """
    by = np.datetime64(goal.by, "D")
    month = int(np.searchsorted(setting.days, by, side="right")) - 1
    if not 1 <= month <= setting.months or by > setting.days[-1]:
        return None
    passed = max((setting.start - goal.set_on).days / DAYS_A_YEAR, 0.0)
    risen = 1.0 if goal.nominal else (1.0 + request.assumptions.inflation) ** passed
    return Goal(float(goal.amount) * risen, month, goal.nominal)


def _rates(
    portfolio: ManagedPortfolio, market: PriceHistory
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the exchange rates of planned flows, and sentences about unknown ones."""
    base = portfolio.mandate.currency.code
    rates = DayRates(market, base)
    found = {base: 1.0}
    unknown = []
    codes = {flow.currency for flow in portfolio.plan.flows if flow.currency is not None} - {base}
    for code in sorted(codes):
        rate = rates(code, market.last_date)
        if rate is None:
            unknown.append(
                f"Planned flows in {code} are left out: it has no exchange rate to {base}."
            )
        else:
            found[code] = float(rate)
    return found, tuple(unknown)


@attrs.frozen
class ProjectPortfolio:
    """Project the value of a stored portfolio."""

    work: UnitOfWork
    prices: PriceSource
    build_context: BuildContext
    book: BookActions
    clock: Clock

    def __call__(
        self,
        portfolio_id: UUID,
        request: ProjectionRequest,
        *,
        actor: UUID,
        progress: Callable[[float], None] = lambda _: None,
    ) -> ProjectionReport:
        """Return the projection of a portfolio that the actor may read.

        ``progress`` receives the finished share.

        Raises:
            NotFound: the portfolio does not exist for this account.
            InvalidRequest: the policy or an assumption does not fit the portfolio; names the field.
            PricesUnavailable: the provider did not answer.
        """
        opened = self.open(portfolio_id, request, actor=actor)
        return run_projection(opened, request, progress=progress)

    def open(
        self, portfolio_id: UUID, request: ProjectionRequest, *, actor: UUID
    ) -> OpenedProjection:
        """Prepare a projection of a portfolio, with its goals and planned flows.

        Raises:
            NotFound, InvalidRequest, PricesUnavailable: as a call.
        """
        latest = self.prices.closes()
        with self.work.read() as tx:
            stored = tx.portfolios.get_for(portfolio_id, actor)
        booked = self.book(stored, latest)
        portfolio = booked.portfolio
        context = self.build_context(
            policy_name=request.policy,
            costs=cost_model(request.cost_bps, request.costs),
            currency=portfolio.mandate.currency.code,
        )
        today = self.clock().date()
        setting = open_projection(
            portfolio.snapshot().without_gain_limits(),
            own_context(portfolio, context, self.work),
            request.assumptions,
            start=today,
        )
        limited = portfolio.mandate.preferences.limits_gains
        notes = (*booked.notes, *([NO_LOTS] if limited else []))
        if request.planned_flows and portfolio.plan:
            rates, unknown = _rates(portfolio, latest)
            planned = monthly_payments(portfolio.plan, today, setting.days, rates)
            setting = attrs.evolve(setting, flows=setting.flows + planned)
            notes = (*notes, *unknown)
        return OpenedProjection(setting, portfolio.goals, notes)


def is_quick(request: ProjectionRequest, setting: Setting) -> bool:
    """Return whether a projection may be answered at once."""
    slower = SLOWER_WITHIN_LIMITS if setting.book.limits.bind else 1
    if setting.looks_back:
        slower = SLOWER_LOOKING_BACK
    return request.paths * setting.months * slower <= QUICK


@attrs.frozen
class StartProjection:
    """Answer a projection at once if it is small, otherwise submit it as a background job."""

    project: ProjectPortfolio
    submit: SubmitJob

    def __call__(
        self,
        portfolio_id: UUID,
        request: ProjectionRequest,
        *,
        key: str | None = None,
        id: UUID,
        actor: UUID,
        now: datetime,
    ) -> tuple[ProjectionReport | Job, bool]:
        """Return the projection or the job that computes it, and whether a request is repeated.

        A new job gets the id.

        ``key`` is the caller's idempotency key; it matters for jobs only, because an answer that is
        computed at once is the same each time.

        Raises:
            NotFound, InvalidRequest, PricesUnavailable: as `ProjectPortfolio`.
            Conflict: as `SubmitJob.once`.
            Unavailable: too many jobs are waiting, or the queue does not answer.
        """
        opened = self.project.open(portfolio_id, request, actor=actor)
        if is_quick(request, opened.setting):
            return run_projection(opened, request), False
        stored = request.to_json() | {"portfolio": str(portfolio_id)}
        asked = fingerprint(PROJECTION, json.dumps(stored, sort_keys=True))
        job = Job.new(PROJECTION, stored, id=id, owner=actor, now=now)
        return self.submit.once(job, owner=actor, key=key, fingerprint=asked, now=now)


@attrs.frozen
class ReadProjection:
    """Read a projection that runs, or ran, as a job."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, portfolio_id: UUID, owner: UUID) -> Job:
        """Return the job.

        Raises:
            NotFound: it does not exist, is not a projection of the portfolio, or belongs to another
                user.
        """
        with self.work.read() as tx:
            job = tx.jobs.get(id, owner=owner)
        if job.kind != PROJECTION or job.request.get("portfolio") != str(portfolio_id):
            raise NotFound(f"projection {id} does not exist", code="projection_not_found")
        return job


@attrs.frozen
class DoProjection:
    """Compute the projection of a background job."""

    project: ProjectPortfolio

    def __call__(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """Return the figures of a `ProjectionReport`.

        Raises:
            RebalancerError: as `ProjectPortfolio`.
        """
        assert job.owner is not None  # only accounts request projections
        report = self.project(
            UUID(job.request["portfolio"]),
            ProjectionRequest.from_json(job.request),
            actor=job.owner,
            progress=progress,
        )
        return report.document
