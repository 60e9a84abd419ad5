"""Issues of market data: every finding, with its state and what was decided on it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from enum import StrEnum

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates
from rebalancer.domain.market.action_quality import check_actions
from rebalancer.domain.market.actions import (
    DISTRIBUTIONS,
    ActionKind,
    Actions,
    CorporateAction,
)
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.market.currencies import quote_unit
from rebalancer.domain.market.day_quality import extra_days, missing_sessions
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quality import (
    Decision,
    Finding,
    Rule,
    Severity,
    Verdict,
    VerdictKey,
)

_A_YEAR = np.timedelta64(365, "D")
"""Time before the last close in which missing sessions are looked for."""

BAR_RULES = frozenset(
    {
        *(Rule.NOT_POSITIVE, Rule.DUPLICATE, Rule.FUTURE_DATE),
        *(Rule.HIGH_BELOW_LOW, Rule.OPEN_IS_CLOSE, Rule.VOLUME_ANOMALY),
    }
)
"""Rules whose findings an import makes and stores."""


class IssueState(StrEnum):
    """State of an issue."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    RESOLVED = "resolved"


_STATES = {
    Decision.OPEN: IssueState.OPEN,
    Decision.ACCEPT: IssueState.ACCEPTED,
    Decision.REJECT: IssueState.REJECTED,
    Decision.RESOLVED: IssueState.RESOLVED,
}


@attrs.frozen
class Issue:
    """A finding as operators see it.

    Attributes:
        symbol: The asset.
        rule: The rule that found it.
        day: Day of the finding.
        state: Whether an operator decided on it, or a later close or import resolved it.
        text: Description in one sentence, without a final period.
        decided: When the state was stored; None if it follows from the prices.
    """

    symbol: str
    rule: Rule
    day: date
    state: IssueState
    text: str
    decided: datetime | None = None

    @property
    def key(self) -> VerdictKey:
        """What identifies the finding."""
        return (self.symbol, self.day, self.rule)

    @property
    def severity(self) -> Severity:
        """Consequence of the rule."""
        return self.rule.severity

    @property
    def clause(self) -> str:
        """Text without the symbol at its beginning."""
        return self.text.removeprefix(f"{self.symbol} ")


def find_issues(
    history: PriceHistory, actions: Actions, verdicts: Iterable[Verdict]
) -> tuple[Issue, ...]:
    """Return all issues of a market, sorted by symbol, day and rule.

    Args:
        history: Prices, in each asset's own currency.
        actions: All corporate actions, also those that are not used.
        verdicts: Stored states of findings.
    """
    found = {issue.key: issue for issue in _computed(history, actions)}
    for verdict in verdicts:
        made_again = verdict.key in found
        if verdict.decision is Decision.RESOLVED and made_again:
            continue
        issue = _of_verdict(verdict, history)
        if made_again:
            issue = attrs.evolve(issue, text=found[verdict.key].text)
        found[verdict.key] = issue
    return tuple(found[key] for key in sorted(found))


def _of_verdict(verdict: Verdict, history: PriceHistory) -> Issue:
    """Return the issue of a stored state; a day to come that has come is resolved."""
    state = _STATES[verdict.decision]
    if verdict.rule is Rule.FUTURE_DATE and state is IssueState.OPEN:
        column = history.columns.get(verdict.symbol)
        row = int(np.searchsorted(history.dates, np.datetime64(verdict.day, "D")))
        if (
            column is not None
            and row < len(history)
            and history.dates[row] == np.datetime64(verdict.day, "D")
        ):
            state = IssueState.RESOLVED
    return Issue(
        verdict.symbol,
        verdict.rule,
        verdict.day,
        state,
        f"{verdict.symbol} {verdict.note}".rstrip(),
        verdict.decided,
    )


def _computed(history: PriceHistory, actions: Actions) -> tuple[Issue, ...]:
    """Return the issues that follow from prices and actions."""

    def compute() -> tuple[Issue, ...]:
        return (
            *(_of_finding(finding) for finding in history.findings),
            *(_of_finding(finding) for finding in rate_findings(history)),
            *_stale(history),
            *_wrong_sessions(history),
            *_wrong_actions(history, actions),
        )

    return history.memo(("issues", actions.digest), compute)


