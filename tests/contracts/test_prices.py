"""What every price source promises: `PriceSource` in application/ports, line by line."""

import gzip
import subprocess
import sys
from contextlib import ExitStack
from datetime import date, timedelta
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.adapters.market_data import sample
from rebalancer.adapters.market_data.csv_files import CsvPrices
from rebalancer.adapters.market_data.sample import SamplePrices
from rebalancer.adapters.memory.market import MemoryMarket, MemoryPrices
from rebalancer.adapters.redis.prices import RedisPriceCache
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.bars import Bars, bars_of_history
from rebalancer.domain.market.prices import PriceHistory, PricesUnavailable
from tests.builders import as_csv, prices
from tests.contracts.markets import KINDS, market_places
from tests.contracts.redises import connected

GAP = [(row, 2) for row in range(100, 105)]


def the_history():
    """Four assets; D begins late, and C stands still where files have a gap."""
    walk = prices(4, 120, start=date(2023, 1, 2))
    closes = walk.closes.copy()
    closes[:40, 3] = np.nan
    for row, column in GAP:
        closes[row, column] = closes[99, 2]
    return PriceHistory.of(walk.symbols, walk.dates, closes)


def memory(folder):
    return MemoryPrices(the_history())


def csv_plain(folder):
    path = folder / "prices.csv"
    path.write_text(as_csv(the_history(), blank=GAP), encoding="utf-8")
    return CsvPrices(path)


def csv_gzipped(folder):
    path = folder / "prices.csv.gz"
    path.write_bytes(gzip.compress(as_csv(the_history(), blank=GAP).encode()))
    return CsvPrices(path)


def packaged(folder):
    return SamplePrices("stocks")


def redis(folder, url):
    """Through a cache: each source is as in a process of its own, and the first one fills it."""
    with connected(url) as connection:
        cache = RedisPriceCache(connection)
        store = MemoryMarket()
        store.save_bars(with_a_gap())
        yield lambda: StoredMarket(store, cache)


ADAPTERS = [
    pytest.param(memory, id="memory"),
    pytest.param(csv_plain, id="csv"),
    pytest.param(csv_gzipped, id="csv.gz"),
    pytest.param(packaged, id="sample"),
    pytest.param(redis, id="redis"),
    *[pytest.param(kind, id=f"{kind}-store") for kind in KINDS],
]


def with_a_gap():
    """The bars of the history, C's without those days on which it stands still."""
    whole = {one.symbol: one for one in bars_of_history(the_history())}
    still = [row for row, _ in GAP]
    c = whole["C"].columns()
    whole["C"] = Bars("C", **{name: np.delete(values, still) for name, values in c.items()})
    return list(whole.values())


@pytest.fixture(scope="module", params=ADAPTERS)
def make(request, tmp_path_factory, makers):
    if request.param in KINDS:
        with ExitStack() as at_the_end:
            place = market_places(request, makers, at_the_end, request.param)
            place().save_bars(with_a_gap())
            yield place
    elif request.param is redis:
        yield from redis(tmp_path_factory.mktemp("prices"), request.getfixturevalue("redis_url"))
    else:
        yield lambda: request.param(tmp_path_factory.mktemp("prices"))


@pytest.fixture(scope="module")
def source(make):
    return make()


@pytest.fixture(scope="module")
def whole(source):
    return source.closes()


def last_day(history):
    return history.dates[-1].item()


def same(one, other):
    return (
        one.symbols == other.symbols
        and np.array_equal(one.dates, other.dates)
        and np.array_equal(one.closes, other.closes, equal_nan=True)
    )


def test_all_symbols_are_returned_by_default(source, whole):
    assert whole.symbols == source.symbols()
    assert len(set(source.symbols())) == len(source.symbols()) > 1


def test_prices_are_read_as_written(source, whole):
    if isinstance(source, SamplePrices):
        assert whole.dates[-1] == np.datetime64("2022-12-28")
        assert whole.last_closes[whole.column("AAPL")] == 125.674
    else:
        assert same(whole, the_history())


def test_oldest_first_positive_and_missing_only_before_the_first_close(whole):
    assert (np.diff(whole.dates) > np.timedelta64(0, "D")).all()
    known = ~np.isnan(whole.closes)
    assert (known[1:] >= known[:-1]).all()
    assert (whole.closes[known] > 0).all()
    assert np.isfinite(whole.closes[known]).all()


def test_symbols_are_returned_in_the_requested_order(source, whole):
    wanted = (whole.symbols[2], whole.symbols[0])
    got = source.closes(wanted)
    assert got.symbols == wanted
    assert np.array_equal(got.closes, whole.closes[:, [2, 0]], equal_nan=True)
    assert np.array_equal(got.dates, whole.dates)


def test_every_unknown_symbol_is_named(source):
    with pytest.raises(InvalidRequest) as refused:
        source.closes(["NOPE", source.symbols()[0], "NEITHER"])
    assert "NOPE" in str(refused.value)
    assert "NEITHER" in str(refused.value)
    assert source.symbols()[0] not in str(refused.value).replace("NEITHER", "").split(", ")


def test_symbols_are_case_sensitive(source):
    with pytest.raises(InvalidRequest, match="unknown"):
        source.closes([source.symbols()[0].lower()])


