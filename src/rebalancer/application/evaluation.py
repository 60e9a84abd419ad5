"""Judging policies with evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
import numpy as np

from rebalancer.application.backtests import BacktestRequest
from rebalancer.application.panels import Panel
from rebalancer.application.ports.clock import Ids
from rebalancer.application.ports.policies import Policies
from rebalancer.application.ports.reports import Reports
from rebalancer.application.ports.trials import Trial, TrialKind, Trials
from rebalancer.application.reporting.evaluation import (
    card_figures,
    evaluation_document,
    promotion_document,
)
from rebalancer.application.reporting.report import SCHEMAS, Report
from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.backtest.engine import BacktestSettings
from rebalancer.domain.backtest.evaluation import (
    CashReturns,
    PanelEvaluation,
    check_trials,
    evaluate,
)
from rebalancer.domain.backtest.findings import Findings, conclude
from rebalancer.domain.backtest.promotion import PromotionThresholds
from rebalancer.domain.backtest.selection import RULES, RuleChoice, choose_best_rule
from rebalancer.domain.errors import InvalidRequest, NotFound
from rebalancer.domain.policy.policy import Policy, identity
from rebalancer.domain.policy.serving import LEARNED, Card

EVIDENCE = "evidence"
"""Kind of report that findings are kept as."""


@attrs.frozen
class EvaluatePolicies:
    """Judge policies beside their sceptics, on one or more panels of prices."""

    policies: Policies
    trials: Trials
    thresholds: PromotionThresholds

    def __call__(
        self,
        panels: Mapping[str, Panel],
        *,
        now: datetime,
        against: Sequence[str] = (),
        training: Mapping[str, Panel] | None = None,
        trials: int | None = None,
        cautions: Sequence[str] = (),
        progress: Callable[[str], None] = lambda _: None,
    ) -> tuple[Findings, Trial]:
        """Judge the policies of a request, with cash at 0 and at what the request says.

        Args:
            panels: Whom to judge on which prices; the same policies on each.
            now: The time of day.
            against: Names of others to judge them against, beside the sceptics.
            training: Panels to choose the best rule on; None: no rule is chosen here.
            trials: How many policies were tried in all. The record of trials is a floor to it, and
                so are those of the request.
            cautions: What a reader must know.
            progress: Told the name of each policy whenever a judgement of it is made, and of each
                rule whenever it was tried on a training panel.

        Returns:
            What was found out, and the trial that this was, for the record.

        Raises:
            InvalidRequest: as when a backtest is run, or there are fewer trials than policies, or
                the record of trials is malformed; names the field.
            PricesUnavailable: the provider did not answer.
        """
        first = next(iter(panels.values())).request
        evaluation = self._named(first.policies, field="policy")
        others = self._named(against, field="against")
        settings = {
            name: _on(name, panel.settings, several=len(panels) > 1)
            for name, panel in panels.items()
        }
        learnt = {
            name: _on(name, panel.training, several=True, training=True)
            for name, panel in (training or {}).items()
        }
        trial = self._trial([identity(each) for each in evaluation], settings, now)
        count, counted = self._counted(trials, trial)
        choice = choose_best_rule(list(learnt.values()), progress=progress) if learnt else None
        done = {
            name: evaluate(
                evaluation,
                settings[name],
                _cash(panel.request, settings[name]),
                against=others,
                chosen_rule=None if choice is None else choice.rule,
                trials=count,
                progress=progress,
            )
            for name, panel in panels.items()
        }
        findings = conclude(
            done,
            self.thresholds,
            choice=choice,
            counted=counted,
            cautions=(
                *cautions,
                *first.limited,
                *_hindsight(choice, done),
                *_without_bills(panels),
            ),
        )
        return findings, trial

    def _named(self, names: Sequence[str], *, field: str) -> list[Policy]:
        try:
            return [self.policies.policy(name) for name in names]
        except InvalidRequest as error:
            raise InvalidRequest(error.message, field=field) from None

    def _trial(
        self, tried: Sequence[str], settings: Mapping[str, BacktestSettings], now: datetime
    ) -> Trial:
        """What this run adds to the record: those that were not tried under the same settings."""
        digest = _digest(list(settings.values()))
        known = {
            name for trial in self.trials.all() if trial.digest == digest for name in trial.what
        }
        return Trial(
            on=now,
            kind=TrialKind.EVALUATE,
            what=tuple(tried),
            trials=len(set(tried) - known),
            digest=digest,
            note="; ".join(
                f"{name.replace(chr(92), '/').rpartition('/')[2]} "
                f"{each.prices.dates[each.first]} to {each.prices.dates[-1]}"
                for name, each in settings.items()
            ),
        )

    def _counted(self, given: int | None, trial: Trial) -> tuple[int, str]:
        """How many trials there were, and how they were counted, in a sentence."""
        named = len(trial.what)
        check_trials(named if given is None else given, named)
        if self.trials.place is None:
            count = given or named
            how = "as given" if given else "those named here"
            return count, (
                f"Trials: {count}, {how}. No record of trials is kept here, so that earlier ones "
                "are counted only if --trials says so."
            )
        recorded = self.trials.count() + trial.trials
        count = max(recorded, named, given or 0)
        how = f"as recorded in {self.trials.place}, this run included"
        if count > recorded:
            how = f"as {'given' if given == count else 'named here'}; {recorded} {how[3:]}"
        return count, f"Trials: {count}, {how}."


def _on(
    panel: str, settings: Callable[[], BacktestSettings], *, several: bool, training: bool = False
) -> BacktestSettings:
    """BacktestSettings; a mistake in them is told with the panel that it was found on."""
    try:
        return settings()
    except InvalidRequest as error:
        text, field = error.message, error.field
        if training:
            field = "chosen_until" if field == "to" else "chosen_on"
        if several and panel not in text:
            text = f"{panel}: {text}"
        raise InvalidRequest(text, field=field) from None


def _cash(request: BacktestRequest, settings: BacktestSettings) -> list[CashReturns]:
    cash = [CashReturns("0", np.zeros(len(settings.prices)))]
    if request.risk_free != 0.0:
        cash.append(CashReturns(_label(request.risk_free), settings.risk_free))
    return cash


def _label(risk_free: float | str) -> str:
    return risk_free if isinstance(risk_free, str) else f"{100 * risk_free:.6g}% a year"


def _hindsight(choice: RuleChoice | None, panels: Mapping[str, PanelEvaluation]) -> list[str]:
    """A caution where a rule was chosen on days that it is evaluated on."""
    if choice is None:
        return []
    begins = min(str(panel.dates[0]) for panel in panels.values())
    if choice.last < begins:
        return []
    return [
        f"The best rule was chosen on prices up to {choice.last}, but judging begins on {begins}: "
        "what both hold is hindsight; end the one before the other with --chosen-until."
    ]


def _without_bills(panels: Mapping[str, Panel]) -> list[str]:
    """A caution where panels do not know what others know of cash."""
    known = {name for name, panel in panels.items() if panel.request.risk_free != 0.0}
    without = [name for name in panels if name not in known]
    if not known or not without:
        return []
    return [f"Cash is evaluated at 0 alone on {', '.join(without)}, which has none of its columns."]


def _digest(panels: Sequence[BacktestSettings]) -> str:
    """SHA-256 of what policies are tried on, whoever they are and in whatever order the panels."""
    parts = []
    for each in panels:
        sha = hashlib.sha256()
        numbers = (each.prices.closes, each.targets, each.risk_free)
        for array in (each.prices.dates.astype("datetime64[D]").astype(np.int64), *numbers):
            sha.update(np.ascontiguousarray(array).tobytes())
        apart = ("prices", "targets", "risk_free", "instruments")
        terms = [
            (field.name, getattr(each, field.name))
            for field in attrs.fields(BacktestSettings)
            if field.name not in apart
        ]
        sha.update(repr((each.prices.symbols, terms)).encode())
        parts.append(sha.hexdigest())
    return hashlib.sha256("".join(sorted(parts)).encode()).hexdigest()


def work(panels: Mapping[str, Panel], training: Collection[str] = ()) -> int:
    """How often an evaluation will tell of its progress."""
    judgements = sum(
        len(panel.request.policies) * (1 if panel.request.risk_free == 0.0 else 2)
        for panel in panels.values()
    )
    return judgements + len(training) * len(RULES)


@attrs.frozen
class StoreEvidence:
    """Write findings down with the versions of learned policies that they are of."""

    policies: Policies

    def __call__(
        self, findings: Findings, *, max_departure: float, now: datetime
    ) -> tuple[Card, ...]:
        """Keep what was found of each learned policy; of rules nothing is kept.

        The promotion gate is that of a run in which policies may depart as far as they like; a run
        under a bound adds its figures only.

        Returns:
            The cards of the versions.

        Raises:
            InvalidRequest: a policy was evaluated on days that it was trained on.
            NotFound: none of the policies is a version of a learned one.
        """
        cards = [self.policies.card(each.policy) for each in findings.promotions]
        learned = [
            (card, promotion)
            for card, promotion in zip(cards, findings.promotions, strict=True)
            if card.learning is not None and card.name != LEARNED
        ]
        if not learned:
            raise NotFound("none of these is a version of a learned policy: nothing can be kept")
        begins = min(done.dates[0].item() for done in findings.panels.values())
        for card, _ in learned:
            assert card.learning is not None
            trained = card.learning.training.trained_until
            if begins <= trained:
                raise InvalidRequest(
                    f"{card.name} was trained on prices up to {trained}, and judging begins on "
                    f"{begins}: that is no evidence; name a later day",
                    field="from",
                )
        kept = []
        for card, promotion in learned:
            assert card.learning is not None
            evidence: dict[str, Any] = dict(card.learning.evidence)
            if evidence.get("weights") != card.learning.weights:
                evidence = {}
            if max_departure >= 1:
                evidence["gate"] = promotion_document(promotion)
            figures = dict(evidence.get("figures", {}))
            figures[f"max_departure {max_departure:g}"] = {
                "on": now.date().isoformat(),
                "trials": findings.trials,
                "panels": card_figures(findings, promotion.policy),
            }
            evidence["figures"] = figures
            kept.append(self.policies.keep_evidence(card.name, evidence))
        return tuple(kept)


@attrs.frozen
class StoreEvidenceReports:
    """Keep findings whole, as reports, for those who look at a version later."""

    reports: Reports
    ids: Ids

    def __call__(
        self, findings: Findings, versions: Sequence[str], *, now: datetime
    ) -> tuple[Report, ...]:
        """Keep a report for each version that was evaluated, under its exact name.

        Its series are what 1 became: ``PANEL/CASH/POLICY`` for each policy, sceptics included. Its
        dates are those of the panel; of several panels each has ``PANEL/days``, since 1970-01-01.

        Raises:
            InvalidRequest: they are larger than the store takes.
            Unavailable: the store did not answer.
        """
        document = evaluation_document(findings)
        made = []
        for version in versions:
            series, dates = _paths(findings, version)
            report = Report(
                self.ids(), EVIDENCE, version, now, SCHEMAS[EVIDENCE], document, series, dates
            )
            self.reports.save(report)
            made.append(report)
        return tuple(made)


def _paths(findings: Findings, policy: str) -> tuple[dict[str, Floats], Dates | None]:
    """What 1 became with a policy, and with those it was evaluated against; on which days."""
    found: dict[str, Floats] = {}
    for panel, done in findings.panels.items():
        if len(findings.panels) > 1:
            found[f"{panel}/days"] = done.dates.astype(np.int64).astype(np.float64)
        for evaluation in done.policies:
            if evaluation.policy != policy:
                continue
            for each in evaluation.judgements:
                paths = [(policy, each.values)]
                paths += [
                    (comparison.against, comparison.values) for comparison in each.comparisons
                ]
                found |= {f"{panel}/{each.cash}/{name}": path for name, path in paths if path.size}
    one = list(findings.panels.values())
    return found, one[0].dates if len(one) == 1 else None
