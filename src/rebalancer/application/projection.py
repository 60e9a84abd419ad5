"""Projections of stored portfolios: answered at once, or run as background jobs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from rebalancer.application.corporate_actions import BookActions
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
from rebalancer.domain.portfolio.costs import cost_model
from rebalancer.domain.projection.flows import RecurringFlow
from rebalancer.domain.projection.opening import Assumptions, open_projection
from rebalancer.domain.projection.returns import ReturnModel
from rebalancer.domain.projection.simulation import (
    PATHS_TOGETHER,
    Paths,
    Setting,
    simulate_paths,
)
from rebalancer.domain.projection.summary import Goal, Projection, summarize_paths

PROJECTION = "projection"
"""Kind of job."""

MOST_PATHS = 100_000
FEWEST_PATHS = 100

QUICK = 400_000
"""Most steps, paths times months, of a projection that is answered at once."""

SLOWER_WITHIN_LIMITS = 5
"""Steps take so many times as long for a portfolio with limits."""

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
        months = self.assumptions.months
        if self.goal is not None and not 1 <= self.goal.month <= months:
            raise InvalidRequest(
                f"month {self.goal.month} is not within the projection of {months} months; enter 1 "
                f"to {months}",
                field="goal.month",
                code="goal_after_projection",
            )

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
        notes: What readers should know, as sentences.
    """

    request: ProjectionRequest
    setting: Setting
    projection: Projection
    with_extra: tuple[Projection, Projection] | None
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
            notes=self.notes,
        )


def run_projection(
    setting: Setting,
    request: ProjectionRequest,
    notes: tuple[str, ...] = (),
    *,
    progress: Callable[[float], None] = lambda _: None,
) -> ProjectionReport:
    """Simulate and summarize a projection; ``progress`` receives the finished share."""
    extra_paths = min(request.paths, PATHS_TOGETHER) if request.extra else 0
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
    return ProjectionReport(request, setting, projection, with_extra, notes)


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
        setting, notes = self.open(portfolio_id, request, actor=actor)
        return run_projection(setting, request, notes, progress=progress)

    def open(
        self, portfolio_id: UUID, request: ProjectionRequest, *, actor: UUID
    ) -> tuple[Setting, tuple[str, ...]]:
        """Prepare a projection, and return what readers should know about the portfolio.

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
        setting = open_projection(
            portfolio.snapshot().without_gain_limits(),
            own_context(portfolio, context, self.work),
            request.assumptions,
            start=self.clock().date(),
        )
        limited = portfolio.mandate.preferences.limits_gains
        return setting, (*booked.notes, *([NO_LOTS] if limited else []))


def is_quick(request: ProjectionRequest, setting: Setting) -> bool:
    """Return whether a projection may be answered at once."""
    steps = request.paths * setting.months
    return steps * (SLOWER_WITHIN_LIMITS if setting.book.limits.bind else 1) <= QUICK


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
    ) -> ProjectionReport | Job:
        """Return the projection, or the job that computes it, with the id.

        ``key`` is the caller's idempotency key; it matters for jobs only, because an answer that is
        computed at once is the same each time.

        Raises:
            NotFound, InvalidRequest, PricesUnavailable: as `ProjectPortfolio`.
            Conflict: as `SubmitJob.once`.
            Unavailable: too many jobs are waiting, or the queue does not answer.
        """
        setting, _ = self.project.open(portfolio_id, request, actor=actor)
        if is_quick(request, setting):
            return self.project(portfolio_id, request, actor=actor)
        stored = request.to_json() | {"portfolio": str(portfolio_id)}
        asked = fingerprint(PROJECTION, json.dumps(stored, sort_keys=True))
        job = Job.new(PROJECTION, stored, id=id, owner=actor, now=now)
        submitted, _ = self.submit.once(job, owner=actor, key=key, fingerprint=asked, now=now)
        return submitted


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
