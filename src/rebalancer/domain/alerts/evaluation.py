"""Evaluate the alerts of many portfolios at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import attrs
import numpy as np

from rebalancer.domain.alerts.measures import Measures, Peak
from rebalancer.domain.alerts.settings import (
    OF_MARKET,
    OF_PROPOSALS,
    AlertKind,
    AlertSettings,
)
from rebalancer.domain.alerts.watches import (
    Conditions,
    Episode,
    Watch,
    line_up,
    seconds,
    step_watches,
)

_WHOLE = (AlertKind.DRIFT, AlertKind.DRAWDOWN, AlertKind.CASH_ABOVE, AlertKind.CASH_BELOW)
_SECONDS_OF_DAY = 86_400.0


@attrs.frozen
class AlertState:
    """What is remembered of a portfolio between two evaluations.

    Attributes:
        watches: Those that have fired before.
        peak: See `Peak`; None before it is needed.
        deposit_seen: When a deposit that still lies uninvested was first seen; None without one.
        evaluated: Time of the last evaluation; None before the first.
    """

    watches: tuple[Watch, ...] = ()
    peak: Peak | None = None
    deposit_seen: datetime | None = None
    evaluated: datetime | None = None

    def note_deposit(self, uninvested: bool, now: datetime) -> AlertState:
        """Return the state with a deposit that lies uninvested, or without one.

        Its age counts from when it was first seen, so that an entry for an earlier day is not old
        at once.
        """
        seen = (self.deposit_seen or now) if uninvested else None
        return attrs.evolve(self, deposit_seen=seen)


@attrs.frozen
class Observation:
    """Portfolio at the time of an evaluation, besides what `Measures` has.

    Attributes:
        portfolio: Its id.
        settings: The alerts that its owner wants.
        state: The state before.
        band: Half-width of the portfolio's own band.
        symbols: Assets of its slots.
        missed_sessions: Sessions without a close, by asset; None where they are not known.
        proposals: Times at which the undecided proposals were made and expire, by id.
        kinds: Evaluated alone; alerts of all others stay as they are.
    """

    portfolio: UUID
    settings: AlertSettings
    state: AlertState
    band: float
    symbols: tuple[str, ...]
    missed_sessions: Mapping[str, int | None] = attrs.field(factory=dict)
    proposals: Mapping[UUID, tuple[datetime, datetime]] = attrs.field(factory=dict)
    kinds: frozenset[AlertKind] = frozenset(AlertKind)


@attrs.frozen
class Evaluated:
    """What an evaluation found for one portfolio.

    Attributes:
        state: The state after it.
        began: Episodes that began: these are the alerts.
        ended: Episodes that ended, by kind, subject and number.
    """

    state: AlertState
    began: tuple[Episode, ...] = ()
    ended: tuple[tuple[AlertKind, str, int], ...] = ()


def evaluate_alerts(
    observations: Sequence[Observation], measures: Measures, now: datetime
) -> list[Evaluated]:
    """Evaluate the alerts of B portfolios, in any order.

    No portfolio depends on its neighbours. One that was evaluated at this time or later before
    stays as it is, so that a late or repeated look has no effect.

    Args:
        observations: One a portfolio.
        measures: Of the same portfolios, in the same order.
        now: Time of the evaluation.
    """
    current = [one.state.evaluated is None or one.state.evaluated < now for one in observations]
    conditions = build_conditions(observations, measures, now, current)
    known = [{watch.key: watch for watch in one.state.watches} for one in observations]
    states = line_up(conditions, known)
    step = step_watches(states, conditions, now)
    changed: dict[int, list[int]] = {}
    for at in np.flatnonzero(step.fired | step.armed).tolist():
        changed.setdefault(int(conditions.portfolios[at]), []).append(at)
    watched = _watched_subjects(conditions, known)
    found = []
    for row, one in enumerate(observations):
        if not current[row]:
            found.append(Evaluated(one.state))
            continue
        watches = known[row]
        began: list[Episode] = []
        ended: list[tuple[AlertKind, str, int]] = []
        for at in changed.get(row, ()):
            kind, subject = conditions.kinds[at], conditions.subjects[at]
            number = int(step.states.episodes[at])
            if step.fired[at]:
                watches[kind, subject] = Watch(kind, subject, number, now, now)
                began.append(
                    Episode(
                        one.portfolio,
                        kind,
                        subject,
                        number,
                        now,
                        float(conditions.values[at]),
                        float(conditions.limits[at]),
                    )
                )
            else:
                watches[kind, subject] = attrs.evolve(watches[kind, subject], firing_since=None)
                ended.append((kind, subject, number))
        for watch in one.state.watches:
            if watch.kind in one.kinds and watch.key not in watched.get(row, ()):  # subject is gone
                if watch.firing_since is not None:
                    ended.append((*watch.key, watch.episode))
                    watches[watch.key] = attrs.evolve(watch, firing_since=None)
                if watch.kind in OF_PROPOSALS:  # a decided proposal never waits again
                    del watches[watch.key]
        kept = tuple(watches[key] for key in sorted(watches))
        state = attrs.evolve(one.state, watches=kept, evaluated=now)
        found.append(Evaluated(state, tuple(began), tuple(ended)))
    return found


def _watched_subjects(
    conditions: Conditions, known: Sequence[Mapping[tuple[AlertKind, str], Watch]]
) -> dict[int, set[tuple[AlertKind, str]]]:
    """Return kinds and subjects of the conditions of portfolios that have watches, by row."""
    having = np.fromiter((bool(one) for one in known), bool, len(known))
    found: dict[int, set[tuple[AlertKind, str]]] = {}
    for at in np.flatnonzero(having[conditions.portfolios]).tolist():
        key = (conditions.kinds[at], conditions.subjects[at])
        found.setdefault(int(conditions.portfolios[at]), set()).add(key)
    return found


@attrs.define
class _Columns:
    """Conditions that are being collected."""

    rows: list[int] = attrs.field(factory=list)
    kinds: list[AlertKind] = attrs.field(factory=list)
    subjects: list[str] = attrs.field(factory=list)
    values: list[float] = attrs.field(factory=list)
    limits: list[float] = attrs.field(factory=list)

    def add(self, row: int, kind: AlertKind, subject: str, value: float, limit: float) -> None:
        self.rows.append(row)
        self.kinds.append(kind)
        self.subjects.append(subject)
        self.values.append(value)
        self.limits.append(limit)


def build_conditions(
    observations: Sequence[Observation],
    measures: Measures,
    now: datetime,
    current: Sequence[bool],
) -> Conditions:
    """Collect the conditions that portfolios have, one a kind and subject."""
    figures = {
        AlertKind.DRIFT: measures.drift.tolist(),
        AlertKind.DRAWDOWN: measures.drawdown.tolist(),
        AlertKind.CASH_ABOVE: measures.cash.tolist(),
        AlertKind.CASH_BELOW: measures.cash.tolist(),
    }
    departures = measures.departures.tolist()
    found = _Columns()
    for row, one in enumerate(observations):
        if not current[row]:
            continue
        settings, kinds = one.settings, one.kinds
        if settings.band and AlertKind.BAND in kinds:
            limit = settings.limit(AlertKind.BAND, one.band)
            assert limit is not None  # the alert is wanted
            for slot, symbol in enumerate(one.symbols):
                found.add(row, AlertKind.BAND, symbol, departures[row][slot], limit)
        for kind in _WHOLE:
            limit = settings.limit(kind, one.band)
            if limit is not None and kind in kinds:
                found.add(row, kind, "", figures[kind][row], limit)
        if kinds - OF_MARKET:
            _add_timed(found, row, one, now)
    rows = np.array(found.rows, np.intp)
    margins = np.fromiter((one.settings.margin for one in observations), float, len(observations))
    pauses = np.fromiter(
        (seconds(one.settings.pause) for one in observations), np.intp, len(observations)
    )
    return Conditions(
        rows,
        found.kinds,
        found.subjects,
        np.array(found.values, np.float64),
        np.array(found.limits, np.float64),
        margins[rows],
        pauses[rows],
    )


def _add_timed(found: _Columns, row: int, one: Observation, now: datetime) -> None:
    """Collect the conditions that follow from the time alone.

    A deposit may lie for the whole of its days, and a proposal may wait for the whole of its hours,
    so their alerts begin just then.
    """
    settings, kinds = one.settings, one.kinds
    if settings.deposit_uninvested is not None and AlertKind.DEPOSIT_UNINVESTED in kinds:
        seen = one.state.deposit_seen
        days = 0.0 if seen is None else (now - seen).total_seconds() / _SECONDS_OF_DAY
        limit = float(settings.deposit_uninvested)
        found.add(row, AlertKind.DEPOSIT_UNINVESTED, "", days, limit)
    if settings.prices_stale is not None and AlertKind.PRICES_STALE in kinds:
        for symbol in one.symbols:
            missed = one.missed_sessions.get(symbol)
            value = np.nan if missed is None else float(missed)
            found.add(row, AlertKind.PRICES_STALE, symbol, value, float(settings.prices_stale))
    for kind, limit_hours in (
        (AlertKind.PROPOSAL_WAITS, settings.proposal_waits),
        (AlertKind.PROPOSAL_EXPIRES, settings.proposal_expires),
    ):
        if limit_hours is None or kind not in kinds:
            continue
        for id, (made, expires) in one.proposals.items():
            span = now - made if kind is AlertKind.PROPOSAL_WAITS else expires - now
            found.add(row, kind, str(id), span.total_seconds() / 3600.0, float(limit_hours))
