"""Describe the remote providers: what they offer, whether they can be asked, what is left."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs

from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.providers import MarketProvider
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.provider_chain import ProviderChain


@attrs.frozen
class ProviderPlan:
    """A provider that could be set up.

    Attributes:
        provider: Without its key.
        key: Variable that holds its key; None if it needs none.
        a_day: Requests a day; None without such a limit.
    """

    name: str
    provider: MarketProvider
    key: str | None
    a_day: int | None


@attrs.frozen
class ProviderStatus:
    """State of one provider.

    Attributes:
        offers: What it can be asked for, sorted.
        terms: Its limits and conditions, as a clause.
        ready: Whether it is asked.
        missing: Variable that would have to hold its key; None if it needs none or has it.
        quota: Requests a day; None without such a limit.
        quota_left: Of today; None without a limit.
        last_success: Time of its last answer; None before any.
        assets: Number of assets whose last answer came from it.
    """

    name: str
    title: str
    offers: tuple[str, ...]
    terms: str
    ready: bool
    missing: str | None
    quota: int | None
    quota_left: int | None
    last_success: datetime | None
    assets: int


@attrs.frozen
class DescribeProviders:
    """Describe every known provider."""

    chain: ProviderChain
    work: UnitOfWork
    clock: Clock
    plans: tuple[ProviderPlan, ...]

    def __call__(self) -> list[ProviderStatus]:
        """Return the states of all providers: those that are asked first, in that order.

        Raises:
            Unavailable: the store did not answer.
        """
        today = str(self.clock().astimezone(UTC).date())
        with self.work.read() as tx:
            states = list(tx.syncs.get().values())
            used = {plan.name: tx.quotas.used(plan.name, today) for plan in self.plans}
        found = {}
        for plan in self.plans:
            answered = [one.checked for one in states if one.provider == plan.name and one.checked]
            ready = plan.name in self.chain.providers
            found[plan.name] = ProviderStatus(
                plan.name,
                plan.provider.title,
                tuple(sorted(plan.provider.offers)),
                plan.provider.terms,
                ready,
                None if ready else plan.key,
                plan.a_day,
                None if plan.a_day is None else max(plan.a_day - used[plan.name], 0),
                max(answered, default=None),
                len(answered),
            )
        asked = [found[name] for name in self.chain.providers if name in found]
        return [*asked, *(one for one in found.values() if not one.ready)]
