"""Checks of closes: jumps that are likelier errors of the data than moves of a price.

A rule is a function on logarithmic changes between successive closes of an asset, and on the
weekdays that each change spans. A change that may be a true move is a warning. An error is one that
hardly any asset has made: from that close on the asset's closes are not used, until one is nearer
to the level before than to the level after.

Nothing here uses a later close than the day on which a finding is known, so that a backtest sees
what an investor could have seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows

TEN_TOLERANCE = 0.1
"""Tolerance of a logarithmic change near a factor of 10: the size of a large daily move."""

UNIT_TOLERANCE = 0.25
"""The same near 100 and 1,000, which no price moves by; covers a crash on the same day."""

SPLIT_TOLERANCE = 0.03
SPLIT_RATIOS = (2, 3, 4, 5, 6, 7, 8, 12)
"""Usual split ratios whose change a price may also make by itself."""

LARGE = 0.6
"""A change per root of weekdays, logarithmic, that is worth a warning: +82% or -45% in a day.

For up to a month no more than for a week: few prices go up 3.8-fold or fall by 74% in a month."""

SPIKE = 0.3
"""The same for a change that the next close reverts: +35% or -26%."""

REVERTED = 0.2
"""A spike has reverted when at most this share of it is left."""

IMPLAUSIBLE = np.log(15.0)
"""A change from which on a move of the price is implausible: 15-fold, or to a fifteenth."""

MOST_IMPLAUSIBLE = np.log(50.0)
"""The same over any number of weekdays, so that a change of unit is found in monthly closes too."""

A_WEEK, A_MONTH = 5, 23
"""Weekdays, at most."""

SHORT_LEVEL, SETTLED_LEVEL = 5, 20
"""At the beginning of prices, a level of at most 5 closes was the error if the next level has
lasted 20 closes."""


class Severity(StrEnum):
    """Consequence of a finding: figures with an error are not used, a warning is a caution."""

    ERROR = "error"
    WARNING = "warning"


class Rule(StrEnum):
    """Rules that market data are checked by; stable names for programs.

    The first seven are about changes of closes, see `check_closes`. The others are about bars, see
    `rebalancer.domain.market.bar_quality`, about actions, see
    `rebalancer.domain.market.action_quality`, and about days and sources, see
    `rebalancer.domain.market.day_quality`.
    """

    UNIT_CHANGE = "unit_change"
    DECIMAL_SHIFT = "decimal_shift"
    IMPLAUSIBLE_MOVE = "implausible_move"
    TICKER_REUSED = "ticker_reused"
    SPLIT_RATIO = "split_ratio"
    LARGE_MOVE = "large_move"
    SPIKE = "spike"
    NOT_POSITIVE = "not_positive"
    DUPLICATE = "duplicate"
    FUTURE_DATE = "future_date"
    HIGH_BELOW_LOW = "high_below_low"
    OPEN_IS_CLOSE = "open_is_close"
    VOLUME_ANOMALY = "volume_anomaly"
    SPLIT_NOT_IN_PRICES = "split_not_in_prices"
    IMPLAUSIBLE_DIVIDEND = "implausible_dividend"
    STALE = "stale"
    MISSING_SESSION = "missing_session"
    EXTRA_SESSION = "extra_session"
    SOURCES_DISAGREE = "sources_disagree"

    @property
    def severity(self) -> Severity:
        """Consequence of its findings."""
        return Severity.ERROR if self in _NOT_USED else Severity.WARNING


ERRORS = (Rule.UNIT_CHANGE, Rule.DECIMAL_SHIFT, Rule.IMPLAUSIBLE_MOVE)
"""Rules about changes whose findings are errors, most specific first."""

_NOT_USED = frozenset({*ERRORS, Rule.NOT_POSITIVE, Rule.DUPLICATE, Rule.FUTURE_DATE})


class Decision(StrEnum):
    """State of a finding: an operator's decision on the figures, or none yet.

    A finding of an import is stored as open, since it cannot be made again from stored bars.
    """

    OPEN = "open"
    ACCEPT = "accept"
    REJECT = "reject"


VerdictKey = tuple[str, date, Rule]
"""Symbol, day and rule of a finding."""


@attrs.frozen
class Verdict:
    """An operator's decision on a finding.

    Attributes:
        symbol: The asset.
        rule: The rule that found it.
        day: Day of the finding.
        decision: Accepted figures are used; rejected ones are not, until a later import replaces
            them.
        decided: When.
        note: Why, for readers.
    """

    symbol: str
    rule: Rule
    day: date
    decision: Decision
    decided: datetime
    note: str = ""

    @property
    def key(self) -> VerdictKey:
        """What identifies the finding."""
        return (self.symbol, self.day, self.rule)


def later_verdicts(
    stored: Mapping[VerdictKey, Verdict], given: Iterable[Verdict]
) -> dict[VerdictKey, Verdict]:
    """Return the given decisions that replace stored ones, by finding: the latest one counts."""
    found: dict[VerdictKey, Verdict] = {}
    for one in given:
        before = found.get(one.key) or stored.get(one.key)
        if before is None or (one != before and one.decided >= before.decided):
            found[one.key] = one
    return found


@attrs.frozen
class Finding:
    """A suspicious change of an asset's closes.

    Attributes:
        symbol: The asset.
        rule: The rule that found it.
        day: Day of the close after the change.
        known: Day from which on the change can be known; later than ``day`` for a spike.
        last_day: Day of the close before the change.
        before: That close.
        after: Close after the change.
        until: Day of the first close at the level before; None if there is none. An error's closes
            are not used before.
    """

    symbol: str
    rule: Rule
    day: date
    known: date
    last_day: date
    before: float
    after: float
    until: date | None = None

    @property
    def severity(self) -> Severity:
        """Consequence of the rule."""
        return self.rule.severity

    @property
    def withholds(self) -> bool:
        """Whether the asset's closes are not used now."""
        return self.severity is Severity.ERROR and self.until is None

    def as_of(self, day: date) -> Finding | None:
        """Return what was known on a day; None if nothing was."""
        if self.known > day:
            return None
        return attrs.evolve(self, until=None) if self.until and self.until > day else self

    @property
    def text(self) -> str:
        """Description in one sentence, without a final period."""
        return f"{self.symbol} {self.clause}"

    @property
    def clause(self) -> str:
        """Description of what the asset did."""
        factor = self.after / self.before
        verb = "rose" if factor > 1 else "fell"
        moved = f"{verb} from {_digits(self.before)} to {_digits(self.after)}"
        larger = max(factor, 1 / factor)
        match self.rule:
            case Rule.UNIT_CHANGE:
                near = 100 if larger < 400 else 1000
                return (
                    f"{moved} on {self.day}, a factor near {near}: its unit may have changed, "
                    f"as between pence and pounds{self._consequence}"
                )
            case Rule.DECIMAL_SHIFT:
                return (
                    f"{moved} on {self.day}, a factor near 10: a decimal point may be misplaced, "
                    f"or a split not adjusted{self._consequence}"
                )
            case Rule.IMPLAUSIBLE_MOVE:
                return (
                    f"{moved} on {self.day}, a factor of {larger:.0f}: a change of unit or "
                    f"currency or a split is likelier than such a move{self._consequence}"
                )
            case Rule.SPLIT_RATIO:
                return (
                    f"{moved} on {self.day}, a factor near {larger:.0f}: a split may not be "
                    f"adjusted{self._return}"
                )
            case _:
                return (
                    f"{moved} on {self.day}, by {factor - 1:+.0%} from close to close{self._return}"
                )

    @property
    def _return(self) -> str:
        return "" if self.until is None else f", and was back on {self.until}"

    @property
    def _consequence(self) -> str:
        if self.until is None:
            return f"; its closes from then on are not used, only that of {self.last_day}"
        return f"; its closes before {self.until} are not used"