def rate_findings(history: PriceHistory) -> tuple[Finding, ...]:
    """Return the findings about the exchange rates among the prices."""
    return () if history.quotes is None else history.quotes.exchange.findings


def _of_finding(finding: Finding) -> Issue:
    """Return the issue of a change of closes; a later close at the level before resolves it."""
    back = finding.severity is Severity.ERROR and finding.until is not None
    state = IssueState.RESOLVED if back else IssueState.OPEN
    return Issue(finding.symbol, finding.rule, finding.day, state, finding.text)


def _stale(history: PriceHistory) -> Iterator[Issue]:
    withheld = {one.symbol for one in history.findings if one.withholds}
    for column in np.flatnonzero(np.isnan(history.last_closes)).tolist():
        symbol = history.symbols[column]
        last = history.last_known(symbol)
        if last is None or symbol in withheld or history.ending(symbol) is not None:
            continue
        text = f"{symbol} has no close since {last[0]}, so that it is not tradable"
        yield Issue(symbol, Rule.STALE, last[0], IssueState.OPEN, text)


def _wrong_sessions(history: PriceHistory) -> Iterator[Issue]:
    """Yield assets with a stated market that lack sessions, or have closes on other days."""
    quotes = history.quotes
    if quotes is None or not quotes.sessions:
        return
    # Also closes that are not used, which have findings of their own.
    reported = history.reported_closes
    days_of = {
        column: history.dates[~np.isnan(reported[:, column])]
        for column, market in enumerate(quotes.markets)
        if market in quotes.sessions
    }
    latest: dict[str | None, np.datetime64] = {}
    for column, days in days_of.items():
        market = quotes.markets[column]
        if len(days) and (market not in latest or days[-1] > latest[market]):
            latest[market] = days[-1]
    for column, days in days_of.items():
        symbol, market = history.symbols[column], quotes.markets[column]
        if market is None or not len(days):
            continue
        sessions, until = quotes.sessions[market], latest[market]
        recent = days[days >= until - _A_YEAR]
        missing = missing_sessions(recent, sessions, until)
        if len(missing):
            yield _issue_of_days(
                symbol, Rule.MISSING_SESSION, missing, f"has no close of a session of {market} on"
            )
        extra = extra_days(days, sessions)
        if len(extra):
            yield _issue_of_days(
                symbol, Rule.EXTRA_SESSION, extra, f"has a close without a session of {market} on"
            )


def _issue_of_days(symbol: str, rule: Rule, days: Dates, what: str) -> Issue:
    more = len(days) - 1
    rest = f" and {more} more day{'' if more == 1 else 's'}" if more else ""
    text = f"{symbol} {what} {days[0]}{rest}"
    return Issue(symbol, rule, days[0].item(), IssueState.OPEN, text)


def find_action_issues(
    history: PriceHistory, actions: Actions, verdicts: Iterable[Verdict]
) -> tuple[Issue, ...]:
    """Return the issues of some corporate actions on which no operator decided.

    Args:
        history: Prices, in each asset's own currency.
        actions: These actions, also those that are not used.
        verdicts: Stored states of findings.
    """
    decided = {one.key for one in verdicts if one.decision in (Decision.ACCEPT, Decision.REJECT)}
    return tuple(one for one in _wrong_actions(history, actions) if one.key not in decided)


def _wrong_actions(history: PriceHistory, actions: Actions) -> Iterator[Issue]:
    """Yield distributions that the prices as traded do not show, or whose value is unknown."""
    quotes = history.quotes
    adjusted = frozenset[str]() if quotes is None else quotes.adjusted
    for symbol, own in actions.by_symbol.items():
        column = history.columns.get(symbol)
        if column is None or symbol in adjusted:
            continue
        rows = history.observed[:, column]
        days = history.dates[rows]
        traded = history.traded[rows, column]
        value = _Value(history, symbol, days)
        for verdict in check_actions(symbol, days, traded, own, value, known=_NO_TIME):
            text = f"{symbol} {verdict.note}"
            yield Issue(symbol, verdict.rule, verdict.day, IssueState.OPEN, text)
        for action in own:
            what = _describe_unvalued(history, action, value)
            if what is not None:
                text = f"{symbol} {what}; returns do not include it"
                yield Issue(
                    symbol, Rule.UNVALUED_DISTRIBUTION, action.ex_day, IssueState.OPEN, text
                )


