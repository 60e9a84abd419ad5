"""Contract of `RateSource`: reference exchange rates."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rebalancer.adapters.market_data import ecb_rates
from rebalancer.adapters.market_data.ecb_rates import EcbRates
from rebalancer.adapters.memory.rates import MemoryRates
from rebalancer.application.ports.market import RateSource
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.currencies import NO_RATES, ExchangeRates, RateSeries

DAYS = np.array(["2022-12-29", "2022-12-30", "2023-01-01"], dtype="datetime64[D]")


def in_memory() -> RateSource:
    return MemoryRates(
        ExchangeRates.of(
            [
                RateSeries("EUR", "USD", DAYS[:2], np.array([1.0649, 1.0666])),
                RateSeries("EUR", "JPY", DAYS[:2], np.array([142.24, 140.66])),
            ]
        )
    )


@pytest.fixture(params=[EcbRates, in_memory], ids=["ecb", "memory"])
def source(request: pytest.FixtureRequest) -> RateSource:
    make: Callable[[], RateSource] = request.param
    return make()


def test_rates_of_known_days(source: RateSource) -> None:
    found = source.rates().convert("EUR", "USD", DAYS)
    assert found is not None
    assert found.rates.tolist() == [1.0649, 1.0666, 1.0666]
    assert found.days.tolist() == [*DAYS[:2].tolist(), DAYS[1].item()]


def test_cross_rates(source: RateSource) -> None:
    found = source.rates().convert("USD", "JPY", DAYS[1:2])
    assert found is not None
    assert found.rates[0] == pytest.approx(140.66 / 1.0666, rel=1e-15)


def test_the_same_rates_each_time(source: RateSource) -> None:
    assert source.rates() is source.rates()


def test_series_are_positive_increasing_and_frozen(source: RateSource) -> None:
    for (base, quoted), one in source.rates().series.items():
        assert (one.base, one.quoted) == (base, quoted)
        assert (np.diff(one.days) > np.timedelta64(0, "D")).all()
        assert (one.rates > 0).all()
        assert not one.rates.flags.writeable or isinstance(source, MemoryRates)


def test_currencies_that_joined_the_euro_keep_their_last_rate() -> None:
    found = EcbRates().rates().convert("EUR", "HRK", DAYS[2:])
    assert found is not None
    assert found.rates[0] == pytest.approx(7.5365)
    assert found.days[0] == np.datetime64("2022-12-30")


def test_missing_package_gives_an_empty_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ecb_rates, "_PACKAGE", "a_package_that_is_not_installed")
    assert EcbRates().rates() is NO_RATES


def test_a_damaged_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rates.zip"
    path.write_bytes(b"no archive")
    monkeypatch.setattr(ecb_rates, "_packaged_file", lambda: path)
    rates = EcbRates().rates()
    with pytest.raises(Unavailable, match=r"rates\.zip cannot be read"):
        rates.convert("EUR", "USD", DAYS)


def test_rates_are_pickled_as_plain_series(source: RateSource) -> None:
    pickled = pickle.dumps(source.rates())
    assert b"ecb_rates" not in pickled
    again = pickle.loads(pickled).convert("USD", "JPY", DAYS)
    found = source.rates().convert("USD", "JPY", DAYS)
    assert found is not None
    np.testing.assert_array_equal(again.rates, found.rates)


def test_the_package_is_not_imported() -> None:
    code = (
        "import sys, numpy as np\n"
        "from rebalancer.adapters.market_data.ecb_rates import EcbRates\n"
        "rates = EcbRates().rates()\n"
        "rates.convert('EUR', 'GBP', np.array(['2022-12-30'], dtype='datetime64[D]'))\n"
        "print(sorted({'currency_converter', 'pandas'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
