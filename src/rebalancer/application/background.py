"""Trainings and batches as jobs: what operators leave to others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import attrs

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
    """A training as it is asked for and kept.

    Attributes:
        request: As `TrainPolicy` takes it; below its folder each job has one of its own.
        panels: Where prices are, by the name of their data.
        cautions: What a reader must know.
    """

    request: TrainRequest
    panels: Mapping[str, Path]
    cautions: tuple[str, ...] = ()

    def kept(self) -> dict[str, Any]:
        """As JSON values."""
        request = self.request
        return {
            "plan": attrs.asdict(request.plan) | {"seeds": list(request.plan.seeds)},
            "name": request.name,
            "out": str(request.out),
            "command": request.command,
            "until": request.until and request.until.isoformat(),
            "cash": request.cash,
            "fit_regimes": request.fit_regimes,
            "recorded": request.recorded,
            "panels": {name: str(path) for name, path in self.panels.items()},
            "cautions": list(self.cautions),
        }

    @classmethod
    def of(cls, job: Job) -> TrainJobRequest:
        """From JSON values, as `kept` gave them.

        Seeds are trained one after the other, as processes of a process that is killed would go on.
        """
        kept = dict(job.request)
        panels, cautions = kept.pop("panels"), kept.pop("cautions")
        plan = TrainingPlan(**kept["plan"] | {"seeds": tuple(kept["plan"]["seeds"]), "workers": 1})
        until = kept["until"] and date.fromisoformat(kept["until"])
        out = Path(kept["out"]) / str(job.id)
        return cls(
            TrainRequest(**kept | {"plan": plan, "until": until, "out": out}),
            {name: Path(path) for name, path in panels.items()},
            tuple(cautions),
        )


@attrs.frozen
class TrainJobHandler:
    """Train a policy that was asked for as a job."""

    train: TrainPolicy
    prices: Callable[[Path], PriceSource]
    clock: Clock

    def __call__(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """What was made, see `training_document`; an attempt goes on where one before was cut off.

        Raises:
            RebalancerError: as `TrainPolicy`.
        """
        order = TrainJobRequest.of(job)
        plan, noted = order.request.plan, order.request.out / "made.json"
        if noted.exists():  # an attempt before was cut off after all was done
            made: dict[str, Any] = json.loads(noted.read_text(encoding="utf-8"))
            return made
        shares: dict[tuple[int, str], float] = {}
        parts = len(plan.seeds) * (2 if plan.warm_start else 1)

        def point(point: CurvePoint) -> None:
            shares[point.seed, point.stage] = point.at / max(point.of, 1)
            progress(sum(shares.values()) / parts)

        result = training_document(
            self.train(
                {name: self.prices(path) for name, path in order.panels.items()},
                order.request,
                now=self.clock(),
                cautions=order.cautions,
                tried=lambda _: progress(0.0),
                drawn=lambda _: progress(0.0),
                progress=point,
                again=job.attempts > 1,
            )
        )
        whole = noted.with_suffix(".new")
        whole.write_text(json.dumps(result, allow_nan=False), encoding="utf-8")
        whole.replace(noted)
        return result


@attrs.frozen
class BatchJobRequest:
    """A walk over every portfolio as it is asked for and kept; all of it JSON values.

    Attributes:
        policy: Who decides.
        as_of: The day to decide on.
        currency: Of the prices.
        prices: Where they are.
        cost_bps: Of traded value; None: as the preset or the default has it.
        costs: A preset's name.
        assets: Where the instruments are; None: with the prices.
    """

    policy: str
    as_of: str
    currency: str
    prices: str
    cost_bps: float | None = None
    costs: str | None = None
    assets: str | None = None


BatchServices = Callable[[Path, Path | None], tuple[BuildContext, ProposeForEveryone]]
"""Gives what a batch needs on prices and instruments from somewhere."""


@attrs.frozen
class BatchJobHandler:
    """Propose for everybody, as it was asked for as a job."""

    desk: BatchServices
    clock: Clock

    def __call__(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """Counts of the run, which has the job's id: an attempt goes on with it.

        Raises:
            RebalancerError: as `BuildContext` and `ProposeForEveryone`.
        """
        order = BatchJobRequest(**job.request)
        assets = None if order.assets is None else Path(order.assets)
        build_context, propose = self.desk(Path(order.prices), assets)
        context = build_context(
            policy_name=order.policy,
            costs=cost_model(order.cost_bps, order.costs),
            currency=order.currency,
            as_of=date.fromisoformat(order.as_of),
        )
        now = self.clock()
        run = propose.begin(context, id=job.id, now=now)
        done = run.done

        def one_more(_: int) -> None:
            nonlocal done
            done += 1
            progress(done / max(run.chunks, 1))

        propose.run_chunks(run.id, context, now=now, progress=one_more)
        run = propose.read(run.id)
        return {
            "run": str(run.id),
            "policy": run.policy,
            "as_of": run.as_of.isoformat(),
            "proposed": run.proposed,
            "nothing_to_do": run.nothing,
            "failed": run.failed,
        }