def is_unit_change(change: Floats) -> Bools:
    """(M,) whether changes are near a factor of 100 or 1,000, up or down."""
    size = np.abs(change)
    near: Bools = np.minimum(np.abs(size - np.log(100.0)), np.abs(size - np.log(1000.0))) <= (
        UNIT_TOLERANCE
    )
    return near


def is_decimal_shift(change: Floats, weekdays: Floats) -> Bools:
    """(M,) whether changes within a week are near a factor of 10, up or down."""
    near: Bools = (np.abs(np.abs(change) - np.log(10.0)) <= TEN_TOLERANCE) & (weekdays <= A_WEEK)
    return near


def is_implausible(change: Floats, weekdays: Floats) -> Bools:
    """(M,) whether changes are larger than a price moves, given the weekdays that they span."""
    least = np.clip(LARGE * np.sqrt(weekdays), IMPLAUSIBLE, MOST_IMPLAUSIBLE)
    larger: Bools = np.abs(change) >= least
    return larger


def is_large(change: Floats, weekdays: Floats) -> Bools:
    """(M,) whether changes deserve a warning, given the weekdays that they span."""
    counted = np.where(weekdays <= A_MONTH, np.clip(weekdays, 1.0, A_WEEK), weekdays)
    large: Bools = np.abs(change) >= LARGE * np.sqrt(counted)
    return large


def is_split_ratio(change: Floats, weekdays: Floats) -> Bools:
    """(M,) whether large changes within a week are near a usual split ratio, up or down."""
    size = np.abs(change)[:, None]
    near = (np.abs(size - np.log(SPLIT_RATIOS)) <= SPLIT_TOLERANCE).any(axis=1)
    usual: Bools = near & is_large(change, weekdays) & (weekdays <= A_WEEK)
    return usual


def is_spike(change: Floats, weekdays: Floats) -> Bools:
    """(M,) whether changes are reverted by the next one; the last one is never."""
    found = np.zeros(len(change), dtype=bool)
    left = np.abs(change[1:] + change[:-1])
    least = SPIKE * np.sqrt(np.maximum(weekdays[:-1], 1.0))
    size = np.abs(change[:-1])
    found[:-1] = (size >= least) & (left <= REVERTED * size)
    return found


