"""Walk-forward: refit procedures at several dates, and judge each refit on the days after it.

A single window of a few years can show neither gain nor harm. So the procedure is judged, over all
folds together: at each date it is refitted on what was known by then, and the refit decides until
the next date. An embargo after each date separates training from judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import attrs

from rebalancer.application.fold_panels import (
    FoldSettings,
    JudgedPrices,
    prepare_fold,
    split_universes,
)
from rebalancer.application.ports.market import PriceSource, Regimes
from rebalancer.application.ports.policies import Policies, PolicyFolders, Trainer
from rebalancer.application.ports.trials import Trial, Trials
from rebalancer.application.refits import (
    BEST,
    Command,
    Procedure,
    Refit,
    RefitOptions,
    Refits,
    TrainingData,
    read_procedures,
)
from rebalancer.application.training import TrainPolicy, known_panels, rule_trial
from rebalancer.application.trial_counting import count_trials, evaluation_trial
from rebalancer.domain.backtest.evaluation import PanelEvaluation, evaluate
from rebalancer.domain.backtest.selection import RULES, RuleChoice, choose_best_rule
from rebalancer.domain.backtest.serving import WalkForwardEvidence, judge_walk_forward
from rebalancer.domain.backtest.thresholds import PromotionThresholds, ServingThresholds
from rebalancer.domain.backtest.walk_forward import Fold, FoldPanel, plan_folds
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.caution import Caution
from rebalancer.domain.policy.policy import Policy, identity
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.policy.training import CurvePoint, TrainingPlan

REFITS, TRAININGS = "refits", "training"
"""Folders in the work folder: versions, and checkpoints of trainings."""

SetProgress = Callable[[float, int], None]
"""Receives how many steps are done, and how many there are in all."""


def _ignore(_: float, __: int) -> None:
    """Report no progress."""


@attrs.frozen
class WalkForwardRequest:
    """Request for a walk-forward.

    Attributes:
        policies: Names of procedures, see `read_procedures`.
        dates: Dates of the refits, in order.
        last: Last day that is judged.
        work: Folder of the refits and of their checkpoints.
        command: Returns the command that trains a refit.
        options: Plan of the refits.
        cash: Columns of cash in the training data, see `panels_of`.
        universes: Disjoint random universes of a panel with many assets; 0: panels stay whole.
        seed: Seed of the universes and of the bootstrap.
        trains: Whether missing refits are trained.
        trials: Number of policies tried in all; None: those on record.
        recorded: Whether trainings are added to the log of trials.
    """

    policies: tuple[str, ...]
    dates: tuple[date, ...]
    last: date
    work: Path
    command: Command
    options: RefitOptions = attrs.field(factory=RefitOptions)
    cash: str | None = None
    universes: int = 0
    seed: int = 0
    trains: bool = True
    trials: int | None = None
    recorded: bool = True


@attrs.frozen
class Progress:
    """Progress of a walk-forward, for people.

    Attributes:
        choosing: Rules that were tried on the training data.
        refitting: Refits that are ready; a fraction for the one in training.
        judging: Judgements of a policy on a panel with one return of cash.
    """

    choosing: SetProgress = _ignore
    refitting: SetProgress = _ignore
    judging: SetProgress = _ignore


SILENT = Progress()
"""Reports no progress."""


@attrs.frozen(eq=False)
class FoldRecord:
    """What was known at the date of a fold, and what is judged in it.

    Attributes:
        training: Prices known by the date.
        left_out: A sentence for each panel that is too short to train on by the date.
        choice: The best rule on these prices.
        refits: Refit of each learned procedure, by the procedure's name.
        panels: Panels that are judged.
        not_judged: A sentence for each panel that is not.
    """

    fold: Fold
    training: TrainingData
    left_out: tuple[str, ...]
    choice: RuleChoice
    refits: Mapping[str, Refit]
    panels: tuple[FoldSettings, ...]
    not_judged: tuple[str, ...]

    def policy(self, procedure: Procedure) -> Policy:
        """Return what a procedure chose from the training data."""
        if procedure.rule is not None:
            return procedure.rule
        if procedure.plan is None:
            return parse_rule(self.choice.rule)
        return attrs.evolve(self.refits[procedure.name].policy, name=procedure.name)


@attrs.frozen(eq=False)
class WalkForwardFindings:
    """Result of a walk-forward.

    Attributes:
        folds: In the order of time.
        evidence: Evidence on each procedure, in the requested order.
        thresholds: Thresholds of the criteria for serving.
        trials: Number of policies tried, for deflated probabilities.
        counted: How they were counted, in a sentence.
        cost_label: Name of the cost model.
        seed: Seed of random universes and of the bootstrap.
        cautions: Limitations that a reader must know.
        unlimited: Whether policies could depart from the targets without a limit.
    """

    folds: tuple[FoldRecord, ...]
    evidence: tuple[WalkForwardEvidence, ...]
    thresholds: ServingThresholds
    trials: int
    counted: str
    cost_label: str
    seed: int
    cautions: tuple[Caution, ...] = ()
    unlimited: bool = True

    @property
    def last_refits(self) -> Mapping[str, Refit]:
        """Refit of each learned procedure at the last date, by the procedure's name."""
        return self.folds[-1].refits


