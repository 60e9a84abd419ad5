"""Count policies that were tried, for deflated probabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

import attrs
import numpy as np

from rebalancer.application.ports.trials import Trial, TrialKind, Trials
from rebalancer.domain.backtest.engine import BacktestSettings
from rebalancer.domain.backtest.evaluation import check_trials
from rebalancer.domain.backtest.universe import Unlisted
from rebalancer.domain.market.frequency import TRADING_DAYS
from rebalancer.domain.portfolio.costs import CostModel

NO_TRIAL_RECORD = (
    "No record of trials is stored here, so earlier trials count only if their number is given."
)


def evaluation_trial(
    trials: Trials,
    names: Sequence[str],
    settings: Sequence[BacktestSettings],
    *,
    now: datetime,
    note: str,
) -> Trial:
    """Return an evaluation as a trial; it counts policies not yet tried with the same settings.

    Args:
        trials: Log of earlier trials.
        names: Identities of the evaluated policies.
        settings: Settings of each panel.
        now: Current time.
        note: What was evaluated, for people.
    """
    digest = digest_settings(settings)
    known = {name for trial in trials.all() if trial.digest == digest for name in trial.what}
    return Trial(
        on=now,
        kind=TrialKind.EVALUATE,
        what=tuple(names),
        trials=len(set(names) - known),
        digest=digest,
        note=note,
    )


def count_trials(trials: Trials, given: int | None, trial: Trial) -> tuple[int, str]:
    """Return the number of trials, and a sentence on how they were counted.

    Args:
        trials: Log of earlier trials.
        given: Number that the user gave; it may raise the number on record.
        trial: Evaluation that is not yet in the log.

    Raises:
        InvalidRequest: fewer trials are given than policies are evaluated.
    """
    named = len(trial.what)
    check_trials(named if given is None else given, named)
    if trials.location is None:
        count = given or named
        how = "as given" if given else "the policies named here"
        return count, f"Trials: {count}, {how}. {NO_TRIAL_RECORD}"
    recorded = trials.count() + trial.trials
    count = max(recorded, named, given or 0)
    record = f"recorded in {trials.location}, including this run"
    if count > recorded:
        how = "given" if given == count else "named here"
        return count, f"Trials: {count}, as {how}; {recorded} {record}."
    return count, f"Trials: {count}, as {record}."


def digest_settings(panels: Sequence[BacktestSettings]) -> str:
    """Return the SHA-256 of settings, whatever the policies and the order of the panels.

    The record of trials stores it, so its input must not change: a test pins it.
    """
    parts = []
    for each in panels:
        sha = hashlib.sha256()
        cash = each.risk_free
        if each.cash_rate is not None:  # as first recorded: a daily return, 252 a year
            daily = (1.0 + each.cash_rate) ** (1 / TRADING_DAYS) - 1.0
            cash = np.full(len(each.prices), daily)
        numbers = (each.prices.closes, each.targets, cash)
        for array in (each.prices.dates.astype("datetime64[D]").astype(np.int64), *numbers):
            sha.update(np.ascontiguousarray(array).tobytes())
        hashed_apart = (
            "prices",
            "targets",
            "risk_free",
            "cash_rate",
            "cash_cautions",
            "instruments",
            *(("groups",) if each.groups is None else ()),
        )
        terms = [
            (
                field.name,
                _hashed_costs(each) if field.name == "costs" else getattr(each, field.name),
            )
            for field in attrs.fields(BacktestSettings)
            if field.name not in hashed_apart
            and (field.name != "unlisted" or each.unlisted is not Unlisted.OTHERS)
            and (field.name != "quantity_step" or each.quantity_step != 1.0)
        ]
        sha.update(repr((each.prices.symbols, terms)).encode())
        parts.append(sha.hexdigest())
    return hashlib.sha256("".join(sorted(parts)).encode()).hexdigest()


def _hashed_costs(settings: BacktestSettings) -> CostModel:
    """Return the costs without those of conversions if nothing is converted, as first recorded."""
    quotes, costs = settings.prices.quotes, settings.costs
    if quotes is not None and quotes.rates is not None:
        return costs
    return attrs.evolve(
        costs,
        rates=attrs.evolve(costs.rates, fx_spread_bps=0.0),
        overrides={
            symbol: attrs.evolve(rates, fx_spread_bps=0.0)
            for symbol, rates in costs.overrides.items()
        },
    )
