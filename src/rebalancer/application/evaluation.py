"""Evaluation of policies: compare them with baselines, store the evidence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
import numpy as np

from rebalancer.application.panels import Panel, cash_returns
from rebalancer.application.policy_tasks import PanelTask, evaluate_panels
from rebalancer.application.ports.clock import Ids
from rebalancer.application.ports.engine import Engine
from rebalancer.application.ports.policies import Policies
from rebalancer.application.ports.reports import Reports
from rebalancer.application.ports.trials import Trial, Trials
from rebalancer.application.reporting.evaluation import (
    card_figures,
    evaluation_document,
    promotion_document,
)
from rebalancer.application.reporting.report import EVIDENCE, SCHEMAS, Report
from rebalancer.application.trial_counting import count_trials, evaluation_trial
from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.backtest.engine import BacktestSettings
from rebalancer.domain.backtest.evaluation import (
    PanelEvaluation,
)
from rebalancer.domain.backtest.findings import Findings, conclude
from rebalancer.domain.backtest.selection import RULES, RuleChoice, choose_best_rule
from rebalancer.domain.backtest.thresholds import PromotionThresholds
from rebalancer.domain.errors import InvalidRequest, NotFound
from rebalancer.domain.market.caution import Caution
from rebalancer.domain.policy.model_card import PolicyCard
from rebalancer.domain.policy.policy import Policy, identity
from rebalancer.domain.policy.versions import LEARNED


@attrs.frozen
class EvaluatePolicies:
    """Compare policies with baselines on one or more panels of prices."""

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
        cautions: Sequence[Caution] = (),
        progress: Callable[[str], None] = lambda _: None,
        engine: Engine | None = None,
    ) -> tuple[Findings, Trial]:
        """Evaluate the policies of a request, with cash at 0 and at the requested return.

        Args:
            panels: Requests by name of the panel; the same policies in each.
            now: Current time.
            against: Names of further policies to compare with.
            training: Panels to choose the best rule on; None: no rule is chosen now.
            trials: Number of policies tried in all. The recorded trials, and the policies of the
                request, are its lower bounds.
            cautions: Limitations that a reader must know.
            progress: Receives the name of each policy after each of its judgements, and of each
                rule after each training panel.
            engine: Where each policy is evaluated on each panel; None: in this process.

        Returns:
            The findings, and this run as a trial to record.

        Raises:
            InvalidRequest: as `RunBacktest`, or fewer trials than policies, or a malformed record
                of trials; names the field.
            PricesUnavailable: the provider did not answer.
        """
        first = next(iter(panels.values())).request
        policies = self._load_policies(first.policies, field="policy")
        others = self._load_policies(against, field="against")
        settings = {
            name: _load_settings(name, panel.settings, several=len(panels) > 1)
            for name, panel in panels.items()
        }
        training_settings = {
            name: _load_settings(name, panel.training_settings, several=True, training=True)
            for name, panel in (training or {}).items()
        }
        trial = evaluation_trial(
            self.trials,
            [identity(each) for each in policies],
            list(settings.values()),
            now=now,
            note=_describe_windows(settings),
        )
        count, counted = count_trials(self.trials, trials, trial)
        choice = None
        if training_settings:
            choice = choose_best_rule(list(training_settings.values()), progress=progress)
        tasks = {
            name: PanelTask(
                policies,
                settings[name],
                cash_returns(panel.request.risk_free, settings[name]),
                against=others,
                chosen_rule=None if choice is None else choice.rule,
                trials=count,
            )
            for name, panel in panels.items()
        }
        evaluations = evaluate_panels(tasks, engine, progress)
        findings = conclude(
            evaluations,
            self.thresholds,
            choice=choice,
            counted=counted,
            cautions=(
                *cautions,
                *first.cautions,
                *_check_hindsight(choice, evaluations),
                *_check_cash(panels),
                *_panel_cautions(settings, policies),
            ),
        )
        return findings, trial

    def _load_policies(self, names: Sequence[str], *, field: str) -> list[Policy]:
        try:
            return [self.policies.policy(name) for name in names]
        except InvalidRequest as error:
            raise InvalidRequest(error.message, field=field, code=error.code) from None


def _load_settings(
    panel: str, load: Callable[[], BacktestSettings], *, several: bool, training: bool = False
) -> BacktestSettings:
    """Load a panel's settings; errors name the panel, and the field as it was given."""
    try:
        return load()
    except InvalidRequest as error:
        text, field = error.message, error.field
        if training:
            field = "chosen_until" if field == "to" else "chosen_on"
        if several and panel not in text:
            text = f"{panel}: {text}"
        raise InvalidRequest(text, field=field, code=error.code) from None


def _describe_windows(settings: Mapping[str, BacktestSettings]) -> str:
    """Return the panels and their days, for the record of trials."""
    return "; ".join(
        f"{name.replace(chr(92), '/').rpartition('/')[2]} "
        f"{each.prices.dates[each.first]} to {each.prices.dates[-1]}"
        for name, each in settings.items()
    )


