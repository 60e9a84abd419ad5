"""Making learned policies: from files of prices to a version in the catalogue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import attrs
import numpy as np

from rebalancer.application.ports.market import PriceSource, Regimes
from rebalancer.application.ports.policies import Policies, Trainer
from rebalancer.application.ports.trials import Trial, TrialKind, Trials
from rebalancer.application.reporting.training import TrainingResult
from rebalancer.domain.backtest.engine import BacktestSettings
from rebalancer.domain.backtest.selection import choose_best_rule
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import LONGEST_DAILY_GAP, PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.features import LOOKBACK
from rebalancer.domain.policy.training import CurvePoint, TrainingPlan, check_name
from rebalancer.domain.portfolio.costs import CostModel

BILLS = ("BIL", "TBILL3M")
"""Treasury bills by their usual names: what cash earns, and no part of any universe."""

FEWEST_ASSETS = 2

FEWEST_ROWS = LOOKBACK + 5 * 106
"""A year to look back on, and two years and two weeks to walk through."""

RULE_COSTS = CostModel.flat(10.0)
"""What trading costs when the best rule is chosen."""


@attrs.frozen
class TrainRequest:
    """What to train, on what.

    Attributes:
        plan: What to train.
        name: Of the policy, plain.
        out: Folder for checkpoints.
        command: What makes the same policy again.
        until: Later closes are left out; None: none is.
        cash: Columns that are cash by another name; None: `BILLS`, where there are any.
        fit_regimes: Whether to fit market regimes anew; else those that are shipped serve.
        recorded: Whether the record of trials is told.
    """

    plan: TrainingPlan
    name: str
    out: Path
    command: str
    until: date | None = None
    cash: str | None = None
    fit_regimes: bool = False
    recorded: bool = True


@attrs.frozen
class TrainPolicy:
    """Train a learned policy, and keep it as a new version."""

    policies: Policies
    trials: Trials
    trainer: Trainer
    regimes: Regimes

    def __call__(
        self,
        prices: Mapping[str, PriceSource],
        request: TrainRequest,
        *,
        now: datetime,
        cautions: Sequence[str] = (),
        tried: Callable[[str], None] = lambda _: None,
        drawn: Callable[[int], None] = lambda _: None,
        progress: Callable[[CurvePoint], None] = lambda _: None,
        again: bool = False,
    ) -> TrainingResult:
        """Train, or go on where an earlier call with the same request was stopped.

        Args:
            prices: By the name of their data.
            request: What to train.
            now: The time of day.
            cautions: What a reader must know.
            tried: Told the name of each rule when it was tried on a panel.
            drawn: Told how many more worlds have come into being.
            progress: Told each point of the learning curves.
            again: Whether an earlier call may have come as far as to keep the version: then it is
                that one, and no other.

        Raises:
            InvalidRequest: prices that nothing can be learned from, a name that is taken, or a
                folder with the checkpoints of another training; names the field.
            PricesUnavailable: the provider did not answer.
            Unavailable: something is not installed, or the record of trials cannot be written.
        """
        plan = request.plan
        check_name(request.name, plan.algorithm)
        self.trainer.check()
        # A damaged record or catalogue is told of before hours of training, not after.
        earlier = self.trials.all()
        self.policies.cards()
        panels = panels_of(prices, until=request.until, cash=request.cash)
        choice = choose_best_rule(
            [_whole(name, each) for name, each in panels.items()], progress=tried
        )
        regimes = self.regimes.model()
        if request.fit_regimes:
            regimes = self.trainer.fit_regimes(list(panels.values()))
        trained = self.trainer.train(
            panels,
            plan,
            request.out,
            regimes=regimes,
            chosen_rule=choice.rule,
            command=request.command,
            today=now.date(),
            name=request.name,
            progress=progress,
            drawn=drawn,
        )
        card = self.policies.add(trained.learned, trained.training, again=again)
        digest = _digest(panels, plan, regimes)
        again = any(one.kind is TrialKind.TRAIN and one.digest == digest for one in earlier)
        note = f"{plan.algorithm}, {plan.reward}, {len(plan.seeds)} seeds, {plan.steps} steps, "
        trial = Trial(
            on=now,
            kind=TrialKind.TRAIN,
            what=(card.name,),
            trials=0 if again else 1,
            digest=digest,
            note=note + f"{', '.join(panels)} until {trained.training.trained_until}",
        )
        if request.recorded:
            self.trials.append(trial)
        return TrainingResult(
            version=card.name,
            location=self.policies.location(card.name),
            plan=plan,
            trained=trained,
            choice=choice,
            counted=self._counted(trial, request.recorded),
            cautions=tuple(cautions),
        )

    def _counted(self, trial: Trial, recorded: bool) -> str:
        """What the record of trials makes of it, in a sentence."""
        location = self.trials.location
        if not recorded or location is None:
            why = "no record of trials is kept here" if recorded else "it was not recorded"
            return f"Trials: this training is one, whatever its seeds; {why}."
        how = "one, whatever its seeds" if trial.trials else "none, as it repeats an earlier one"
        return f"Trials: {self.trials.count()} in {location}; this training counts as {how}."


def panels_of(
    prices: Mapping[str, PriceSource], *, until: date | None, cash: str | None
) -> dict[str, PriceHistory]:
    """What is learned from: closes up to a day, without cash by another name.

    Args:
        prices: By the name of their data.
        until: Later closes are left out.
        cash: ``COLUMN,...``; None: `BILLS`. A column's name may hold a comma if it is alone.

    Raises:
        InvalidRequest: nothing can be learned from a panel, or no panel has a column of ``cash``;
            names the field.
        PricesUnavailable: the provider did not answer.
    """
    found = {name: source.closes() for name, source in prices.items()}
    if not found:
        raise InvalidRequest("name a file at least", field="prices")
    every = {symbol for history in found.values() for symbol in history.symbols}
    hidden = set(BILLS)
    if cash is not None:
        hidden = {cash} if cash in every else {each.strip() for each in cash.split(",")}
        if unknown := sorted(hidden - every):
            raise InvalidRequest(
                f"{', '.join(unknown)}: the prices have no such column", field="cash"
            )
    return {name: _learnable(name, history, until, hidden) for name, history in found.items()}


def _learnable(
    name: str, history: PriceHistory, until: date | None, hidden: set[str]
) -> PriceHistory:
    """What one panel teaches.

    Raises:
        InvalidRequest: nothing; says why and how to mend it.
    """
    if until is not None:
        rows = int(np.searchsorted(history.dates, np.datetime64(until, "D"), side="right"))
        if not rows:
            raise InvalidRequest(
                f"{name}: {until} lies before the first close, {history.dates[0]}", field="until"
            )
        history = history.until(rows - 1)
    known = ~np.isnan(history.closes[-1])  # an asset that begins after `until` is not there yet
    kept = [
        symbol
        for symbol, there in zip(history.symbols, known, strict=True)
        if there and symbol not in hidden
    ]
    if len(kept) < FEWEST_ASSETS:
        raise InvalidRequest(
            f"{name}: {len(kept)} asset(s) besides cash, {FEWEST_ASSETS} at least are needed to "
            "learn what to hold",
            field="prices",
        )
    history = history.select(kept)
    if len(history) < FEWEST_ROWS:
        raise InvalidRequest(
            f"{name}: {len(history)} rows of prices up to {history.last_date}; training needs a "
            f"year to look back on and two to learn from, {FEWEST_ROWS} rows at least",
            field="prices",
        )
    if history.days_apart > LONGEST_DAILY_GAP:
        raise InvalidRequest(
            f"{name}: these are not daily prices; learned policies look at days", field="prices"
        )
    still = np.nanmin(history.closes, axis=0) == np.nanmax(history.closes, axis=0)
    if still.any():
        column = history.symbols[int(np.argmax(still))]
        raise InvalidRequest(
            f"{name}: the price of {column} never changes; leave the column out, or name it with "
            "--cash",
            field="prices",
        )
    return history


def _whole(name: str, history: PriceHistory) -> BacktestSettings:
    """Under which rules are tried: equal weights, from when all is known and a year has passed.

    Raises:
        InvalidRequest: too little is left of the panel then.
    """
    known = np.argmax(~np.isnan(history.closes), axis=0)
    first = max(LOOKBACK, int(known.max()))
    if len(history) - first < LOOKBACK:
        last = history.symbols[int(known.argmax())]
        raise InvalidRequest(
            f"{name}: prices of {last} begin on {history.dates[int(known.max())]}, which leaves "
            "less than a year to choose the best rule on; leave the column out",
            field="prices",
        )
    count = len(history.symbols)
    return BacktestSettings(
        prices=history,
        first=first,
        targets=np.full(count, 1.0 / count),
        costs=RULE_COSTS,
        risk_free=np.zeros(len(history)),
    )


def _digest(panels: Mapping[str, PriceHistory], plan: TrainingPlan, regimes: RegimeModel) -> str:
    """SHA-256 of all that a policy follows from."""
    numbers = (regimes.start, regimes.transition, regimes.means, regimes.covariances)
    content = {
        "data": [panel.digest for panel in panels.values()],
        "plan": {key: value for key, value in attrs.asdict(plan).items() if key != "workers"},
        "regimes": [array.tolist() for array in numbers],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
