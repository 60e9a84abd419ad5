"""Trainings and batch runs as jobs, which operators submit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import attrs

from rebalancer.application.atomic_files import write_atomically
from rebalancer.application.batch import ProposeForEveryone
from rebalancer.application.job_worker import Progress
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.rebalance import BuildContext
from rebalancer.application.reporting.training import training_document
from rebalancer.application.training import TrainPolicy, TrainRequest
from rebalancer.domain.jobs.job import Job
from rebalancer.domain.policy.training import CurvePoint, TrainingPlan
from rebalancer.domain.portfolio.costs import cost_model

TRAIN, BATCH = "train", "batch"
"""Kinds of jobs."""


@attrs.frozen
class TrainJobRequest:
    """Request of a training job.

    Attributes:
        request: Request of `TrainPolicy`; each job gets a folder below its folder.
        panels: Sources of prices by name of the data.
        cautions: Cautions for readers of the results.
        layout: Layout of price files; None: as the worker's settings have it.
    """

    request: TrainRequest
    panels: Mapping[str, Path]
    cautions: tuple[str, ...] = ()
    layout: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the request as JSON values."""
        request = self.request
        return attrs.asdict(request, recurse=False) | {
            "plan": attrs.asdict(request.plan) | {"seeds": list(request.plan.seeds)},
            "out": str(request.out),
            "until": request.until and request.until.isoformat(),
            "panels": {name: str(path) for name, path in self.panels.items()},
            "cautions": list(self.cautions),
            **({} if self.layout is None else {"layout": self.layout}),
        }

    @classmethod
    def from_job(cls, job: Job) -> TrainJobRequest:
        """Return the request of a job.

        Seeds are trained one after the other, because worker processes would survive the job's
        process if it is killed.
        """
        values = dict(job.request)
        panels, cautions = values.pop("panels"), values.pop("cautions")
        layout = values.pop("layout", None)  # not in jobs of earlier versions
        values["plan"] = TrainingPlan(
            **values["plan"] | {"seeds": tuple(values["plan"]["seeds"]), "workers": 1}
        )
        values["until"] = values["until"] and date.fromisoformat(values["until"])
        values["out"] = Path(values["out"]) / str(job.id)
        return cls(
            TrainRequest(**values),
            {name: Path(path) for name, path in panels.items()},
            tuple(cautions),
            layout,
        )


@attrs.frozen
class TrainJobHandler:
    """Runs training jobs."""

    train: TrainPolicy
    prices: Callable[[Path, str | None], PriceSource]
    clock: Clock

    def __call__(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """Return the `training_document`; a later attempt continues an interrupted one.

        Raises:
            RebalancerError: as `TrainPolicy`.
        """
        job_request = TrainJobRequest.from_job(job)
        plan, result_file = job_request.request.plan, job_request.request.out / "made.json"
        if result_file.exists():  # an earlier attempt was interrupted after its last step
            stored: dict[str, Any] = json.loads(result_file.read_text(encoding="utf-8"))
            return stored
        shares: dict[tuple[int, str], float] = {}
        stages = len(plan.seeds) * (2 if plan.warm_start else 1)

        def report(point: CurvePoint) -> None:
            shares[point.seed, point.stage] = point.at / max(point.of, 1)
            progress(sum(shares.values()) / stages)

        result = training_document(
            self.train(
                {
                    name: self.prices(path, job_request.layout)
                    for name, path in job_request.panels.items()
                },
                job_request.request,
                now=self.clock(),
                cautions=job_request.cautions,
                tried=lambda _: progress(0.0),
                drawn=lambda _: progress(0.0),
                progress=report,
                again=job.attempts > 1,
            )
        )
        write_atomically(result_file, json.dumps(result, allow_nan=False).encode())
        return result


@attrs.frozen
class BatchJobRequest:
    """Request of a batch job, as JSON values.

    Attributes:
        prices: Source of prices, as on the command line; ``assets``: of instruments.
        layout: Layout of the price file; None: as the worker's settings have it.
        cost_bps: Basis points of traded value; None: as the preset ``costs`` or the default.
        periods_per_year: Closes that count as a year; None: as the dates have.
        fx_spread_bps: Basis points of converted amounts; None: as the preset has.
    """

    policy: str
    as_of: str
    currency: str
    prices: str
    cost_bps: float | None = None
    costs: str | None = None
    assets: str | None = None
    periods_per_year: float | None = None
    layout: str | None = None
    fx_spread_bps: float | None = None


BatchServices = Callable[[Path, Path | None, str | None], tuple[BuildContext, ProposeForEveryone]]
"""Returns the use cases of a batch run over prices, instruments and a layout of the prices."""


@attrs.frozen
class BatchJobHandler:
    """Runs batch jobs."""

    services: BatchServices
    clock: Clock

    def __call__(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """Return the counts of the run, whose id is the job's; a later attempt continues it.

        Raises:
            RebalancerError: as `BuildContext` and `ProposeForEveryone`.
        """
        request = BatchJobRequest(**job.request)
        assets = None if request.assets is None else Path(request.assets)
        build_context, propose = self.services(Path(request.prices), assets, request.layout)
        context = build_context(
            policy_name=request.policy,
            costs=cost_model(request.cost_bps, request.costs, request.fx_spread_bps),
            currency=request.currency,
            as_of=date.fromisoformat(request.as_of),
        )
        if request.periods_per_year is not None:
            market = context.market.at_frequency(request.periods_per_year)
            context = attrs.evolve(context, market=market)
        now = self.clock()
        run = propose.begin(context, id=job.id, now=now)
        done = run.done

        def report(finished: int) -> None:
            nonlocal done
            done += finished > 0  # 0 while the run waits
            progress(done / max(run.chunks, 1))

        propose.run_chunks(run.id, context, now=now, progress=report)
        run = propose.read(run.id)
        return {
            "run": str(run.id),
            "policy": run.policy,
            "as_of": run.as_of.isoformat(),
            "proposed": run.proposed,
            "nothing_to_do": run.nothing,
            "failed": run.failed,
        }