def _check_hindsight(
    choice: RuleChoice | None, panels: Mapping[str, PanelEvaluation]
) -> list[Caution]:
    """Return a caution if the rule was chosen on days of the evaluation."""
    if choice is None:
        return []
    begins = min(str(panel.dates[0]) for panel in panels.values())
    if choice.last < begins:
        return []
    return [
        Caution(
            "rule_chosen_with_hindsight",
            f"The best rule was chosen on prices up to {choice.last}, but the evaluation begins on "
            f"{begins}. The choice uses hindsight on the days that both contain; end the training "
            "prices before the evaluation begins.",
        )
    ]


def _check_cash(panels: Mapping[str, Panel]) -> list[Caution]:
    """Return a caution if the returns of cash are known on some panels only."""
    without = [name for name, panel in panels.items() if panel.request.risk_free == 0.0]
    if len(without) in (0, len(panels)):
        return []
    return [
        Caution(
            "cash_unknown_on_panel",
            f"Cash earns 0 on {', '.join(without)}: none of the given price columns is there.",
        )
    ]


def _panel_cautions(
    settings: Mapping[str, BacktestSettings], policies: Sequence[Policy]
) -> list[Caution]:
    """Return the cautions about the prices of each panel, with its name if there are several."""
    found = []
    for name, each in settings.items():
        prefix = f"{name}: " if len(settings) > 1 else ""
        cautions = (*each.cautions, *each.window.policy_cautions(policies))
        found += [Caution(one.code, f"{prefix}{one.text}") for one in cautions]
    return found


def count_steps(panels: Mapping[str, Panel], training: Collection[str] = ()) -> int:
    """Return how often an evaluation will report progress."""
    judgements = sum(
        len(panel.request.policies) * (1 if panel.request.risk_free == 0.0 else 2)
        for panel in panels.values()
    )
    return judgements + len(training) * len(RULES)


@attrs.frozen
class StoreEvidence:
    """Store findings in the cards of the learned policies that they are about."""

    policies: Policies

    def __call__(
        self, findings: Findings, *, max_departure: float, now: datetime
    ) -> tuple[PolicyCard, ...]:
        """Store the findings about each learned policy; rules have no stored evidence.

        The test of a gain applies to runs without a limit on departure; a run with a limit adds
        its figures only.

        Returns:
            The cards of the versions.

        Raises:
            InvalidRequest: the evaluation starts inside a policy's training period.
            NotFound: none of the policies is a version of a learned policy.
        """
        cards = [self.policies.card(each.policy) for each in findings.promotions]
        learned = [
            (card, card.model_card, promotion)
            for card, promotion in zip(cards, findings.promotions, strict=True)
            if card.model_card is not None and card.name != LEARNED
        ]
        if not learned:
            raise NotFound(
                "none of the evaluated policies is a version of a learned policy; evidence is "
                "stored for such versions only",
                code="no_learned_policy",
            )
        begins = min(panel.dates[0].item() for panel in findings.panels.values())
        for card, model_card, _ in learned:
            trained = model_card.training.trained_until
            if begins <= trained:
                raise InvalidRequest(
                    f"the evaluation starts on {begins}, inside the training period of {card.name} "
                    f"(until {trained}); choose a later start date",
                    field="from",
                    code="evaluated_in_training_period",
                )
        stored = []
        for card, model_card, promotion in learned:
            evidence: dict[str, Any] = dict(model_card.evidence)
            if evidence.get("weights") != model_card.weights:
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
            stored.append(self.policies.store_evidence(card.name, evidence))
        return tuple(stored)


@attrs.frozen
class StoreEvidenceReports:
    """Store whole findings as reports, one for each version of a learned policy."""

    reports: Reports
    ids: Ids

    def __call__(
        self, findings: Findings, versions: Sequence[str], *, now: datetime
    ) -> tuple[Report, ...]:
        """Store a report for each evaluated version, under its exact name.

        Its series are the wealth of each policy and baseline per 1 invested, named
        ``PANEL/CASH/POLICY``. Its dates are those of the panel; of several panels each has
        ``PANEL/days``, counted from 1970-01-01.

        Raises:
            InvalidRequest: the findings are larger than the store accepts.
            Unavailable: the store did not answer.
        """
        document = evaluation_document(findings)
        stored = []
        for version in versions:
            series, dates = _wealth_series(findings, version)
            report = Report(
                self.ids(), EVIDENCE, version, now, SCHEMAS[EVIDENCE], document, series, dates
            )
            self.reports.save(report)
            stored.append(report)
        return tuple(stored)


def _wealth_series(findings: Findings, policy: str) -> tuple[dict[str, Floats], Dates | None]:
    """Return the wealth of a policy and of its baselines, and the days if there is one panel."""
    found: dict[str, Floats] = {}
    for panel, done in findings.panels.items():
        if len(findings.panels) > 1:
            found[f"{panel}/days"] = done.dates.astype(np.int64).astype(np.float64)
        for evaluation in done.policies:
            if evaluation.policy != policy:
                continue
            for each in evaluation.judgements:
                paths = [(policy, each.values)]
                paths += [(other.against, other.values) for other in each.comparisons]
                found |= {f"{panel}/{each.cash}/{name}": path for name, path in paths if path.size}
    panels = list(findings.panels.values())
    return found, panels[0].dates if len(panels) == 1 else None
