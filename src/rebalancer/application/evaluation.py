"""Judging policies with evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from statistics import median
from typing import Any

import attrs
import numpy as np

from rebalancer.application.backtests import BacktestRequest, RunBacktest
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.policies import Policies
from rebalancer.application.ports.reports import SCHEMAS, Report, Reports
from rebalancer.application.ports.surroundings import Ids
from rebalancer.application.ports.trials import Trial, TrialKind, Trials
from rebalancer.domain.backtest.engine import BacktestSettings, Performance
from rebalancer.domain.backtest.evaluation import (
    CashReturns,
    Comparison,
    Judgement,
    PanelEvaluation,
    check_trials,
    evaluate,
)
from rebalancer.domain.backtest.findings import Findings, conclude
from rebalancer.domain.backtest.pooling import PooledComparison
from rebalancer.domain.backtest.promotion import PromotionThresholds
from rebalancer.domain.backtest.selection import RULES, RuleChoice, choose_best_rule
from rebalancer.domain.errors import InvalidRequest, NotFound
from rebalancer.domain.market.prices import Dates, Floats, PriceHistory
from rebalancer.domain.policy.policy import Policy, identity
from rebalancer.domain.policy.serving import LEARNED, Card

EVIDENCE = "evidence"
"""Kind of report that findings are kept as."""


@attrs.frozen
class PanelCash:
    """What cash earns on one panel.

    Attributes:
        source: A rate a year, or a column of the prices; 0 where nothing is known of it.
        hidden: Columns that are cash by another name, and not to be invested in either.
    """

    source: float | str = 0.0
    hidden: tuple[str, ...] = ()


def assign_panel_cash(text: str | None, columns: Sequence[Collection[str]]) -> list[PanelCash]:
    """What cash earns on each panel, by ``COLUMN,...,RATE``.

    Each panel takes the first column that it has, else the rate if there is one, else 0.

    Args:
        text: As the user wrote it, such as ``BIL,TBILL3M,0.02``; None: 0.
        columns: Of each panel; a column's name may look like a number.

    Raises:
        InvalidRequest: a piece is neither a column of any panel nor a rate, or there are two rates.
    """
    pieces = [] if text is None else [text]
    every = {column for each in columns for column in each}
    if text is not None and text not in every:  # a column's name may hold a comma
        pieces = [piece.strip() for piece in text.split(",")]
    named = [piece for piece in pieces if piece in every]
    rates = [_rate(piece) for piece in pieces if piece not in every]
    if len(rates) > 1:
        raise InvalidRequest(f"name one rate at most, not {len(rates)}", field="risk_free")
    found = []
    for each in columns:
        own = [column for column in named if column in each]
        source = own[0] if own else rates[0] if rates else 0.0
        found.append(PanelCash(source, tuple(own[1:])))
    return found


def _rate(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidRequest(
            f"{text!r} is neither a column of the prices nor a rate a year such as 0.02",
            field="risk_free",
        ) from None


@attrs.frozen
class _Without:
    """A source of prices from which some columns are missing."""

    prices: PriceSource
    hidden: tuple[str, ...]

    def symbols(self) -> tuple[str, ...]:
        """See `PriceSource.symbols`."""
        return tuple(symbol for symbol in self.prices.symbols() if symbol not in self.hidden)

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        """See `PriceSource.closes`."""
        asked = self.symbols() if symbols is None else symbols
        return self.prices.closes(asked, days=days, until=until)


@attrs.frozen
class Panel:
    """Prices, and what is asked of policies on them.

    Attributes:
        request: Whom to judge, and under which settings.
        run_backtest: What knows the prices.
        hidden: Columns that are left out, see `PanelCash.hidden`.
    """

    request: BacktestRequest
    run_backtest: RunBacktest
    hidden: tuple[str, ...] = ()

    def settings(self) -> BacktestSettings:
        """What the request means on the prices; raises as `RunBacktest.settings`."""
        return self._seen().settings(self.request)

    def training(self) -> BacktestSettings:
        """The same from the first close on at which every column has a price.

        Raises:
            As `settings`.
        """
        seen = self._seen()
        history = seen.prices.closes()
        known = ~np.isnan(history.closes).any(axis=1)
        first: date = history.dates[int(np.argmax(known))].item()
        return seen.settings(attrs.evolve(self.request, first=first))

    def _seen(self) -> RunBacktest:
        run_backtest = self.run_backtest
        if not self.hidden:
            return run_backtest
        return attrs.evolve(run_backtest, prices=_Without(run_backtest.prices, self.hidden))


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


def record(findings: Findings) -> dict[str, Any]:
    """Evaluations of one or more panels as JSON values."""
    first = next(iter(findings.panels.values()))
    return {
        "costs": first.cost_label,
        "trials": findings.trials,
        "counted": findings.counted,
        "cautions": list(findings.cautions),
        "chosen_rule": None if findings.choice is None else _choice(findings.choice),
        "panels": [
            {
                "panel": name,
                "from": str(done.dates[0]),
                "to": str(done.dates[-1]),
                "assets": list(done.symbols),
                "policies": [
                    {
                        "policy": evaluation.policy,
                        "finding": str(evaluation.verdict.finding),
                        "verdict": evaluation.verdict.sentence,
                        "chosen_rule": evaluation.chosen_rule,
                        "judgements": [_judgement(each) for each in evaluation.judgements],
                    }
                    for evaluation in done.policies
                ],
            }
            for name, done in findings.panels.items()
        ],
        "pooled": [
            {
                "policy": each.policy,
                "finding": str(each.verdict.finding),
                "verdict": each.verdict.sentence,
                "cash_at_0": [_pooled(comparison) for comparison in each.at_zero],
                "strictest": [_pooled(comparison) for comparison in each.strictest],
            }
            for each in findings.pooled
        ],
        "promotion": [each.card() for each in findings.promotions],
        "summary": [
            {"policy": policy, "verdict": sentence} for policy, sentence in findings.summaries
        ],
    }


def _choice(choice: RuleChoice) -> dict[str, Any]:
    return {
        "policy": choice.rule,
        "panels": choice.panels,
        "from": choice.first,
        "to": choice.last,
        "sharpe_gains": [{"policy": name, "median": gain} for name, gain in choice.gains],
    }


def _judgement(judgement: Judgement) -> dict[str, Any]:
    return {
        "risk_free": judgement.cash,
        **_figures(judgement.performance),
        "drawdown_beyond_exposure": judgement.drawdown_beyond_exposure,
        "break_even_bps": judgement.break_even_bps,
        "against": [_compare(comparison) for comparison in judgement.comparisons],
        "thirds": [
            {"from": part.first, "to": part.last, "sharpe_gain": part.gain}
            for part in judgement.subperiods
        ],
        "cost_sweep": [
            {"cost_bps": each.bps, "sharpe_gain": each.gain} for each in judgement.sweep
        ],
        "seeds": _seeds(judgement.seeds),
    }


def _seeds(gains: Sequence[float]) -> dict[str, Any] | None:
    if not gains:
        return None
    spread = {"min": min(gains), "median": median(gains), "max": max(gains)}
    return {"sharpe_gains": list(gains), **spread}


def _compare(comparison: Comparison) -> dict[str, Any]:
    return {
        "policy": comparison.against,
        "sharpe_gain": None if comparison.gain is None else attrs.asdict(comparison.gain),
        "probability": comparison.probability,
        "probabilistic_sharpe": comparison.probabilistic,
        "deflated_sharpe": comparison.deflated,
        **_figures(comparison.performance),
    }


def _pooled(comparison: PooledComparison) -> dict[str, Any]:
    return {
        "policy": comparison.against,
        "panels": comparison.panels,
        "sharpe_gain": None if comparison.gain is None else attrs.asdict(comparison.gain),
        "median": comparison.median,
        "probability": comparison.probability,
        "deflated_probability": comparison.deflated,
    }


def _figures(performance: Performance) -> dict[str, float | int]:
    names = ("sharpe", "cagr", "volatility", "max_drawdown", "average_exposure")
    more = ("turnover_per_year", "orders", "orders_per_year", "cost_paid", "final_value")
    return {name: getattr(performance, name) for name in (*names, *more)}


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
                evidence["gate"] = promotion.card()
            figures = dict(evidence.get("figures", {}))
            figures[f"max_departure {max_departure:g}"] = {
                "on": now.date().isoformat(),
                "trials": findings.trials,
                "panels": _brief(findings, promotion.policy),
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
        document = record(findings)
        made = []
        for version in versions:
            series, dates = _paths(findings, version)
            report = Report(
                self.ids(), EVIDENCE, version, now, SCHEMAS[EVIDENCE], document, series, dates
            )
            self.reports.keep(report)
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


def _brief(findings: Findings, policy: str) -> dict[str, Any]:
    """The figures of one policy that a card shows, by panel; cash at the strictest return."""
    told = {}
    for name, done in findings.panels.items():
        evaluation = next(each for each in done.policies if each.policy == policy)
        judgement = evaluation.strictest
        own, monthly = judgement.performance, judgement.baseline.performance
        gain = judgement.baseline.gain
        told[name] = {
            "from": str(done.dates[0]),
            "to": str(done.dates[-1]),
            "assets": len(done.symbols),
            "cash": judgement.cash,
            "sharpe": round(own.sharpe, 4),
            "monthly": round(monthly.sharpe, 4),
            "gain": None
            if gain is None
            else [round(each, 4) for each in (gain.estimate, gain.low, gain.high)],
            "drawdown_beyond_exposure": None
            if judgement.drawdown_beyond_exposure is None
            else round(judgement.drawdown_beyond_exposure, 4),
            "exposure": round(own.average_exposure, 4),
            "turnover_of_monthly": round(
                own.turnover_per_year / max(monthly.turnover_per_year, 1e-12), 4
            ),
            "orders_of_monthly": round(
                own.orders_per_year / max(monthly.orders_per_year, 1e-12), 4
            ),
        }
    return told