@attrs.frozen
class EvaluateWalkForward:
    """Refit procedures at several dates, and judge each refit on the days until the next date."""

    policies: Policies
    folders: PolicyFolders
    train: TrainPolicy
    trainer: Trainer
    regimes: Regimes
    trials: Trials
    serving: ServingThresholds
    promotion: PromotionThresholds

    def __call__(
        self,
        judged: Mapping[str, JudgedPrices],
        training: Mapping[str, PriceSource],
        request: WalkForwardRequest,
        *,
        now: datetime,
        cautions: Sequence[Caution] = (),
        progress: Progress = SILENT,
    ) -> tuple[WalkForwardFindings, Trial]:
        """Judge procedures by walk-forward; an interrupted call continues with stored refits.

        Args:
            judged: Prices to judge on, by name of the panel.
            training: Prices to refit on and to choose rules on, by name; each refit uses the rows
                up to its date.
            request: What to judge.
            now: Current time.
            cautions: Limitations that a reader must know.
            progress: Receives the progress.

        Returns:
            The findings, and this run as a trial to record.

        Raises:
            InvalidRequest: unsorted dates, a date after the prices, too little training data, an
                unknown policy, or a missing refit that must not be trained; names the field.
            PricesUnavailable: the provider did not answer.
            Unavailable: a library for training is missing.
        """
        procedures = read_procedures(request.policies, self.policies, request.options)
        folds = plan_folds(request.dates, request.last)
        _check_days(folds, judged)
        known = [self._known(fold, training, request) for fold in folds]
        panels = _prepare(folds, judged, request)
        choices = _choose_rules([data for data, _ in known], progress.choosing)
        refits = self._refit_all(procedures, [data for data, _ in known], request, now, progress)
        records = tuple(
            FoldRecord(fold, data, left_out, choice, fitted, *judgeable)
            for fold, (data, left_out), choice, fitted, judgeable in zip(
                folds, known, choices, refits, panels, strict=True
            )
        )
        settings = [one.settings for each in records for one in each.panels]
        trial = evaluation_trial(
            self.trials,
            [_identity(each, records[-1]) for each in procedures],
            settings,
            now=now,
            note=f"walk-forward at {', '.join(map(str, request.dates))} until {request.last}: "
            f"{', '.join(judged)}",
        )
        count, counted = count_trials(self.trials, request.trials, trial)
        evaluations = _judge(procedures, records, count, request.seed, progress.judging)
        evidence = tuple(
            judge_walk_forward(
                each.name,
                evaluations[each.name],
                self.serving,
                self.promotion,
                trials=count,
                seed=request.seed,
            )
            for each in procedures
        )
        terms = next(iter(judged.values())).request
        return WalkForwardFindings(
            folds=records,
            evidence=evidence,
            thresholds=self.serving,
            trials=count,
            counted=counted,
            cost_label=settings[0].costs.label,
            seed=request.seed,
            cautions=(*cautions, *terms.cautions, *_panel_cautions(records)),
            unlimited=terms.max_departure >= 1,
        ), trial

    def _known(
        self, fold: Fold, training: Mapping[str, PriceSource], request: WalkForwardRequest
    ) -> tuple[TrainingData, tuple[str, ...]]:
        """Return the training data of a fold, and sentences on panels that are left out."""
        panels, left_out = known_panels(
            training,
            until=fold.known_until,
            cash=request.cash,
            currency=self.train.currency.code,
        )
        sources = {name: training[name] for name in panels}
        return TrainingData(fold.known_until, panels, sources, request.cash), left_out

    def _refit_all(
        self,
        procedures: Sequence[Procedure],
        known: Sequence[TrainingData],
        request: WalkForwardRequest,
        now: datetime,
        progress: Progress,
    ) -> list[dict[str, Refit]]:
        """Return the refits of each fold: stored ones, or trained ones where they are missing."""
        refits = Refits(
            policies=self.policies,
            refits=self.folders.open(request.work / REFITS),
            folder=request.work / TRAININGS,
            train=self.train,
            regimes=self.regimes,
            trainer=self.trainer,
            command=request.command,
        )
        found: list[dict[str, Refit]] = [{} for _ in known]
        missing: list[tuple[int, Procedure, TrainingPlan]] = []
        for at, data in enumerate(known):
            last = at == len(known) - 1
            for each in procedures:
                if each.plan is None:
                    continue
                if last and each.version is not None:
                    refit: Refit | None = refits.get(each.version, data)
                else:
                    refit = refits.find(each.plan, data, last=last)
                if refit is None:
                    missing.append((at, each, each.plan))
                else:
                    found[at][each.name] = refit
        if missing and not request.trains:
            at, each, plan = missing[0]
            raise _missing_refit(each, plan, known[at], request)
        if missing:
            self.trainer.check()
        ready, total = sum(map(len, found)), sum(map(len, found)) + len(missing)
        progress.refitting(ready, max(total, 1)) if total else None
        for at, each, plan in missing:
            last = at == len(known) - 1
            share = _ShareOfTraining(plan, ready, total, progress.refitting)
            found[at][each.name] = refits.fit(
                plan, known[at], now=now, recorded=last and request.recorded, progress=share
            )
            ready += 1
            progress.refitting(ready, total)
        return found


