"""Train learned policies on files of prices, and store them in the catalogue."""

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
from rebalancer.domain.market.frequency import DAILY
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.market.symbols import unknown_symbols
from rebalancer.domain.money import US_DOLLAR, Currency
from rebalancer.domain.policy.features import LOOKBACK
from rebalancer.domain.policy.training import CurvePoint, TrainingPlan, check_name
from rebalancer.domain.portfolio.costs import CostModel

BILLS = ("BIL", "TBILL3M")
"""Usual names of treasury bills, which are excluded from all universes."""

FEWEST_ASSETS = 2

FEWEST_ROWS = LOOKBACK + 5 * 106
"""A year of lookback, and two years and two weeks of training."""

_TOO_SHORT = ("prices_too_short", "before_first_close")
"""Codes of errors for which one panel of several is left out."""

RULE_COSTS = CostModel.flat(10.0)
"""Trading costs in the choice of the best rule."""

_NOT_YET = ("before_first_close", "prices_too_short", "too_few_assets")
"""Codes of errors that later prices of the same panel can remove."""


@attrs.frozen
class TrainRequest:
    """Request to train a policy.

    Attributes:
        name: Plain name of the policy.
        out: Folder for checkpoints.
        command: Command that trains the same policy again.
        until: Last day of prices to use; None for all.
        cash: Columns to treat as cash; None for those of `BILLS`.
        fit_regimes: Whether to fit market regimes instead of using the shipped ones.
        recorded: Whether to add the run to the log of trials.
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
    """Train a learned policy and store it as a new version."""

    policies: Policies
    trials: Trials
    trainer: Trainer
    regimes: Regimes
    currency: Currency = US_DOLLAR

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
        """Train, or continue an interrupted call with the same request.

        Args:
            prices: Price sources by the name of their data.
            request: What to train.
            now: Current time.
            cautions: Limitations that a reader of the result must know.
            tried: Receives the name of each rule after its trial on a panel.
            drawn: Receives the number of worlds drawn since the last call.
            progress: Receives each point of the learning curves.
            again: Whether an earlier call may have stored the version; then that one is returned.

        Raises:
            InvalidRequest: unusable prices, a name that is taken, or a folder with checkpoints of
                another training; names the field.
            PricesUnavailable: the provider did not answer.
            Unavailable: a library is missing, or the log of trials cannot be written.
        """
        plan = request.plan
        check_name(request.name, plan.algorithm)
        self.trainer.check()
        # Detect a damaged log or catalogue before hours of training.
        earlier = self.trials.all()
        self.policies.cards()
        short: list[str] = []
        panels = panels_of(
            prices,
            until=request.until,
            cash=request.cash,
            currency=self.currency.code,
            left_out=short.append,
        )
        choice = choose_best_rule(
            [rule_trial(name, each) for name, each in panels.items()], progress=tried
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
        digest = _digest_of_inputs(panels, plan, regimes)
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
            cautions=(*cautions, *(f"A panel was left out. {why}." for why in short)),
        )

    def _counted(self, trial: Trial, recorded: bool) -> str:
        """Describe how the log of trials counts this training."""
        location = self.trials.location
        if not recorded or location is None:
            why = "there is no log of trials here" if recorded else "it was not recorded"
            return f"Trials: this training is one, whatever its seeds; {why}."
        how = "one, whatever its seeds" if trial.trials else "none, as it repeats an earlier one"
        return f"Trials: {self.trials.count()} in {location}; this training counts as {how}."


def panels_of(
    prices: Mapping[str, PriceSource],
    *,
    until: date | None,
    cash: str | None,
    currency: str = "USD",
    left_out: Callable[[str], None] = lambda _: None,
) -> dict[str, PriceHistory]:
    """Load the panels to learn from: closes up to a day, without columns of cash.

    Panels that are too short by that day are left out, unless all are.

    Args:
        prices: Price sources by the name of their data.
        until: Last day to use.
        cash: ``COLUMN,...``; None for `BILLS`. A single name may contain a comma.
        currency: ISO 4217 code of the currency into which prices are converted.
        left_out: Receives why a panel is left out.

    Raises:
        InvalidRequest: a panel is unusable, or no panel has a column of ``cash``; names the field.
        PricesUnavailable: the provider did not answer.
    """
    found, hidden = _read_panels(prices, cash, currency)
    usable: dict[str, PriceHistory] = {}
    short: list[InvalidRequest] = []
    for name, history in found.items():
        try:
            usable[name] = _learnable(name, history, until, hidden)
        except InvalidRequest as error:
            if error.code not in _TOO_SHORT:
                raise
            short.append(error)
    if not usable:
        raise short[0]
    for reason in short:
        left_out(str(reason))
    return usable


def known_panels(
    prices: Mapping[str, PriceSource], *, until: date, cash: str | None, currency: str = "USD"
) -> tuple[dict[str, PriceHistory], tuple[str, ...]]:
    """Load the panels that are long enough to learn from by a day, as `panels_of` does.

    Returns:
        The panels, and for each panel that is left out a sentence with the reason.

    Raises:
        InvalidRequest: a panel is unusable whatever the day, or no panel is long enough; names the
            field.
        PricesUnavailable: the provider did not answer.
    """
    found, hidden = _read_panels(prices, cash, currency)
    panels, left_out = {}, []
    for name, history in found.items():
        try:
            panel = _learnable(name, history, until, hidden)
            rule_trial(name, panel)
        except InvalidRequest as error:
            if error.code not in _NOT_YET:
                raise
            left_out.append(f"{error.message}.")
        else:
            panels[name] = panel
    if not panels:
        raise InvalidRequest(
            f"no panel has enough prices by {until} to train on or to choose a rule: "
            f"{' '.join(left_out)} Choose a later date or older prices",
            field="walk_forward",
            code="training_data_too_short",
        )
    return panels, tuple(left_out)


def _read_panels(
    prices: Mapping[str, PriceSource], cash: str | None, currency: str
) -> tuple[dict[str, PriceHistory], set[str]]:
    """Return the whole history of each panel, and the columns of cash."""
    found = {name: source.closes().in_currency(currency) for name, source in prices.items()}
    if not found:
        raise InvalidRequest("no prices are given", field="prices", code="prices_missing")
    every = {symbol for history in found.values() for symbol in history.symbols}
    hidden = set(BILLS)
    if cash is not None:
        hidden = {cash} if cash in every else {each.strip() for each in cash.split(",")}
        if unknown := sorted(hidden - every):
            raise unknown_symbols(unknown, sorted(every), field="cash")
    return found, hidden


def _learnable(
    name: str, history: PriceHistory, until: date | None, hidden: set[str]
) -> PriceHistory:
    """Select the usable rows and columns of a panel; raise InvalidRequest if it is unusable."""
    if until is not None:
        rows = int(np.searchsorted(history.dates, np.datetime64(until, "D"), side="right"))
        if not rows:
            raise InvalidRequest(
                f"{name}: {until} lies before the first close, {history.dates[0]}",
                field="until",
                code="before_first_close",
            )
        history = history.until(rows - 1)
    # Without assets that begin later, have ended or have a gap: a network learns from whole paths.
    priced = history.tradable
    known = priced[-1] & ~(np.logical_or.accumulate(priced, axis=0) & ~priced).any(axis=0)
    symbols = [
        symbol
        for symbol, priced in zip(history.symbols, known, strict=True)
        if priced and symbol not in hidden
    ]
    if len(symbols) < FEWEST_ASSETS:
        raise InvalidRequest(
            f"{name}: {len(symbols)} asset(s) besides cash; training needs {FEWEST_ASSETS} or more",
            field="prices",
            code="too_few_assets",
        )
    history = history.select(symbols)
    if len(history) < FEWEST_ROWS:
        raise InvalidRequest(
            f"{name}: {len(history)} rows of prices up to {history.last_date}; training needs "
            f"three years, at least {FEWEST_ROWS} rows",
            field="prices",
            code="prices_too_short",
        )
    if history.frequency != DAILY:
        raise InvalidRequest(
            f"{name}: a year of these prices has {history.frequency.periods_per_year:.4g} closes; "
            "training needs prices of trading days, about 252 a year",
            field="prices",
            code="prices_not_daily",
        )
    still = np.nanmin(history.closes, axis=0) == np.nanmax(history.closes, axis=0)
    if still.any():
        column = history.symbols[int(np.argmax(still))]
        raise InvalidRequest(
            f"{name}: the price of {column} never changes; remove the column or declare it as cash",
            field="prices",
            code="constant_price",
        )
    return history


def rule_trial(name: str, history: PriceHistory) -> BacktestSettings:
    """Return settings for the trial of rules: equal weights, from when all prices are known."""
    known = np.argmax(~np.isnan(history.closes), axis=0)
    first = max(LOOKBACK, int(known.max()))
    if len(history) - first < LOOKBACK:
        last = history.symbols[int(known.argmax())]
        raise InvalidRequest(
            f"{name}: prices of {last} begin on {history.dates[int(known.max())]}, which leaves "
            "less than a year for the choice of the best rule; remove the column",
            field="prices",
            code="prices_too_short",
        )
    count = len(history.symbols)
    return BacktestSettings(
        prices=history,
        first=first,
        targets=np.full(count, 1.0 / count),
        costs=RULE_COSTS,
        risk_free=np.zeros(len(history)),
    )


def _digest_of_inputs(
    panels: Mapping[str, PriceHistory], plan: TrainingPlan, regimes: RegimeModel
) -> str:
    """Return the SHA-256 of everything that determines the policy."""
    numbers = (regimes.start, regimes.transition, regimes.means, regimes.covariances)
    content = {
        "data": [panel.digest for panel in panels.values()],
        "plan": {key: value for key, value in attrs.asdict(plan).items() if key != "workers"},
        "regimes": [array.tolist() for array in numbers],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
