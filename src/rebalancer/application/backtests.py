"""Trying policies on history."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import attrs
import numpy as np

from rebalancer.application.accounts import load_account
from rebalancer.application.job_worker import Progress
from rebalancer.application.jobs import SubmitJob
from rebalancer.application.portfolios import find_earlier_result, fingerprint
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.policies import Policies
from rebalancer.application.ports.reports import Reports
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.reporting.backtest import backtest_document
from rebalancer.application.reporting.report import Report
from rebalancer.domain.arrays import Floats
from rebalancer.domain.backtest.engine import (
    Backtest,
    BacktestSettings,
    compare_policies,
)
from rebalancer.domain.errors import Conflict, InvalidRequest, NotFound
from rebalancer.domain.idempotency import IdempotencyKey
from rebalancer.domain.jobs.job import Job, JobChanged, JobState
from rebalancer.domain.market.indicators import TRADING_DAYS
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.costs import CostModel, cost_model
from rebalancer.domain.portfolio.portfolio import TARGET_TOLERANCE
from rebalancer.domain.portfolio.risk import DEFAULT_PROFILE, risk_profile


@attrs.frozen
class BacktestRequest:
    """What to try, and under which settings.

    Attributes:
        policies: Names, in the order of the answer.
        costs: The price list.
        targets: Strategic weights by symbol, missing ones 0; None: equal weights.
        first: The window begins at the first close on or after this day; None: at the first row.
        last: The window ends at the last close on or before this day; None: at the last row.
        risk_free: What cash earns: a rate a year, or the symbol of a price column, which then
            leaves the universe.
        capital: Money at the first close.
        as_live: Whether orders are whole shares.
        max_departure: How far a policy may go from the targets, one-way; 1: as far as it likes.
        risk_profile: Name of the owner's profile: learned policies mind its risk aversion.
        keep_limits: Whether its limits hold too, as they do for proposals.
    """

    policies: Sequence[str]
    costs: CostModel
    targets: Mapping[str, float] | None = None
    first: date | None = None
    last: date | None = None
    risk_free: float | str = 0.0
    capital: float = 100_000.0
    as_live: bool = False
    max_departure: float = 1.0
    risk_profile: str = DEFAULT_PROFILE
    keep_limits: bool = False

    @property
    def limited(self) -> tuple[str, ...]:
        """What a reader must know of the limits that hold."""
        said = []
        if self.max_departure < 1:
            said.append(
                f"Policies depart from the targets by at most {self.max_departure:.0%}, one-way."
            )
        if self.keep_limits:
            said.append(f"The limits of the profile {self.risk_profile} hold for every policy.")
        return tuple(said)


@attrs.frozen
class RunBacktest:
    """Run policies side by side over the same history."""

    prices: PriceSource
    instruments: InstrumentSource
    policies: Policies

    def __call__(
        self,
        request: BacktestRequest,
        *,
        cautions: Sequence[str] = (),
        progress: Callable[[str], None] = lambda _: None,
    ) -> Backtest:
        """Try every policy of a request.

        Args:
            request: What to try.
            cautions: What a reader of the results must know.
            progress: Told the name of each policy when it is done.

        Raises:
            InvalidRequest: an unknown policy or symbol, targets that sum above 1, a window with
                fewer than three rows, or malformed prices; names the field.
            PricesUnavailable: the provider did not answer.
        """
        policies = [self.policies.policy(name) for name in request.policies]
        settings = self.settings(request)
        return compare_policies(
            policies,
            settings,
            cautions=(*cautions, *request.limited, *_not_daily(settings.prices)),
            progress=progress,
        )

    def settings(self, request: BacktestRequest) -> BacktestSettings:
        """What a request means on the prices that there are.

        Raises:
            InvalidRequest: as when it is run; what only shows on the way excepted.
            PricesUnavailable: the provider did not answer.
        """
        if not (np.isfinite(request.capital) and request.capital > 0):
            raise InvalidRequest(f"must be more than 0, got {request.capital}", field="capital")
        profile = risk_profile(request.risk_profile)
        history = self.prices.closes()
        first, last = _window(history, request.first, request.last)
        history = history.until(last)
        risk_free, history = _risk_free(history, first, request.risk_free)
        return BacktestSettings(
            prices=history,
            first=first,
            targets=_targets(history.symbols, request.targets),
            costs=request.costs,
            risk_free=risk_free,
            instruments=self.instruments.instruments(),
            capital=request.capital,
            as_live=request.as_live,
            max_departure=request.max_departure,
            profile=profile if request.keep_limits else None,
            risk_aversion=profile.risk_aversion,
        )


_LONGEST_DAY = 4
"""Calendar days from one daily close to the next at most, usually: weekends are 3."""


def _not_daily(history: PriceHistory) -> tuple[str, ...]:
    """A caution where prices are weekly, say: windows and years are counted in rows."""
    apart = float(np.median(np.diff(history.dates).astype(np.int64))) if len(history) > 1 else 1.0
    if apart < _LONGEST_DAY:
        return ()
    return (
        f"The prices are not daily: their rows lie {apart:g} days apart. A year counts as 252 rows "
        "and a window of 63 days as 63 rows, so figures a year and policies that look back are "
        "not what their names say.",
    )


BACKTEST = "backtest"
"""The kind of job that this is."""

MOST_AT_ONCE = 20
"""Jobs of one owner that are not done: nobody has all others wait."""

_NOT_DONE = frozenset({JobState.QUEUED, JobState.RUNNING})


@attrs.frozen
class BacktestOrder:
    """A backtest as it is asked for and kept: values that JSON can hold.

    Attributes as in `BacktestRequest`, but for the costs: basis points of traded value, or a
    preset's name.
    """

    policies: tuple[str, ...]
    cost_bps: float | None = None
    costs: str | None = None
    targets: Mapping[str, float] | None = None
    first: date | None = None
    last: date | None = None
    risk_free: float | str = 0.0
    capital: float = 100_000.0
    as_live: bool = False
    max_departure: float = 1.0
    risk_profile: str = DEFAULT_PROFILE
    keep_limits: bool = False

    def request(self) -> BacktestRequest:
        """What is to be run.

        Raises:
            InvalidRequest: the costs make no sense.
        """
        return BacktestRequest(
            policies=self.policies,
            costs=cost_model(self.cost_bps, self.costs),
            targets=self.targets,
            first=self.first,
            last=self.last,
            risk_free=self.risk_free,
            capital=self.capital,
            as_live=self.as_live,
            max_departure=self.max_departure,
            risk_profile=self.risk_profile,
            keep_limits=self.keep_limits,
        )

    def kept(self) -> dict[str, Any]:
        """As JSON values."""
        return attrs.asdict(
            self, value_serializer=lambda _, __, v: v.isoformat() if isinstance(v, date) else v
        ) | {"policies": list(self.policies)}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> BacktestOrder:
        """From JSON values, as `kept` gave them."""
        days = {key: kept[key] and date.fromisoformat(kept[key]) for key in ("first", "last")}
        profile = kept.get("risk_profile") or DEFAULT_PROFILE  # once there could be none
        policies = tuple(kept["policies"])
        return cls(**{**kept, **days, "policies": policies, "risk_profile": profile})


@attrs.frozen
class StartBacktest:
    """Have a backtest run in the background."""

    submit: SubmitJob
    run_backtest: RunBacktest

    def __call__(
        self, order: BacktestOrder, *, key: str | None = None, id: UUID, owner: UUID, now: datetime
    ) -> tuple[Job, bool]:
        """The job, which has been submitted, and whether the same request had submitted it before.

        Args:
            order: What to try.
            key: What the caller calls the request.
            id: Of the job, if it is a new one.
            owner: Who asks.
            now: When.

        Raises:
            InvalidRequest: it could not be run; names the field.
            NotAuthenticated: the owner is gone.
            Conflict: the owner has many jobs already that are not done, or the key belongs to
                another request.
            Unavailable: too many jobs wait already, or the queue does not answer.
        """
        if not order.policies:
            raise InvalidRequest("name at least one", field="policies")
        for name in order.policies:
            try:
                self.run_backtest.policies.policy(name)
            except InvalidRequest as error:
                raise InvalidRequest(error.message, field="policies") from None
            if order.policies.count(name) > 1:
                raise InvalidRequest(f"{name} is named twice", field="policies")
        self.run_backtest.settings(order.request())  # raises for what cannot be run
        kept = order.kept()
        asked = fingerprint(BACKTEST, json.dumps(kept, sort_keys=True))

        def known(tx: Transaction) -> Job | None:
            load_account(tx, owner)
            before = find_earlier_result(tx, owner, key, asked)
            if before is not None:
                return tx.jobs.get(before, owner=owner)
            if len(tx.jobs.page(owner, states=_NOT_DONE, limit=MOST_AT_ONCE)) == MOST_AT_ONCE:
                raise Conflict(
                    f"you have {MOST_AT_ONCE} jobs that are not done; wait for one, or cancel it"
                )
            if key is not None:
                tx.keys.add(IdempotencyKey(owner, key, asked, result=id, created=now))
            return None

        job = Job.new(BACKTEST, kept, id=id, owner=owner, now=now)
        submitted = self.submit(job, now=now, known=known)
        return submitted, submitted.id != id


@attrs.frozen
class DoBacktest:
    """Run a backtest that was asked for as a job."""

    run_backtest: RunBacktest
    reports: Reports
    clock: Clock
    cautions: Sequence[str] = ()

    def __call__(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """Its figures, see `record`; what they follow from is kept as a report of the job's id.

        Raises:
            RebalancerError: as `RunBacktest`.
            Unavailable: the report cannot be kept now.
        """
        order = BacktestOrder.of(job.request)
        done = 0

        def one_more(_: str) -> None:
            nonlocal done
            done += 1
            progress(done / (len(order.policies) + 1))  # the evidence comes after the last policy

        outcome = self.run_backtest(order.request(), cautions=self.cautions, progress=one_more)
        figures = backtest_document(outcome)
        self.reports.save(
            Report(
                id=job.id,
                kind=BACKTEST,
                subject=str(job.owner),
                created=self.clock(),
                schema=1,
                document={"request": dict(job.request), "result": figures},
                series={result.policy: result.values for result in outcome.results},
                dates=outcome.dates,
            )
        )
        return figures


@attrs.frozen
class ReadSeries:
    """See how policies did over time."""

    work: UnitOfWork
    reports: Reports

    def __call__(
        self, id: UUID, *, owner: UUID, policy: str | None = None, points: int | None = None
    ) -> tuple[list[date], dict[str, list[float]]]:
        """Days, and what the capital had become on each, by policy.

        Args:
            id: Of the job.
            owner: Whose it must be.
            policy: Of this one alone.
            points: So many days at most, the first and the last among them, evenly apart.

        Raises:
            NotFound: there is no such backtest, or it is somebody else's, or it has no such policy.
            JobChanged: it has not succeeded.
            Unavailable: the reports cannot be read now.
        """
        with self.work.read() as tx:
            job = tx.jobs.get(id, owner=owner)
        if job.kind != BACKTEST:
            raise NotFound(f"there is no backtest {id}")
        if job.state is not JobState.SUCCEEDED:
            raise JobChanged(f"job {id} is {job.state}: it has no results")
        report = self.reports.get(id)
        if report.dates is None or (policy is not None and policy not in report.series):
            raise NotFound(f"backtest {id} has no policy {policy!r}")
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


def _window(history: PriceHistory, first: date | None, last: date | None) -> tuple[int, int]:
    """Rows of the window's first and last close."""
    dates = history.dates
    begin = 0 if first is None else int(np.searchsorted(dates, np.datetime64(first, "D")))
    end = len(dates) - 1
    if last is not None:
        end = int(np.searchsorted(dates, np.datetime64(last, "D"), side="right")) - 1
    if begin >= len(dates):
        raise InvalidRequest(f"{first} lies after the last close, {dates[-1]}", field="from")
    if end < 0:
        raise InvalidRequest(f"{last} lies before the first close, {dates[0]}", field="to")
    if end < begin:
        raise InvalidRequest(f"{last} lies before the window begins, {dates[begin]}", field="to")
    return begin, end


