"""Fetch assets that the store lacks, as a background job of the user who asks for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from rebalancer.application.idempotency import fingerprint
from rebalancer.application.job_worker import Progress
from rebalancer.application.jobs import SubmitJob
from rebalancer.application.ports.providers import Offer
from rebalancer.application.provider_chain import ProviderChain
from rebalancer.application.synchronize import SyncMarket, SyncOutcome
from rebalancer.domain.errors import Conflict, InvalidRequest, Unavailable
from rebalancer.domain.jobs.job import Job
from rebalancer.domain.market.symbols import normalize_symbol
from rebalancer.domain.money import Currency

FETCH = "fetch"
"""Kind of these jobs."""

MOST_SYMBOLS = 50
"""Most assets of one request."""


@attrs.frozen
class FetchAssets:
    """Submit a job that fetches assets, and the exchange rates that they need.

    Attributes:
        stored: Whether prices come from the store, so that assets can be added.
        currency: Base currency unless a request states one.
    """

    submit: SubmitJob
    chain: ProviderChain
    stored: bool
    currency: Currency

    @property
    def is_possible(self) -> bool:
        """Whether assets can be added."""
        able = any(Offer.BARS in one.offers for one in self.chain.providers.values())
        return self.stored and able

    def __call__(
        self,
        symbols: Sequence[str],
        *,
        currency: Currency | None = None,
        key: str | None = None,
        id: UUID,
        owner: UUID,
        now: datetime,
    ) -> tuple[Job, bool]:
        """Return the submitted job, and whether an earlier, equal request had submitted it.

        Args:
            symbols: Assets, as the providers write them.
            currency: Base currency, to which exchange rates are fetched; None: `currency`.
            key: The caller's idempotency key.
            id: Of the new job.
            owner: User who asks.
            now: Current time.

        Raises:
            InvalidRequest: there are no symbols, or too many.
            NotAuthenticated: the owner's account no longer exists.
            Conflict: no assets can be added, the owner has too many unfinished jobs, or the key
                belongs to another request.
            Unavailable: too many jobs are waiting, or the queue does not answer.
        """
        if not self.is_possible:
            raise Conflict(
                "assets cannot be added, because prices do not come from the store or no provider "
                "is set up; choose listed assets",
                code="assets_not_fetched",
            )
        wanted = sorted({name for one in symbols if (name := normalize_symbol(one))})
        if not 0 < len(wanted) <= MOST_SYMBOLS:
            raise InvalidRequest(
                f"{len(wanted)} symbols; name 1 to {MOST_SYMBOLS}",
                field="symbols",
                code="invalid_symbol_count",
            )
        request = {"symbols": wanted, "currency": (currency or self.currency).code}
        job = Job.new(FETCH, request, id=id, owner=owner, now=now)
        asked = fingerprint(FETCH, json.dumps(request, sort_keys=True))
        return self.submit.once(job, owner=owner, key=key, fingerprint=asked, now=now)


@attrs.frozen
class FetchJobHandler:
    """Runs the jobs of `FetchAssets`."""

    synchronize: SyncMarket

    def __call__(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """Return what synchronizing did to each asset and rate.

        Raises:
            InvalidRequest: no provider knows any of the assets.
            Unavailable: no asset could be fetched now.
        """
        symbols = job.request["symbols"]
        done = 0

        def report(_: SyncOutcome) -> None:
            nonlocal done
            done += 1
            progress(min(done / (len(symbols) + 1), 1.0))

        progress(0.0)
        found = self.synchronize.with_rates(symbols, {job.request["currency"]}, progress=report)
        faults = [one for one in found.failed if one.symbol in symbols]
        if len(faults) == len(symbols):
            message = "; ".join(f"{one.symbol}: {one.fault}" for one in faults)
            if all(one.unknown for one in faults):
                raise InvalidRequest(message, field="symbols", code="symbols_not_found")
            raise Unavailable(message, code="assets_not_fetched_now")
        return {"assets": [_describe(one) for one in found.outcomes]}


def _describe(outcome: SyncOutcome) -> dict[str, Any]:
    found = attrs.asdict(outcome)
    return found | {"through": outcome.through and outcome.through.isoformat()}
