"""Remote providers of market data, those that have the key that they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from dishka import Provider, Scope, provide

from rebalancer.adapters.market_data.providers.guard import GuardedProvider
from rebalancer.adapters.market_data.providers.registry import PREFERRED, REMOTE_PROVIDERS
from rebalancer.application.asset_requests import FetchAssets, FetchJobHandler
from rebalancer.application.indicators import ReadIndicators
from rebalancer.application.jobs import SubmitJob
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import Calendars, PriceSource
from rebalancer.application.ports.providers import MarketProvider
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.ports.telemetry import Metrics, Tracer
from rebalancer.application.provider_chain import ProviderChain
from rebalancer.application.provider_status import DescribeProviders, ProviderPlan
from rebalancer.application.stored_market import StoredMarket
from rebalancer.application.synchronize import SyncMarket
from rebalancer.config import PREFIX, Settings
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency
from rebalancer.wiring.market import Sources


class RemoteProvidersProvider(Provider):
    """The chain of providers, and what synchronizes with them."""

    scope = Scope.APP

    @provide
    def chain(
        self,
        settings: Settings,
        work: UnitOfWork,
        clock: Clock,
        metrics: Metrics,
        tracer: Tracer,
    ) -> Iterator[ProviderChain]:
        """Provide those of `Settings.providers` that have their key, in that order."""
        guarded = partial(GuardedProvider, work=work, clock=clock, metrics=metrics, tracer=tracer)
        chain = ProviderChain(_set_up(settings, guarded), PREFERRED)
        yield chain
        chain.close()

    @provide
    def synchronize(
        self,
        market: StoredMarket,
        chain: ProviderChain,
        work: UnitOfWork,
        calendars: Calendars,
        clock: Clock,
    ) -> SyncMarket:
        return SyncMarket(market, chain, work, calendars, clock)

    fetch_handler = provide(FetchJobHandler)

    @provide
    def fetch_assets(
        self, submit: SubmitJob, chain: ProviderChain, sources: Sources, currency: Currency
    ) -> FetchAssets:
        return FetchAssets(submit, chain, sources.stored, currency)

    @provide
    def indicators(
        self, prices: PriceSource, market: StoredMarket, sources: Sources
    ) -> ReadIndicators:
        return ReadIndicators(prices, market, sources.stored)

    @provide
    def describe(self, chain: ProviderChain, work: UnitOfWork, clock: Clock) -> DescribeProviders:
        plans = [
            ProviderPlan(
                name,
                one.create(""),
                None if one.key_setting is None else f"{PREFIX}{one.key_setting.upper()}",
                one.pace.a_day,
            )
            for name, one in REMOTE_PROVIDERS.items()
        ]
        return DescribeProviders(chain, work, clock, tuple(plans))


def _set_up(
    settings: Settings, guarded: Callable[..., MarketProvider]
) -> dict[str, MarketProvider]:
    found: dict[str, MarketProvider] = {}
    for name in settings.providers:
        one = REMOTE_PROVIDERS.get(name)
        if one is None:
            raise InvalidRequest(
                f"{name} is not a provider; choose some of {', '.join(REMOTE_PROVIDERS)}",
                field=f"{PREFIX}PROVIDERS",
                code="unknown_provider",
            )
        key = "" if one.key_setting is None else getattr(settings, one.key_setting)
        if key is not None:
            provider = one.create(key)
            found[name] = guarded(provider, one.pace, cost=one.cost)
    return found
