"""Backtests: run them now or as background jobs, and read their results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import attrs
import numpy as np

from rebalancer.application.history_provider import NoDetails
from rebalancer.application.idempotency import fingerprint
from rebalancer.application.job_worker import Progress
from rebalancer.application.jobs import SubmitJob
from rebalancer.application.policy_tasks import backtest_policies
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.engine import Engine
from rebalancer.application.ports.market import InstrumentSource, PriceDetails, PriceSource
from rebalancer.application.ports.policies import Policies
from rebalancer.application.ports.reports import Reports
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.reporting.backtest import backtest_document
from rebalancer.application.reporting.report import BACKTEST, Report
from rebalancer.domain.arrays import Floats
from rebalancer.domain.backtest.engine import DEFAULT_CAPITAL, BacktestSettings
from rebalancer.domain.backtest.group_targets import GroupTargets, depends_on_holdings
from rebalancer.domain.backtest.result import Backtest
from rebalancer.domain.backtest.universe import Unlisted, cash_cautions
from rebalancer.domain.errors import FaultCollector, InvalidRequest, NotFound
from rebalancer.domain.jobs.job import Job, JobChanged, JobState
from rebalancer.domain.market.asset_classes import AssetClass
from rebalancer.domain.market.caution import Caution
from rebalancer.domain.market.convertible import check_convertible
from rebalancer.domain.market.frequency import DAYS_A_YEAR
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quality import A_WEEK, count_weekdays
from rebalancer.domain.market.symbols import hint_at, unknown_symbols
from rebalancer.domain.money import US_DOLLAR, Currency
from rebalancer.domain.portfolio.costs import cost_model
from rebalancer.domain.portfolio.portfolio import TARGET_TOLERANCE
from rebalancer.domain.portfolio.risk import DEFAULT_PROFILE, risk_profile
from rebalancer.domain.portfolio.target_groups import LookThrough, TargetTree

_MOST_CASH_MOVES = 0.01
"""Highest standard deviation of returns that passes as cash; of Treasury bills it is 0.0005."""

_CASH_STEP = 0.005
"""Return in one row, or loss over a window, that cash does not have."""


def _names(given: Iterable[str]) -> tuple[str, ...]:
    return tuple(given)


@attrs.frozen
class BacktestRequest:
    """Request for a backtest; all its values can be stored as JSON.

    Its defaults are those of the API and of the command line.

    Attributes:
        policies: Names, in the order of the results.
        cost_bps: Trading costs in basis points of traded value, each side; None: see ``costs``.
        costs: Name of a cost preset; None: ``cost_bps``, or the default of `cost_model`.
        fx_spread_bps: Cost of conversions in basis points of their value; None: that of ``costs``.
        targets: Strategic weights by symbol, 0 for other symbols; None: equal weights.
        first: The window starts at the first close on or after this day; None: at the first row.
        last: The window ends at the last close on or before this day; None: at the last row.
        risk_free: Return of cash: a rate a year, or the symbol of a price column, which then
            leaves the universe.
        capital: Money at the first close.
        as_live: Whether orders are whole shares, or multiples of ``quantity_step``.
        quantity_step: Smallest quantity of ``as_live``, for instruments without their own.
        max_departure: One-way distance that a policy may depart from the targets; 1: unlimited.
        risk_profile: Name of the risk profile; learned policies use its risk aversion.
        keep_limits: Whether the profile's limits apply, as they do to proposals.
        unlisted: Where the target of an asset goes while it is not tradable.
        periods_per_year: Rows in a year; None: as the prices have.
        currency: ISO 4217 code of the base currency, into which prices are converted; None: that
            of the settings.
        target_groups: Targets by groups, instead of ``targets``.
        look_through: Classes of funds of several classes.
    """

    policies: tuple[str, ...] = attrs.field(converter=_names)
    cost_bps: float | None = None
    costs: str | None = None
    fx_spread_bps: float | None = None
    targets: Mapping[str, float] | None = None
    first: date | None = None
    last: date | None = None
    risk_free: float | str = 0.0
    capital: float = DEFAULT_CAPITAL
    as_live: bool = False
    quantity_step: float = 1.0
    max_departure: float = 1.0
    risk_profile: str = DEFAULT_PROFILE
    keep_limits: bool = False
    unlisted: Unlisted = attrs.field(default=Unlisted.OTHERS, converter=Unlisted)
    periods_per_year: float | None = None
    currency: str | None = None
    target_groups: TargetTree | None = None
    look_through: LookThrough = attrs.field(factory=dict)

    @property
    def stated_targets(self) -> Mapping[str, float] | None:
        """Weights by symbol, also those that follow from groups; None: equal weights."""
        groups = self.target_groups
        return self.targets if groups is None else groups.stated_weights

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """Cautions about the limits that apply."""
        found = []
        if self.max_departure < 1:
            found.append(
                Caution(
                    "departure_limited",
                    f"Policies may depart from the targets by at most {self.max_departure:.0%}, "
                    "one-way.",
                )
            )
        if self.keep_limits:
            found.append(
                Caution(
                    "profile_limits_apply",
                    f"The limits of the risk profile {self.risk_profile} apply to every policy.",
                )
            )
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Return the request as JSON values, the same as before for what could be asked before."""
        document = attrs.asdict(
            self, value_serializer=lambda _, __, v: v.isoformat() if isinstance(v, date) else v
        ) | {"policies": list(self.policies), "unlisted": self.unlisted.value}
        if self.unlisted is Unlisted.OTHERS:
            del document["unlisted"]
        if self.periods_per_year is None:
            del document["periods_per_year"]
        if self.quantity_step == 1.0:
            del document["quantity_step"]
        for name in ("currency", "fx_spread_bps"):
            if document[name] is None:
                del document[name]
        for name in ("target_groups", "look_through"):
            del document[name]
        if self.target_groups:
            document["target_groups"] = self.target_groups.to_json()
        if self.look_through:
            document["look_through"] = {
                symbol: {kind.value: share for kind, share in shares.items()}
                for symbol, shares in self.look_through.items()
            }
        return document

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> BacktestRequest:
        """Return the request that `to_json` stored, also by earlier versions."""
        days = {key: stored[key] and date.fromisoformat(stored[key]) for key in ("first", "last")}
        profile = stored.get("risk_profile") or DEFAULT_PROFILE  # null in the first versions
        tree = stored.get("target_groups")
        groups = {
            "target_groups": tree and TargetTree.from_json(tree),
            "look_through": {
                symbol: {AssetClass(kind): share for kind, share in shares.items()}
                for symbol, shares in stored.get("look_through", {}).items()
            },
        }
        return cls(**{**stored, **days, "risk_profile": profile, **groups})