@attrs.define
class _ShareOfTraining:
    """Reports the points of learning curves as a share of one refit among all."""

    plan: TrainingPlan
    ready: int
    total: int
    report: SetProgress
    done: dict[tuple[int, str], float] = attrs.field(factory=dict)

    def __call__(self, point: CurvePoint) -> None:
        """Count a point of a learning curve."""
        self.done[point.seed, point.stage] = point.at / max(point.of, 1)
        stages = 2 if self.plan.warm_start else 1
        share = sum(self.done.values()) / (stages * len(self.plan.seeds))
        self.report(self.ready + min(share, 1.0), self.total)


def _missing_refit(
    procedure: Procedure, plan: TrainingPlan, data: TrainingData, request: WalkForwardRequest
) -> InvalidRequest:
    name = f"{plan.algorithm}_{data.until:%Y%m%d}"
    command = request.command(plan, name, list(data.panels), data.until)
    return InvalidRequest(
        f"{request.work / REFITS} holds no refit of {procedure.name} at {data.until} by this plan "
        f"and on these prices; allow training, or train it into that folder: {command}",
        field="walk_forward",
        code="refit_missing",
    )


def _check_days(folds: Sequence[Fold], judged: Mapping[str, JudgedPrices]) -> None:
    """Raise InvalidRequest if the last fold begins after all prices."""
    ends = max(each.history.last_date for each in judged.values())
    if folds[-1].first > ends:
        raise InvalidRequest(
            f"the days after {folds[-1].known_until} begin on {folds[-1].first}, and the prices "
            f"end on {ends}; choose an earlier date",
            field="walk_forward",
            code="window_after_prices",
        )


def _prepare(
    folds: Sequence[Fold], judged: Mapping[str, JudgedPrices], request: WalkForwardRequest
) -> list[tuple[tuple[FoldSettings, ...], tuple[str, ...]]]:
    """Return the panels of each fold, and sentences on those that are not judged in it."""
    universes = split_universes(judged, request.universes, seed=request.seed)
    prepared = []
    for fold in folds:
        parts = [
            prepare_fold(fold, name, prices, symbols)
            for name, (prices, symbols) in universes.items()
        ]
        panels = tuple(part for part in parts if isinstance(part, FoldSettings))
        left_out = tuple(part for part in parts if isinstance(part, str))
        if not panels:
            raise InvalidRequest(
                f"no panel can be judged from {fold.first} to {fold.last}: {' '.join(left_out)}",
                field="walk_forward",
                code="fold_without_panel",
            )
        prepared.append((panels, left_out))
    return prepared


def _choose_rules(known: Sequence[TrainingData], progress: SetProgress) -> list[RuleChoice]:
    total = len(RULES) * sum(len(data.panels) for data in known)
    done = 0

    def count(_: str) -> None:
        nonlocal done
        done += 1
        progress(done, total)

    return [
        choose_best_rule(
            [rule_trial(name, panel) for name, panel in data.panels.items()], progress=count
        )
        for data in known
    ]


def _judge(
    procedures: Sequence[Procedure],
    records: Sequence[FoldRecord],
    trials: int,
    seed: int,
    progress: SetProgress,
) -> dict[str, list[FoldPanel]]:
    """Return the evaluations of each procedure, by its name."""
    total = len(procedures) * sum(len(one.cash) for each in records for one in each.panels)
    done = 0

    def count(_: str) -> None:
        nonlocal done
        done += 1
        progress(done, total)

    results: dict[str, list[FoldPanel]] = {each.name: [] for each in procedures}
    for record in records:
        policies = [record.policy(each) for each in procedures]
        for panel in record.panels:
            evaluation: PanelEvaluation = evaluate(
                policies,
                panel.settings,
                panel.cash,
                chosen_rule=record.choice.rule,
                trials=trials,
                seed=seed,
                sweep=False,
                skeletons=True,
                progress=count,
            )
            for procedure, result in zip(procedures, evaluation.policies, strict=True):
                named = attrs.evolve(result, policy=procedure.name)
                results[procedure.name].append(FoldPanel(record.fold, panel.panel, named))
    return results


def _identity(procedure: Procedure, last: FoldRecord) -> str:
    return BEST if procedure.name == BEST else identity(last.policy(procedure))


def _panel_cautions(records: Sequence[FoldRecord]) -> list[Caution]:
    """Return the cautions about the prices of each panel, each once."""
    found: dict[tuple[str, str], Caution] = {}
    for record in records:
        for panel in record.panels:
            for caution in panel.settings.cautions:
                text = f"{panel.panel}: {caution.text}"
                found.setdefault((caution.code, text), Caution(caution.code, text))
    return list(found.values())