@pytest.mark.parametrize("wanted", [[], [0, 0], [1, 0, 1]])
def test_empty_or_repeated_symbols_are_rejected(source, wanted):
    with pytest.raises(InvalidRequest, match="each once"):
        source.closes([source.symbols()[i] for i in wanted])


def test_days_count_back_from_the_end(source, whole):
    assert same(source.closes(days=7), whole.since(len(whole) - 7))
    assert same(source.closes(days=1), whole.since(len(whole) - 1))


def test_too_many_days_return_all_rows(source, whole):
    assert same(source.closes(days=len(whole)), whole)
    assert same(source.closes(days=10 * len(whole)), whole)


@pytest.mark.parametrize("days", [0, -1])
def test_zero_or_negative_days_are_rejected(source, days):
    with pytest.raises(InvalidRequest, match="choose 1 or more"):
        source.closes(days=days)


def test_until_includes_its_day(source, whole):
    row = len(whole) - 10
    assert same(source.closes(until=whole.dates[row].item()), whole.until(row))


def test_until_a_weekend_takes_the_friday(source, whole):
    weekdays = [day.item().weekday() for day in whole.dates]
    row = max(i for i, weekday in enumerate(weekdays) if weekday == 4)
    friday = whole.dates[row].item()
    for later in (1, 2):
        assert last_day(source.closes(until=friday + timedelta(days=later))) == friday


def test_until_at_most_nine_weekdays_after_the_last_close(source, whole):
    last = whole.dates[-1]
    ninth, tenth = (np.busday_offset(last, n).item() for n in (9, 10))
    assert same(source.closes(until=ninth), whole)
    with pytest.raises(InvalidRequest, match=str(last)):
        source.closes(until=tenth)


def test_until_before_the_first_close_is_rejected(source, whole):
    first = whole.dates[0].item()
    assert len(source.closes(until=first)) == 1
    with pytest.raises(InvalidRequest, match=str(first)):
        source.closes(until=first - timedelta(days=1))


def test_asset_without_a_close_yet_is_nan(source, whole):
    unborn = np.flatnonzero(np.isnan(whole.closes[0]))
    got = source.closes([whole.symbols[i] for i in unborn] or None, until=whole.dates[0].item())
    assert np.isnan(got.closes).all() == bool(unborn.size)


@given(data=st.data())
def test_window_is_a_slice_of_all_prices(source, whole, data):
    columns = data.draw(
        st.none()
        | st.lists(st.integers(0, len(whole.symbols) - 1), min_size=1, max_size=5, unique=True)
    )
    days = data.draw(st.none() | st.integers(1, len(whole) + 3))
    end = data.draw(st.integers(0, len(whole) - 1))
    got = source.closes(
        None if columns is None else [whole.symbols[i] for i in columns],
        days=days,
        until=whole.dates[end].item(),
    )
    rows = slice(0 if days is None else max(0, end + 1 - days), end + 1)
    every = list(range(len(whole.symbols)))
    expected = whole.closes[rows][:, every if columns is None else columns]
    assert np.array_equal(got.closes, expected, equal_nan=True)
    assert np.array_equal(got.dates, whole.dates[rows])


def test_prices_are_read_only(source, whole):
    before = whole.digest
    for got in (source.closes(), source.closes([source.symbols()[1]], days=3)):
        with pytest.raises(ValueError, match="read-only"):
            got.closes[0, 0] = 1.0
        with pytest.raises(ValueError, match="read-only"):
            got.dates[0] = np.datetime64("1999-01-01")
    assert source.closes().digest == before


def test_same_call_returns_equal_prices(source, make):
    wanted = source.symbols()[::-1]
    first = source.closes(wanted, days=50)
    assert source.closes(wanted, days=50).digest == first.digest
    assert make().closes(wanted, days=50).digest == first.digest


def test_sample_stocks_leave_out_bad_ticks_and_rounded_years():
    stocks = SamplePrices("stocks").closes()
    assert len(stocks.symbols) == 19
    assert "RRC" not in stocks.symbols
    assert (str(stocks.dates[0]), len(stocks)) == ("2000-01-03", 5785)


def test_full_sample_is_available_for_benchmarks():
    full = SamplePrices("stocks", full=True).closes()
    assert full.closes.shape == (8313, 20)
    assert "RRC" in full.symbols
    assert full.dates[0] == np.datetime64("1990-01-02")


def test_sample_factors():
    factors = SamplePrices("factors").closes()
    assert factors.symbols == ("MTUM", "QUAL", "SIZE", "USMV", "VLUE")
    assert (str(factors.dates[0]), len(factors)) == ("2014-01-02", 2264)
    assert not np.isnan(factors.closes).any()


def test_missing_sample_package_is_reported(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(sample, "distribution", absent)
    with pytest.raises(PricesUnavailable, match=r"pip install 'rebalancer\[sample\]'"):
        SamplePrices("factors").symbols()


def test_caution_on_the_sample_names_the_bias():
    assert "survivors" in sample.SURVIVORSHIP.text


def test_reading_the_sample_loads_neither_skfolio_nor_pandas():
    program = (
        "import sys\n"
        "from rebalancer.adapters.market_data.sample import SamplePrices\n"
        "SamplePrices('factors').closes()\n"
        "print({'skfolio', 'pandas', 'sklearn'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert said.stdout.decode().strip() == "set()"
