"""List the findings of the checks of market data, and let an operator decide on them."""

from __future__ import annotations

from datetime import date
from typing import Any

import attrs

from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.errors import Conflict, NotFound
from rebalancer.domain.market.actions import NO_ACTIONS
from rebalancer.domain.market.issues import Issue, IssueState, find_issues
from rebalancer.domain.market.quality import Decision, Rule, Severity, Verdict
from rebalancer.domain.market.symbols import hint_at


@attrs.frozen
class ListIssues:
    """List the issues of the served prices.

    Attributes:
        prices: The served prices.
        records: Store of the prices, with their actions and decisions; None if they come from a
            file or a provider.
    """

    prices: PriceSource
    records: StoredMarket | None

    def __call__(
        self,
        *,
        symbol: str | None = None,
        severity: Severity | None = None,
        everything: bool = False,
    ) -> list[Issue]:
        """Return issues sorted by symbol, day and rule.

        Args:
            symbol: Asset; None: all.
            severity: Severity; None: all.
            everything: Whether accepted, rejected and resolved ones are included.

        Raises:
            NotFound: the symbol has neither prices nor issues.
            PricesUnavailable: there are no prices, or the store did not answer.
        """
        history = self.prices.closes()
        if self.records is None:
            actions = NO_ACTIONS if history.quotes is None else history.quotes.actions
            found = find_issues(history, actions, ())
        else:
            stored = self.records.store.actions()
            found = find_issues(history, stored, self.records.verdicts())
        if symbol is not None:
            own = [issue for issue in found if issue.symbol == symbol]
            if not own and symbol not in history.columns:
                hint = hint_at([symbol], history.symbols)
                raise NotFound(f"asset {symbol} does not exist{hint}", code="asset_not_found")
            found = tuple(own)
        return [
            issue
            for issue in found
            if (everything or issue.state is IssueState.OPEN)
            and (severity is None or issue.severity is severity)
        ]


@attrs.frozen
class DecideIssues:
    """Accept or reject findings of stored market data."""

    store: StoredMarket
    clock: Clock

    def __call__(
        self,
        decision: Decision,
        symbol: str,
        *,
        rule: Rule | None = None,
        day: date | None = None,
        note: str = "",
    ) -> list[Issue]:
        """Store a decision on the issues of an asset, and return them with it.

        Accepted closes and actions are used, and withhold the asset no more. Rejected ones are not
        used, until an import changes them. The latest decision on a finding counts.

        Args:
            decision: Accept or reject.
            symbol: The asset.
            rule: Only findings of this rule.
            day: Only findings of this day.
            note: Why, for readers.

        Raises:
            NotFound: the asset has no such issue.
            Conflict: the issue was resolved, so that there is nothing to decide.
            PricesUnavailable: there are no prices, or the store did not answer.
        """
        issues = ListIssues(self.store, self.store)(symbol=symbol, everything=True)
        wanted = [
            issue
            for issue in issues
            if (rule is None or issue.rule is rule) and (day is None or issue.day == day)
        ]
        if not wanted:
            which = "" if rule is None else f" of rule {rule}"
            when = "" if day is None else f" on {day}"
            raise NotFound(
                f"{symbol} has no finding{which}{when}; list its findings", code="issue_not_found"
            )
        open_ones = [issue for issue in wanted if not _is_settled(issue)]
        if not open_ones:
            raise Conflict(
                f"a later import resolved the findings of {symbol}; there is nothing to decide",
                code="issue_resolved",
            )
        now = self.clock()
        verdicts = [
            Verdict(
                issue.symbol,
                issue.rule,
                issue.day,
                decision,
                now,
                f"{issue.clause}; {note}" if note else issue.clause,
            )
            for issue in open_ones
        ]
        self.store.save_verdicts(verdicts)
        state = IssueState.ACCEPTED if decision is Decision.ACCEPT else IssueState.REJECTED
        return [
            attrs.evolve(issue, state=state, decided=now, text=f"{issue.symbol} {verdict.note}")
            for issue, verdict in zip(open_ones, verdicts, strict=True)
        ]


def _is_settled(issue: Issue) -> bool:
    """Return whether an import resolved an issue, so that no decision has an effect."""
    return issue.state is IssueState.RESOLVED and issue.decided is not None


def describe_issue(issue: Issue) -> dict[str, Any]:
    """Return an issue as JSON values."""
    return {
        "symbol": issue.symbol,
        "rule": issue.rule.value,
        "severity": issue.severity.value,
        "day": issue.day.isoformat(),
        "state": issue.state.value,
        "text": issue.text,
        "decided": None if issue.decided is None else issue.decided.isoformat(),
    }
