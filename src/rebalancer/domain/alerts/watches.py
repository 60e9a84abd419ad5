"""Alerts with hysteresis: a watch fires once, and again only after it was armed again.

A watch belongs to one kind of alert and one subject of a portfolio. It is armed or firing. While it
is armed, a value outside its limit begins an episode, which is the alert. The episode ends, and the
watch is armed again, once the value is back inside by a margin. In between, and while the value is
not known, nothing changes. A further episode also waits until the minimum pause has passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import attrs
import numpy as np

from rebalancer.domain.alerts.settings import BELOW, AlertKind
from rebalancer.domain.arrays import Bools, Dates, Floats, Rows

NEVER = np.datetime64("NaT", "us")


@attrs.frozen
class Watch:
    """State of one watch.

    Attributes:
        kind: Kind of the alert.
        subject: Asset or proposal; empty for the whole portfolio.
        episode: Number of the last episode; 0 before the first.
        firing_since: Beginning of the present episode; None while armed.
        last_alert: Beginning of the last episode; None before the first.
    """

    kind: AlertKind
    subject: str = ""
    episode: int = 0
    firing_since: datetime | None = None
    last_alert: datetime | None = None

    @property
    def key(self) -> tuple[AlertKind, str]:
        """Kind and subject, which are unique in a portfolio."""
        return self.kind, self.subject


@attrs.frozen
class Episode:
    """One alert, from the value that left its limit until it was back inside.

    Attributes:
        portfolio: The portfolio.
        kind: Kind of the alert.
        subject: Asset or proposal; empty for the whole portfolio.
        number: From 1, of this kind and subject.
        began: When it began.
        value: The value then, in the unit of the limit.
        limit: The limit then.
        ended: When the watch was armed again; None while it fires.
    """

    portfolio: UUID
    kind: AlertKind
    subject: str
    number: int
    began: datetime
    value: float
    limit: float
    ended: datetime | None = None

    @property
    def key(self) -> str:
        """Name of the alert: the same whichever worker evaluates it, and however often."""
        return f"alert:{self.portfolio}:{self.kind}:{self.subject}:{self.number}"

    @property
    def id(self) -> UUID:
        """Id of the episode, which follows from its key."""
        return uuid5(self.portfolio, self.key)


@attrs.frozen(eq=False)
class Conditions:
    """W conditions of any number of portfolios, in any order.

    Attributes:
        portfolios: (W,) row of the portfolio.
        kinds: W kinds.
        subjects: W subjects; kind and subject are unique in a portfolio.
        values: (W,) present value; NaN while it is not known.
        limits: (W,) limits.
        margins: (W,) see `AlertSettings.margin`.
        pauses: (W,) least seconds between two alerts.
    """

    portfolios: Rows
    kinds: Sequence[AlertKind]
    subjects: Sequence[str]
    values: Floats
    limits: Floats
    margins: Floats
    pauses: Rows

    @property
    def below(self) -> Bools:
        """(W,) whether a value is inside while it is at least the limit."""
        return np.fromiter((kind in BELOW for kind in self.kinds), bool, len(self.kinds))

    @property
    def outside(self) -> Bools:
        """(W,) whether the value is beyond the limit."""
        found: Bools = np.where(self.below, self.values < self.limits, self.values > self.limits)
        return found

    @property
    def inside(self) -> Bools:
        """(W,) whether the value is inside the limit by the margin."""
        margin = self.margins * self.limits
        found: Bools = np.where(
            self.below, self.values >= self.limits + margin, self.values <= self.limits - margin
        )
        return found


@attrs.frozen(eq=False)
class WatchStates:
    """States of W watches as arrays.

    Attributes:
        episodes: (W,) number of the last episode; 0 before the first.
        firing: (W,) whether the watch fires.
        last: (W,) beginning of the last episode, datetime64[us] in UTC; NaT before the first.
    """

    episodes: Rows
    firing: Bools
    last: Dates


@attrs.frozen(eq=False)
class Step:
    """What one look did to W watches.

    Attributes:
        states: The states after it.
        fired: (W,) whether an episode began: these are the alerts.
        armed: (W,) whether an episode ended.
    """

    states: WatchStates
    fired: Bools
    armed: Bools


def step_watches(states: WatchStates, conditions: Conditions, now: datetime) -> Step:
    """Look at the values of W watches; a watch does not depend on the others."""
    at = to_moment(now)
    pauses = conditions.pauses.astype("timedelta64[s]")
    rested = np.isnat(states.last) | (at - states.last >= pauses)
    fired: Bools = ~states.firing & conditions.outside & rested
    armed: Bools = states.firing & conditions.inside
    return Step(
        WatchStates(
            states.episodes + fired,
            (states.firing & ~armed) | fired,
            np.where(fired, at, states.last),
        ),
        fired,
        armed,
    )


def line_up(
    conditions: Conditions, watches: Sequence[Mapping[tuple[AlertKind, str], Watch]]
) -> WatchStates:
    """Return the states of conditions; a condition without a watch is armed.

    Args:
        conditions: The conditions.
        watches: Known watches of each portfolio, by its row.
    """
    count = len(conditions.kinds)
    episodes, firing = np.zeros(count, np.intp), np.zeros(count, bool)
    last = np.full(count, NEVER)
    known = np.fromiter((bool(one) for one in watches), bool, len(watches))
    for at in np.flatnonzero(known[conditions.portfolios]).tolist():
        found = watches[conditions.portfolios[at]].get(
            (conditions.kinds[at], conditions.subjects[at])
        )
        if found is not None:
            episodes[at] = found.episode
            firing[at] = found.firing_since is not None
            if found.last_alert is not None:
                last[at] = to_moment(found.last_alert)
    return WatchStates(episodes, firing, last)


def to_moment(time: datetime) -> np.datetime64:
    """Return a time with a zone as datetime64[us] in UTC."""
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None), "us")


def seconds(hours: float) -> int:
    """Return hours in seconds."""
    return int(timedelta(hours=hours) / timedelta(seconds=1))
