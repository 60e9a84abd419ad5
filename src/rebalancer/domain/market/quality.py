"""Findings of the checks of market data, and what operators decide on them.

The checks are in `rebalancer.domain.market.close_quality`, about changes of closes, and in
`bar_quality`, `action_quality` and `day_quality` beside it. What fails is kept and marked. Closes
with an error are hidden from policies, until a later close, another import or an operator releases
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats

A_WEEK, A_MONTH = 5, 23
"""Weekdays, at most."""


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
    UNVALUED_DISTRIBUTION = "unvalued_distribution"
    STALE = "stale"
    MISSING_SESSION = "missing_session"
    EXTRA_SESSION = "extra_session"
    SOURCES_DISAGREE = "sources_disagree"

    @property
    def severity(self) -> Severity:
        """Consequence of its findings."""
        return Severity.ERROR if self in _NOT_USED else Severity.WARNING


ERRORS = (
    *(Rule.SPLIT_NOT_IN_PRICES, Rule.UNIT_CHANGE, Rule.DECIMAL_SHIFT),
    *(Rule.TICKER_REUSED, Rule.IMPLAUSIBLE_MOVE),
)
"""Rules about changes whose findings are errors, most specific first."""

_NOT_USED = frozenset(
    {
        *ERRORS,
        *(Rule.NOT_POSITIVE, Rule.DUPLICATE, Rule.FUTURE_DATE),
        *(Rule.IMPLAUSIBLE_DIVIDEND, Rule.STALE),
    }
)


class Decision(StrEnum):
    """State of a finding: an operator's decision on the figures, or none yet.

    A finding of an import is stored as open, since it cannot be made again from stored bars. It is
    resolved, like a decision, when a later import has other figures.
    """

    OPEN = "open"
    ACCEPT = "accept"
    REJECT = "reject"
    RESOLVED = "resolved"


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


_ABOUT_ACTIONS = frozenset(
    {Rule.IMPLAUSIBLE_DIVIDEND, Rule.UNVALUED_DISTRIBUTION, Rule.SPLIT_NOT_IN_PRICES}
)
_ABOUT_NO_CLOSE = frozenset(
    {Rule.VOLUME_ANOMALY, Rule.OPEN_IS_CLOSE, Rule.STALE, Rule.MISSING_SESSION}
)

DaysBySymbol = Mapping[str, frozenset[date]]
"""Days of some assets."""


@attrs.frozen
class Decisions:
    """Closes and corporate actions on which operators decided.

    Attributes:
        accepted: Days on which a change is a true move, or an action is right.
        rejected: Days whose closes are taken for missing.
        rejected_actions: Ex-days of splits and distributions that are left out.
    """

    accepted: DaysBySymbol = attrs.field(factory=dict)
    rejected: DaysBySymbol = attrs.field(factory=dict)
    rejected_actions: DaysBySymbol = attrs.field(factory=dict)

    @classmethod
    def of(cls, verdicts: Iterable[Verdict], *, known_by: datetime | None = None) -> Decisions:
        """Collect verdicts; only those that were decided by a time, if one is given."""
        accepted: dict[str, set[date]] = {}
        closes: dict[str, set[date]] = {}
        actions: dict[str, set[date]] = {}
        for one in verdicts:
            if known_by is not None and one.decided > known_by:
                continue
            if one.decision is Decision.ACCEPT:
                accepted.setdefault(one.symbol, set()).add(one.day)
            elif one.decision is Decision.REJECT and one.rule in _ABOUT_ACTIONS:
                actions.setdefault(one.symbol, set()).add(one.day)
            elif one.decision is Decision.REJECT and one.rule not in _ABOUT_NO_CLOSE:
                closes.setdefault(one.symbol, set()).add(one.day)
        frozen = (
            {symbol: frozenset(days) for symbol, days in each.items()}
            for each in (accepted, closes, actions)
        )
        return cls(*frozen)

    def without_rejected(self, symbols: Sequence[str], days: Dates, closes: Floats) -> Floats:
        """Return (T, N) closes without rejected ones; the same array if there are none."""
        columns = {symbol: column for column, symbol in enumerate(symbols)}
        table = closes
        for symbol, wrong in self.rejected.items():
            if symbol not in columns:
                continue
            rows = np.flatnonzero(np.isin(days, np.array(sorted(wrong), dtype="datetime64[D]")))
            if len(rows):
                table = table.copy(order="K") if table is closes else table
                table[rows, columns[symbol]] = np.nan
        return table


NO_DECISIONS = Decisions()


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
            case Rule.SPLIT_NOT_IN_PRICES:
                return (
                    f"has a split on {self.day} that its close of that day does not show, so that "
                    f"its adjusted close {moved}{self._consequence}"
                )
            case Rule.TICKER_REUSED:
                return (
                    f"{moved} from {self.last_day} to {self.day}, without a close between: another "
                    f"asset may have its symbol now{self._consequence}"
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


def count_weekdays(days: Dates) -> Floats:
    """(T,) weekdays (Monday to Friday) from the first of some days, which increase, to each."""
    counted: Floats = np.asarray(np.busday_count(days[:1], days), dtype=np.float64)
    return counted


def _digits(price: float) -> str:
    """Write a price with the digits in which it was read, without an exponent.

    A computed one has 12 digits at most.
    """
    read = Decimal(repr(price))
    return f"{read if len(read.as_tuple().digits) <= 15 else Decimal(f'{price:.12g}'):f}"
