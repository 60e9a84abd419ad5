"""Versions of learned policies, and what the name ``learned`` stands for.

``ppo`` is the highest version of that name, and ``ppo@1`` always the same version. ``learned`` is
the promoted version if it passed the walk-forward, and the best rule otherwise.
"""

from __future__ import annotations

import attrs

from rebalancer.domain.market.frequency import ObservationFrequency
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.learned import LearnedPolicy
from rebalancer.domain.policy.policy import Decision, Frequency, LooksBack, Policy
from rebalancer.domain.portfolio.book import Book

LEARNED = "learned"
"""Name of the promoted policy."""

LAST_RESORT = "risk_parity"
"""Best rule if no shipped policy names one."""


@attrs.frozen(order=True)
class PolicyVersion:
    """Plain name and number of a version of a learned policy; numbers begin at 1."""

    name: str
    number: int
    shipped: bool = attrs.field(default=False, order=False)

    @property
    def exact_name(self) -> str:
        """Name of this version alone, such as ``ppo@1``."""
        return f"{self.name}@{self.number}"


@attrs.frozen
class Promotion:
    """The version that ``learned`` stands for.

    Attributes:
        version: Exact name.
        weights: SHA-256 of the file of weights when it was promoted.
    """

    version: str
    weights: str


@attrs.frozen(eq=False)
class VersionedPolicy(LearnedPolicy):
    """A stored version of a learned policy, under any of its names.

    Attributes:
        version: Exact name, such as ``ppo@1``.
        digest: SHA-256 of everything that determines its decisions: weights, regimes, limits and
            fallback.
    """

    version: str = attrs.field(kw_only=True)
    digest: str = attrs.field(kw_only=True)

    @property
    def identity(self) -> str:
        return f"{self.name} {self.digest}"

    def remarks(self, decision: Decision, book: Book, market: PriceHistory, row: int) -> list[str]:
        """See `Policy.remarks`; the first remark names the version."""
        remarks = super().remarks(decision, book, market, row)
        return (
            remarks
            if self.name == self.version
            else [f"{self.name} is version {self.version}.", *remarks]
        )


@attrs.frozen
class BestRule:
    """The best rule under the name ``learned``, used while no version may serve.

    Attributes:
        reason: Why none may, as a clause.
    """

    rule: Policy
    reason: str = "no learned policy has passed the walk-forward"

    @property
    def name(self) -> str:
        return LEARNED

    @property
    def identity(self) -> str:
        return f"{LEARNED} {self.rule.name}"

    def suits(self, frequency: ObservationFrequency) -> bool:
        """See `LooksBack.suits`."""
        return not isinstance(self.rule, LooksBack) or self.rule.suits(frequency)

    @property
    def lookback(self) -> int:
        return self.rule.lookback

    @property
    def frequency(self) -> Frequency:
        return self.rule.frequency

    @property
    def explanation(self) -> str:
        """Why a rule decides."""
        return f"{self.reason}, so the best rule, {self.rule.name}, decides"

    def decide(self, book: Book, market: PriceHistory) -> Decision:
        return self.rule.decide(book, market)

    def remarks(self, decision: Decision, book: Book, market: PriceHistory, row: int) -> list[str]:
        """See `Policy.remarks`; the first remark explains why a rule decides."""
        return [
            f"{LEARNED}: {self.explanation}.",
            *self.rule.remarks(decision, book, market, row),
        ]
