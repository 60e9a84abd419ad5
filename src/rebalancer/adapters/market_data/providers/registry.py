"""Registry of remote providers: one entry each, in order of preference."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from rebalancer.adapters.market_data.providers.alpha_vantage import AlphaVantage
from rebalancer.adapters.market_data.providers.ecb import EuropeanCentralBank
from rebalancer.adapters.market_data.providers.fred import Fred
from rebalancer.adapters.market_data.providers.guard import Pace
from rebalancer.adapters.market_data.providers.nasdaq_data_link import NasdaqDataLink
from rebalancer.adapters.market_data.providers.tiingo import Tiingo
from rebalancer.adapters.market_data.providers.yahoo import Yahoo
from rebalancer.application.ports.providers import MarketProvider


@attrs.frozen
class RemoteProvider:
    """Remote provider, as it is set up.

    Attributes:
        create: Creates it with a key, which is empty for providers without one; must not do I/O.
        pace: Limits of its free plan.
        key_setting: Name of the setting that holds its key; None without one.
        cost: Requests that the bars of one asset take; of a provider without bars, a series.
    """

    create: Callable[[str], MarketProvider]
    pace: Pace
    key_setting: str | None = None
    cost: int = 1


REMOTE_PROVIDERS: Mapping[str, RemoteProvider] = {
    "yahoo": RemoteProvider(lambda _: Yahoo(), Pace(rates=((4, 1.0), (360, 600.0)))),
    "tiingo": RemoteProvider(
        Tiingo, Pace(rates=((5, 1.0), (50, 3600.0)), a_day=1000), key_setting="tiingo_key"
    ),
    "alpha_vantage": RemoteProvider(
        AlphaVantage,
        Pace(rates=((1, 1.2), (5, 60.0)), a_day=25),
        key_setting="alpha_vantage_key",
        cost=3,
    ),
    "nasdaq_data_link": RemoteProvider(
        NasdaqDataLink,
        Pace(rates=((5, 1.0), (300, 10.0), (2000, 600.0)), a_day=50_000, at_once=1),
        key_setting="nasdaq_data_link_key",
        cost=2,
    ),
    "fred": RemoteProvider(
        Fred, Pace(rates=((5, 1.0), (120, 60.0))), key_setting="fred_key", cost=2
    ),
    "ecb": RemoteProvider(lambda _: EuropeanCentralBank(), Pace(rates=((5, 1.0),))),
}
"""Providers by name."""

PREFERRED: Mapping[str, tuple[str, ...]] = {"rate": ("ecb",)}
"""Providers to ask first, by kind of symbol."""