@attrs.frozen
class RunBacktest:
    """Simulate policies over the same price history."""

    prices: PriceSource
    instruments: InstrumentSource
    policies: Policies
    details: PriceDetails = attrs.field(factory=NoDetails)
    currency: Currency = US_DOLLAR

    def __call__(
        self,
        request: BacktestRequest,
        *,
        cautions: Sequence[Caution] = (),
        progress: Callable[[str], None] = lambda _: None,
        engine: Engine | None = None,
    ) -> Backtest:
        """Simulate every policy of a request, on an engine or in this process.

        ``progress`` receives the name of each policy when its result is ready.

        Raises:
            InvalidRequest: an unknown policy or symbol, targets that sum above 1, a window with
                fewer than three rows, or malformed prices; names the field.
            PricesUnavailable: the provider did not answer.
        """
        policies = [self.policies.policy(name) for name in request.policies]
        settings = self.settings(request)
        return backtest_policies(
            policies,
            settings,
            (
                *cautions,
                *request.cautions,
                *settings.cautions,
                *_check_cash(settings.risk_free[settings.first + 1 :], request.risk_free),
                *settings.window.policy_cautions(policies),
            ),
            engine,
            progress,
        )

    def settings(self, request: BacktestRequest) -> BacktestSettings:
        """Return the settings of a request on the available prices.

        Raises:
            InvalidRequest: as `__call__`, except for errors that only the simulation can find.
            PricesUnavailable: the provider did not answer.
        """
        if not (np.isfinite(request.capital) and request.capital > 0):
            raise InvalidRequest(
                f"{request.capital} is not a positive amount; enter more than 0",
                field="capital",
                code="amount_not_positive",
            )
        profile = risk_profile(request.risk_profile)
        code = self.currency.code if request.currency is None else Currency(request.currency).code
        history = self.prices.closes().in_currency(code)
        if request.periods_per_year is not None:
            history = history.at_frequency(request.periods_per_year)
        faults = FaultCollector()
        first = last = 0
        with faults.collect():
            first, last = _find_window(history, request.first, request.last)
        with faults.collect():
            _target_weights(history.symbols, request.stated_targets)
        with faults.collect():
            wanted = [one for one, weight in (request.stated_targets or {}).items() if weight]
            check_convertible(history, wanted or history.symbols, needed=wanted)
        faults.raise_any()
        history = history.until(last)
        first = _begin_together(history, first, request.stated_targets, request.risk_free)
        risk_free, invested = self._separate_cash(history, first, request.risk_free)
        cash_column = history.columns.keys() - invested.columns.keys()
        listed, tree = self.instruments.instruments(), request.target_groups
        groups = None
        if tree is not None and depends_on_holdings(tree):
            groups = GroupTargets(tree, listed, request.look_through)
        return BacktestSettings(
            prices=invested,
            first=first,
            targets=_target_weights(invested.symbols, request.stated_targets),
            costs=cost_model(request.cost_bps, request.costs, request.fx_spread_bps),
            risk_free=risk_free,
            cash_rate=None if isinstance(request.risk_free, str) else request.risk_free,
            instruments=listed,
            capital=request.capital,
            as_live=request.as_live,
            quantity_step=request.quantity_step,
            max_departure=request.max_departure,
            profile=profile if request.keep_limits else None,
            risk_aversion=profile.risk_aversion,
            unlisted=request.unlisted,
            cash_cautions=tuple(
                caution for name in cash_column for caution in cash_cautions(history, name, first)
            ),
            groups=groups,
        )

    def _separate_cash(
        self, history: PriceHistory, first: int, source: float | str
    ) -> tuple[Floats, PriceHistory]:
        """Return (T,) simple returns of cash, and the history of the other assets."""
        if isinstance(source, str) and source not in history.columns:
            yields = self.details.yields()
            if source in yields:
                return yields[source].returns(history.dates), history
        return _separate_cash(history, first, source)