def check_closes(
    symbols: Sequence[str], days: Dates, closes: Floats, *, accepted: Collection[str] = ()
) -> tuple[Bools | None, tuple[Finding, ...]]:
    """Check the closes of N assets.

    Args:
        symbols: N symbols.
        days: Shape (T,), increasing.
        closes: Shape (T, N), as reported, NaN where missing.
        accepted: Symbols whose jumps are true; they are not checked.

    Returns:
        (T, N) closes that an error makes unusable, None if there are none; and the findings, by
        asset and day.
    """
    weekdays = count_weekdays(days)
    unusable: Bools | None = None
    findings: list[Finding] = []
    for column in _columns_with_jumps(closes).tolist():
        symbol = symbols[column]
        if symbol in accepted:
            continue
        rows = np.flatnonzero(~np.isnan(closes[:, column]))
        spoilt, found = _check_asset(symbol, days[rows], closes[rows, column], weekdays[rows])
        findings += found
        if spoilt.any():
            if unusable is None:
                unusable = np.zeros(closes.shape, dtype=bool)
            unusable[rows[spoilt], column] = True
    return unusable, tuple(findings)


def count_weekdays(days: Dates) -> Floats:
    """(T,) weekdays (Monday to Friday) from the first of some days, which increase, to each."""
    counted: Floats = np.asarray(np.busday_count(days[:1], days), dtype=np.float64)
    return counted


def _columns_with_jumps(closes: Floats) -> Rows:
    """Return the columns with a change that any rule may find."""
    with np.errstate(invalid="ignore"):
        logs = np.log(closes)
    missing = np.isnan(logs)
    if missing.any():
        rows = np.arange(len(logs))[:, None]
        last = np.maximum.accumulate(np.where(missing, 0, rows), axis=0)
        logs = np.take_along_axis(logs, last, axis=0)  # NaN before the first close
    largest = np.abs(np.diff(logs, axis=0))
    return np.flatnonzero((largest >= SPIKE).any(axis=0))


def _check_asset(
    symbol: str, days: Dates, closes: Floats, weekdays: Floats
) -> tuple[Bools, list[Finding]]:
    """Check one asset: (M,) unusable closes, and findings by day, given M closes."""
    spoilt = np.zeros(len(closes), dtype=bool)
    findings: list[Finding] = []

    def found(rule: Rule, before: int, at: int, known: int, until: int | None = None) -> Finding:
        return Finding(
            symbol=symbol,
            rule=rule,
            day=days[at].item(),
            known=days[known].item(),
            last_day=days[before].item(),
            before=float(closes[before]),
            after=float(closes[at]),
            until=None if until is None else days[until].item(),
        )

    logs = np.log(closes)
    change, span = np.diff(logs), np.diff(weekdays)
    masks = {
        Rule.UNIT_CHANGE: is_unit_change(change),
        Rule.DECIMAL_SHIFT: is_decimal_shift(change, span),
        Rule.IMPLAUSIBLE_MOVE: is_implausible(change, span),
    }
    wrong = np.append(False, np.logical_or.reduce(list(masks.values())))
    settled = -1  # the close from which on a new level is used
    start = 1
    while start < len(wrong) and wrong[start:].any():
        at = start + int(np.argmax(wrong[start:]))
        rule = next(each for each in ERRORS if masks[each][at - 1])
        level, jump = logs[at - 1], abs(float(change[at - 1]))
        back = np.abs(logs[at:] - level) < jump / 2
        until = at + int(np.argmax(back)) if back.any() else None
        new_level = at + SETTLED_LEVEL - 1
        if at <= SHORT_LEVEL and new_level < len(closes) and (until is None or until > new_level):
            until = settled = new_level
        findings.append(found(rule, at - 1, at, at, until))
        spoilt[at:until] = True
        if until is None:
            break
        start = until + 1
    used = np.flatnonzero(~spoilt)
    change, span = np.diff(logs[used]), np.diff(weekdays[used])
    if settled >= 0:
        change[np.searchsorted(used, settled) - 1] = 0.0  # reported already
    spike, large = is_spike(change, span), is_large(change, span)
    split = is_split_ratio(change, span)
    way_back = -1
    for at in np.flatnonzero(large | spike).tolist():
        if at == way_back:
            continue
        way_back = at + 1 if spike[at] else way_back
        rule = Rule.SPLIT_RATIO if split[at] else Rule.LARGE_MOVE if large[at] else Rule.SPIKE
        known = used[at + 1 if large[at] else at + 2]
        until = used[at + 2] if spike[at] else None
        findings.append(found(rule, used[at], used[at + 1], known, until))
    return spoilt, sorted(findings, key=lambda one: (one.known, one.day))


def _digits(price: float) -> str:
    """Write a price with the digits in which it was read, without an exponent."""
    return f"{Decimal(repr(price)):f}"