def _risk_free(
    history: PriceHistory, first: int, source: float | str
) -> tuple[Floats, PriceHistory]:
    """(T,) simple return of cash over each row, and the history without its column."""
    if isinstance(source, str):
        if source not in history.columns:
            raise InvalidRequest(
                f"{source!r} is neither a column of the prices nor a rate a year such as 0.02",
                field="risk_free",
            )
        closes = history.closes[:, history.column(source)]
        if np.isnan(closes[first]):
            raise InvalidRequest(
                f"{source} has no price on {history.dates[first]}, when the window begins",
                field="risk_free",
            )
        if len(history.symbols) == 1:
            raise InvalidRequest(
                f"{source} is the only column: nothing is left to invest in", field="risk_free"
            )
        rest = history.select([symbol for symbol in history.symbols if symbol != source])
        earned = np.zeros(len(closes))
        earned[1:] = np.nan_to_num(closes[1:] / closes[:-1] - 1.0)
        return earned, rest
    if not -0.5 < source < 10:
        raise InvalidRequest(
            f"must be a rate a year such as 0.02 for 2%, got {source}", field="risk_free"
        )
    return np.full(len(history), (1.0 + source) ** (1 / TRADING_DAYS) - 1.0), history


def _targets(symbols: Sequence[str], wanted: Mapping[str, float] | None) -> Floats:
    """(N,) strategic weights."""
    if wanted is None:
        return np.full(len(symbols), 1.0 / len(symbols))
    unknown = [symbol for symbol in wanted if symbol not in symbols]
    if unknown:
        raise InvalidRequest(
            f"{', '.join(unknown)}: the prices have no such column", field="targets"
        )
    for symbol, weight in wanted.items():
        if not 0 <= weight <= 1 + TARGET_TOLERANCE:
            raise InvalidRequest(
                f"must be a fraction between 0 and 1, got {weight}", field=f"targets.{symbol}"
            )
    targets = np.array([wanted.get(symbol, 0.0) for symbol in symbols])
    total = targets.sum()
    if total > 1 + TARGET_TOLERANCE:
        raise InvalidRequest(f"sum to {total:.6g}, more than 1; lower them", field="targets")
    scaled: Floats = targets / max(total, 1.0)
    return scaled