@attrs.frozen
class StartBacktest:
    """Submit a backtest as a background job."""

    submit: SubmitJob
    run_backtest: RunBacktest

    def __call__(
        self,
        request: BacktestRequest,
        *,
        key: str | None = None,
        id: UUID,
        owner: UUID,
        now: datetime,
    ) -> tuple[Job, bool]:
        """Return the submitted job, and whether an earlier, equal request had submitted it.

        A new job gets the id; ``key`` is the caller's idempotency key.

        Raises:
            InvalidRequest: the backtest cannot run; names the field.
            NotAuthenticated: the owner's account no longer exists.
            Conflict: as `SubmitJob.once`.
            Unavailable: too many jobs are waiting, or the queue does not answer.
        """
        self._check(request)
        stored = request.to_json()
        asked = fingerprint(BACKTEST, json.dumps(stored, sort_keys=True))
        job = Job.new(BACKTEST, stored, id=id, owner=owner, now=now)
        return self.submit.once(job, owner=owner, key=key, fingerprint=asked, now=now)

    def _check(self, request: BacktestRequest) -> None:
        """Raise InvalidRequest if the backtest cannot run."""
        if not request.policies:
            raise InvalidRequest(
                "the list is empty; name at least one policy",
                field="policies",
                code="policy_missing",
            )
        faults = FaultCollector()
        for name in dict.fromkeys(request.policies):
            with faults.collect():
                try:
                    self.run_backtest.policies.policy(name)
                except InvalidRequest as error:
                    raise InvalidRequest(error.message, field="policies", code=error.code) from None
                if request.policies.count(name) > 1:
                    raise InvalidRequest(
                        f"{name} is listed twice; name each policy once",
                        field="policies",
                        code="policy_repeated",
                    )
        with faults.collect():
            self.run_backtest.settings(request)
        faults.raise_any()


