"""`python -m tests.live [PROVIDER ...]`: check the real providers, and print what they answer.

Each check makes one to three requests. Providers whose key is not in the environment are left out.
The exit code is 3 if a check fails.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from time import perf_counter

import attrs
import numpy as np

from rebalancer.adapters.market_data.providers.guard import GuardedProvider
from rebalancer.adapters.market_data.providers.registry import REMOTE_PROVIDERS, RemoteProvider
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.ports.providers import (
    MarketProvider,
    Offer,
    ProviderFault,
    Refused,
    UnknownSymbol,
)
from rebalancer.config import PREFIX, Settings

SYMBOLS = {"ecb": "EURUSD"}
"""What to ask for, by provider; others are asked for `_SHARE`."""

_SHARE, _NOWHERE = "AAPL", "NOSUCHSYMBOL9"
SERIES = {"fred": "DGS10", "nasdaq_data_link": "FRED/GDP"}
_WRONG_KEY = "0" * 32
_DAYS = timedelta(days=30)
_OLDEST = timedelta(days=10)
"""Age that the last close of an asset which trades may have."""


class CheckFailed(Exception):
    """An answer is not what it should be."""


@attrs.frozen
class Result:
    """Outcome of one check."""

    provider: str
    check: str
    ok: bool
    detail: str
    seconds: float


def main(names: Sequence[str]) -> int:
    """Check providers by name, or all; return the exit code."""
    unknown = [name for name in names if name not in REMOTE_PROVIDERS]
    if unknown:
        sys.stderr.write(f"unknown: {', '.join(unknown)}; use {', '.join(REMOTE_PROVIDERS)}\n")
        return 2
    settings, failed = Settings.read(), False
    for name, remote in REMOTE_PROVIDERS.items():
        if names and name not in names:
            continue
        key = "" if remote.key_setting is None else getattr(settings, remote.key_setting)
        if key is None:
            setting = f"{PREFIX}{str(remote.key_setting).upper()}"
            sys.stdout.write(f"{name:18} left out: {setting} is not set\n")
            continue
        for result in check(name, remote, key):
            state = "ok   " if result.ok else "FAULT"
            line = f"{name:18} {result.check:15} {state} {result.seconds:5.1f} s  {result.detail}\n"
            sys.stdout.write(line)
            sys.stdout.flush()
            failed |= not result.ok
    return 3 if failed else 0


def check(name: str, remote: RemoteProvider, key: str) -> Iterator[Result]:
    """Yield the outcome of each check of a provider."""
    provider = _open(remote, key)
    wrong = None if remote.key_setting is None else _open(remote, _WRONG_KEY)
    checks: dict[str, Callable[[], str] | None] = {
        "bars": None if not _has_bars(provider) else lambda: _check_bars(provider, name),
        "unknown symbol": None if not _has_bars(provider) else lambda: _check_unknown(provider),
        "search": None if Offer.SEARCH not in provider.offers else lambda: _check_search(provider),
        "facts": None if Offer.FACTS not in provider.offers else lambda: _check_facts(provider),
        "series": None if name not in SERIES else lambda: _check_series(provider, SERIES[name]),
        "wrong key": None if wrong is None else lambda: _check_key(wrong, name),
    }
    for title, ask in checks.items():
        if ask is None:
            continue
        begin = perf_counter()
        try:
            ok, detail = True, ask()
        except ProviderFault as fault:
            ok, detail = False, f"{fault.code}: {fault.message}"
        except CheckFailed as error:
            ok, detail = False, str(error)
        yield Result(name, title, ok, detail, perf_counter() - begin)
    for one in (provider, wrong):
        if one is not None:
            one.close()


def _open(remote: RemoteProvider, key: str) -> MarketProvider:
    pace = attrs.evolve(remote.pace, longest_wait=70.0)
    clock = _now
    return GuardedProvider(remote.create(key), pace, MemoryWork(), clock, cost=remote.cost)


def _now() -> datetime:
    return datetime.now(UTC)


def _has_bars(provider: MarketProvider) -> bool:
    return bool({Offer.BARS, Offer.RATES} & provider.offers)


def _check_bars(provider: MarketProvider, name: str) -> str:
    symbol, now = SYMBOLS.get(name, _SHARE), _now()
    fetched = provider.bars(symbol, since=(now - _DAYS).date(), now=now)
    days = fetched.bars.days
    if not len(days):
        raise CheckFailed(f"{symbol} has no bar since {(now - _DAYS).date()}")
    last = days[-1].item()
    if now.date() - last > _OLDEST:
        raise CheckFailed(f"the last bar of {symbol} is of {last}")
    if (np.diff(np.log(fetched.bars.close)) > np.log(1.5)).any():
        raise CheckFailed(f"the closes of {symbol} rise by more than a half in a day")
    return f"{symbol}: {len(days)} bars until {last}, {fetched.bars.close[-1]:g}"


def _check_unknown(provider: MarketProvider) -> str:
    try:
        fetched = provider.bars(_NOWHERE, since=None, now=_now())
    except UnknownSymbol:
        return "reported"
    raise CheckFailed(f"{_NOWHERE} has {len(fetched.bars)} bars")


def _check_search(provider: MarketProvider) -> str:
    found = provider.find("Apple", limit=5)
    if _SHARE not in [one.symbol for one in found]:
        raise CheckFailed(f"{_SHARE} is not among {[one.symbol for one in found]}")
    return f"{len(found)} assets"


def _check_facts(provider: MarketProvider) -> str:
    facts = provider.facts(_SHARE)
    if not facts.figures:
        raise CheckFailed(f"{_SHARE} has no figures")
    return f"{len(facts.figures)} figures, {len(facts.texts)} texts"


def _check_series(provider: MarketProvider, id: str) -> str:
    series = provider.series(id, since=None)
    if not series.observations:
        raise CheckFailed(f"{id} has no observations")
    return f"{id}: {len(series.observations)} observations until {series.observations[-1].day}"


def _check_key(provider: MarketProvider, name: str) -> str:
    try:
        if _has_bars(provider):
            provider.bars(SYMBOLS.get(name, _SHARE), since=None, now=_now())
        else:
            provider.series(SERIES[name], since=None)
    except Refused:
        return "refused"
    raise CheckFailed("a wrong key is accepted")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