def _describe_unvalued(history: PriceHistory, action: CorporateAction, value: _Value) -> str | None:
    """Describe a distribution or a spin-off whose value is unknown; None for others."""
    row = int(np.searchsorted(value.days, np.datetime64(action.ex_day, "D")))
    if not 0 < row < len(value.days):
        return None
    if action.kind in DISTRIBUTIONS:
        if not np.isnan(value(action, row)):
            return None
        own = history.currency_of(action.symbol, "")
        return (
            f"pays {action.value.normalize():f} {action.currency} per share on {action.ex_day}, "
            f"which no exchange rate converts to {own}"
        )
    if action.kind is not ActionKind.SPIN_OFF or action.other is None:
        return None
    column = history.columns.get(action.other)
    later = slice(int(np.searchsorted(history.dates, value.days[row])), None)
    if column is not None and history.observed[later, column].any():
        return None
    return f"spins off {action.other} on {action.ex_day}, which has no close since"


_NO_TIME = datetime.min.replace(tzinfo=UTC)


@attrs.frozen
class _Value:
    """Value of an action per share in the currency of the asset; NaN without an exchange rate."""

    history: PriceHistory
    symbol: str
    days: Dates

    def __call__(self, action: CorporateAction, row: int) -> float:
        own = self.history.currency_of(self.symbol, "")
        paid = quote_unit(action.currency) if action.currency else None
        if paid is None:
            return float(action.value)
        amount = float(action.value) / paid.divisor
        if paid.currency == own or not own:
            return amount
        quotes = self.history.quotes
        day = self.days[row : row + 1]
        rates = None if quotes is None else quotes.exchange.convert(paid.currency, own, day)
        return float("nan") if rates is None else amount * float(rates.rates[0])


def update_verdicts(
    stored: Iterable[Verdict],
    found: Iterable[Verdict],
    *,
    before: Mapping[str, Bars],
    given: Mapping[str, Mapping[date, float]],
    changed_actions: Collection[tuple[str, date]],
    known: datetime,
    source: str,
) -> list[Verdict]:
    """Return the states of findings that an import changes.

    Its own findings are open, unless an operator decided on them. Earlier ones of bars that it has
    without a finding are resolved, and so are decisions on closes and actions that it changes.

    Args:
        stored: States of findings.
        found: Findings of the import.
        before: Stored closes of its assets before.
        given: Its closes by symbol and day.
        changed_actions: Symbol and ex-day of actions with another value.
        known: Time of the import.
        source: Its name.
    """
    made = {one.key: one for one in found}
    states = {one.key: one for one in stored}
    updated = [
        one
        for key, one in made.items()
        if key not in states
        or states[key].decision is Decision.RESOLVED
        or (states[key].decision is Decision.OPEN and states[key].note != one.note)
    ]
    for key, one in states.items():
        if one.decision is Decision.RESOLVED:
            continue
        close = given.get(one.symbol, {}).get(one.day)
        corrected = close is not None and close != _close_on(before.get(one.symbol), one.day)
        if one.decision is Decision.OPEN:
            resolved = key not in made and one.rule in BAR_RULES and close is not None
        else:
            resolved = corrected or (one.symbol, one.day) in changed_actions
        if resolved:
            note = f"{one.note}; resolved by {source}" if source else one.note
            updated.append(attrs.evolve(one, decision=Decision.RESOLVED, decided=known, note=note))
    return updated


def _close_on(bars: Bars | None, day: date) -> float | None:
    """Return the close of a day, if there is one."""
    if bars is None:
        return None
    at = int(np.searchsorted(bars.days, np.datetime64(day, "D")))
    known = at < len(bars) and bars.days[at] == np.datetime64(day, "D")
    return float(bars.close[at]) if known else None


def closes_on(
    bars: Iterable[Bars], days: Mapping[str, Collection[date]]
) -> dict[str, dict[date, float]]:
    """Return the closes of some assets on some days, where they have any."""
    found: dict[str, dict[date, float]] = {}
    for one in bars:
        for day in days.get(one.symbol, ()):
            close = _close_on(one, day)
            if close is not None:
                found.setdefault(one.symbol, {})[day] = close
    return found