@attrs.frozen
class DoBacktest:
    """Run the backtest of a background job."""

    run_backtest: RunBacktest
    reports: Reports
    clock: Clock
    cautions: Sequence[Caution] = ()

    def __call__(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """Return the figures of `backtest_document`; store them and the series as a report.

        The report has the job's id.

        Raises:
            RebalancerError: as `RunBacktest`.
            Unavailable: the report cannot be stored now.
        """
        request = BacktestRequest.from_json(job.request)
        done = 0

        def count_policy(_: str) -> None:
            nonlocal done
            done += 1
            progress(done / (len(request.policies) + 1))  # the last step is the report

        backtest = self.run_backtest(request, cautions=self.cautions, progress=count_policy)
        figures = backtest_document(backtest)
        self.reports.save(
            Report(
                id=job.id,
                kind=BACKTEST,
                subject=str(job.owner),
                created=self.clock(),
                schema=1,
                document={"request": dict(job.request), "result": figures},
                series={result.policy: result.path.values for result in backtest.results},
                dates=backtest.dates,
            )
        )
        return figures


@attrs.frozen
class ReadSeries:
    """Read the wealth series of a finished backtest."""

    work: UnitOfWork
    reports: Reports

    def __call__(
        self, id: UUID, *, owner: UUID, policy: str | None = None, points: int | None = None
    ) -> tuple[list[date], dict[str, list[float]]]:
        """Return days, and by policy (of all, or of one) the value of the capital on each day.

        At most ``points`` days, evenly spaced, with the first and the last.

        Raises:
            NotFound: the backtest does not exist, belongs to another user, or lacks the policy.
            JobChanged: the job has not succeeded.
            Unavailable: the report cannot be read now.
        """
        with self.work.read() as tx:
            job = tx.jobs.get(id, owner=owner)
        if job.kind != BACKTEST:
            raise NotFound(f"backtest {id} does not exist", code="backtest_not_found")
        if job.state is not JobState.SUCCEEDED:
            raise JobChanged(f"job {id} is {job.state}; it has no results", code="job_not_finished")
        report = self.reports.get(id)
        if report.dates is None or (policy is not None and policy not in report.series):
            raise NotFound(
                f"backtest {id} has no policy {policy!r}; choose one of {', '.join(report.series)}",
                code="policy_not_in_backtest",
            )
        count = len(report.dates)
        rows = np.arange(count)
        if points is not None and points < count:
            rows = np.linspace(0, count - 1, points).round().astype(np.int64)
        days: list[date] = report.dates[rows].astype("datetime64[D]").tolist()
        return days, {
            name: values[rows].tolist()
            for name, values in report.series.items()
            if policy in (None, name)
        }


def _find_window(history: PriceHistory, first: date | None, last: date | None) -> tuple[int, int]:
    """Return the rows of the window's first and last close."""
    dates = history.dates
    begin = 0 if first is None else int(np.searchsorted(dates, np.datetime64(first, "D")))
    end = len(dates) - 1
    if last is not None:
        end = int(np.searchsorted(dates, np.datetime64(last, "D"), side="right")) - 1
    if begin >= len(dates):
        raise InvalidRequest(
            f"{first} is after the last close; choose {dates[-1]} or earlier",
            field="from",
            code="window_after_prices",
        )
    if end < 0:
        raise InvalidRequest(
            f"{last} is before the first close; choose {dates[0]} or later",
            field="to",
            code="window_before_prices",
        )
    if end < begin:
        raise InvalidRequest(
            f"{last} is before the window starts; choose {dates[begin]} or later",
            field="to",
            code="window_ends_before_start",
        )
    return begin, end


def _begin_together(
    history: PriceHistory, first: int, targets: Mapping[str, float] | None, cash: float | str
) -> int:
    """Return the first row, moved by at most a week to where all targeted assets have a price.

    Coins begin on New Year's Day and shares on the next trading day. Without this, the coins would
    be bought for all of the capital, and buy-and-hold would never buy the shares.
    """
    wanted = [
        column
        for column, symbol in enumerate(history.symbols)
        if targets is None or targets.get(symbol, 0.0) > 0 or symbol == cash
    ]
    observed = history.observed[:, wanted]
    begins = observed.argmax(axis=0)[observed.any(axis=0)]
    weekdays = count_weekdays(history.dates[first:])
    soon = (begins > first) & (weekdays[np.maximum(begins - first, 0)] <= A_WEEK)
    return int(begins[soon].max(initial=first))


def _separate_cash(
    history: PriceHistory, first: int, source: float | str
) -> tuple[Floats, PriceHistory]:
    """Return (T,) simple returns of cash, and the history without the column of cash."""
    if isinstance(source, str):
        if source not in history.columns:
            raise InvalidRequest(
                f"{source!r} is neither a price column nor a rate; enter a symbol, or a rate a "
                f"year such as 0.02{hint_at([source], history.symbols)}",
                field="risk_free",
                code="unknown_cash_source",
            )
        column = history.column(source)
        closes = history.last_total_returns[:, column]  # so that a gap is earned at its end
        if np.isnan(history.closes[first, column]):
            raise InvalidRequest(
                f"{source} has no price on {history.dates[first]}, where the window starts; "
                "choose a later start or another column",
                field="risk_free",
                code="no_cash_price_at_start",
            )
        if len(history.symbols) == 1:
            raise InvalidRequest(
                f"{source} is the only price column, which leaves nothing to invest in; enter a "
                "rate instead",
                field="risk_free",
                code="no_asset_besides_cash",
            )
        rest = history.select([symbol for symbol in history.symbols if symbol != source])
        earned = np.zeros(len(closes))
        earned[1:] = np.nan_to_num(closes[1:] / closes[:-1] - 1.0)
        return earned, rest
    if not -0.5 < source < 10:
        raise InvalidRequest(
            f"{source} is not a plausible rate; enter a rate a year such as 0.02 for 2%",
            field="risk_free",
            code="rate_out_of_range",
        )
    # By elapsed time: 5% a year are 10.25% over two years, however many rows they have.
    years = np.diff(history.dates, prepend=history.dates[0]).astype(np.float64) / DAYS_A_YEAR
    return np.expm1(years * np.log1p(source)), history


def _check_cash(earned: Floats, source: float | str) -> list[Caution]:
    """Caution against a column whose values are not the prices of cash.

    Prices of cash neither jump nor fall over a window, nor stay the same on most days unless rates
    are about zero; yields do all of this.
    """
    if not isinstance(source, str) or len(earned) < 2:
        return []
    jumps = float(earned.std()) > _MOST_CASH_MOVES
    stands_still = float((earned == 0).mean()) > 0.5 and float(np.abs(earned).max()) > _CASH_STEP
    if not (jumps or stands_still or float(np.log1p(earned).sum()) < -_CASH_STEP):
        return []
    return [
        Caution(
            "cash_moves",
            f"{source}, the return of cash, does not move as prices of cash do. If its column "
            "holds yields in percent a year, state that in the layout of the prices.",
        )
    ]


def _target_weights(symbols: Sequence[str], wanted: Mapping[str, float] | None) -> Floats:
    """Return (N,) strategic weights."""
    if wanted is None:
        return np.full(len(symbols), 1.0 / len(symbols))
    unknown = [symbol for symbol in wanted if symbol not in symbols]
    if unknown:
        raise unknown_symbols(unknown, symbols, field="targets")
    for symbol, weight in wanted.items():
        if not 0 <= weight <= 1 + TARGET_TOLERANCE:
            raise InvalidRequest(
                f"{weight} is out of range; enter a fraction between 0 and 1",
                field=f"targets.{symbol}",
                code="not_a_fraction",
            )
    targets = np.array([wanted.get(symbol, 0.0) for symbol in symbols])
    total = targets.sum()
    if total > 1 + TARGET_TOLERANCE:
        raise InvalidRequest(
            f"targets sum to {total:.6g}; the maximum is 1 (the rest is held in cash)",
            field="targets",
            code="targets_exceed_one",
        )
    scaled: Floats = targets / max(total, 1.0)
    return scaled
