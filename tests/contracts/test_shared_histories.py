"""Contract of `SharedHistories` by files that processes of a host map into memory."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from pathlib import Path

import attrs
import numpy as np
import pytest

from rebalancer.adapters.mapped import histories
from rebalancer.adapters.mapped.histories import MappedHistories
from rebalancer.adapters.memory.market import MemoryMarket
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.market.actions import ActionKind, Actions, CorporateAction
from rebalancer.domain.market.assembly import PricingTerms
from rebalancer.domain.market.bars import Bars, MarketSnapshot
from rebalancer.domain.market.currencies import ExchangeRates, RateSeries
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory

DAYS = np.arange("2020-01-01", "2020-07-01", dtype="datetime64[D]")
WEEKDAYS = DAYS[np.is_busday(DAYS)]


def history() -> PriceHistory:
    """Prices with gaps, a finding, a dividend, pence, rates and sessions."""
    rising = np.linspace(10.0, 30.0, len(WEEKDAYS))
    jumping = np.where(np.arange(len(WEEKDAYS)) > 60, 100 * rising, rising)
    few = np.delete(np.arange(len(WEEKDAYS)), [7, 8, 20])
    bars = [
        Bars("A", WEEKDAYS[few], rising[few], adjusted=False),
        Bars("B.L", WEEKDAYS, jumping),
        Bars("EURUSD", WEEKDAYS, np.linspace(1.0, 1.2, len(WEEKDAYS))),
    ]
    dividend = CorporateAction("A", date(2020, 3, 3), ActionKind.DIVIDEND, Decimal("0.5"))
    terms = PricingTerms(
        "USD",
        Instruments.of([Instrument("B.L", currency="GBX", market="XLON")]),
        ExchangeRates.of([RateSeries("GBP", "USD", DAYS, np.full(len(DAYS), 1.3))]),
        sessions={"XLON": WEEKDAYS},
    )
    made = MarketSnapshot.of(bars, Actions.of([dividend])).history(terms)
    assert made is not None
    return made


HISTORY = history()


def never() -> PriceHistory:
    raise AssertionError("the shared history must be used")


def shared(folder: Path, **options: float) -> MappedHistories:
    return MappedHistories(folder, **{"least": 1, **options})


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.prices"))


def test_history_is_read_as_built(tmp_path: Path) -> None:
    shared(tmp_path).get("1", lambda: HISTORY)
    found = shared(tmp_path).get("1", never)
    assert found is not None
    assert found.digest == HISTORY.digest
    for name in ("symbols", "findings", "withheld", "last_date", "excluded"):
        assert getattr(found, name) == getattr(HISTORY, name)
    ours, theirs = found.quotes, HISTORY.quotes
    assert ours is not None
    assert theirs is not None
    for name in ("currencies", "actions", "adjusted", "assumed", "markets"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert list(ours.sessions) == ["XLON"]
    assert np.array_equal(found.reported_closes, HISTORY.reported_closes, equal_nan=True)
    assert found.in_currency("EUR").digest == HISTORY.in_currency("EUR").digest


def test_shared_arrays_are_read_only_and_not_copied(tmp_path: Path) -> None:
    found = shared(tmp_path).get("1", lambda: HISTORY)
    assert found is not None
    assert not found.closes.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        found.closes[0, 0] = 1.0
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        found.closes.setflags(write=True)


def test_next_key_replaces_the_file(tmp_path: Path) -> None:
    first = shared(tmp_path).get("1", lambda: HISTORY)
    assert first is not None
    shorter = HISTORY.until(50)
    shared(tmp_path).get("2", lambda: shorter)
    assert len(files(tmp_path)) == 1
    again = shared(tmp_path).get("2", never)
    assert again is not None
    assert len(again) == 51
    assert first.digest == HISTORY.digest, "it stays mapped"


def test_other_code_builds_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared(tmp_path).get("1", lambda: HISTORY)
    monkeypatch.setattr(histories, "_code", lambda: "another version")
    with pytest.raises(AssertionError, match="must be used"):
        shared(tmp_path).get("1", never)


def test_small_and_missing_histories_are_not_shared(tmp_path: Path) -> None:
    large = shared(tmp_path, least=HISTORY.nbytes + 1)
    assert large.get("1", lambda: HISTORY) is HISTORY
    assert large.get("2", lambda: None) is None
    assert files(tmp_path) == []


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[400] ^= 1
    path.write_bytes(content)


class Harm:
    """An object whose pickle calls a function outside the domain."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1",)


def foreign(path: Path) -> None:
    with path.open("wb") as file:
        histories._write(file, attrs.evolve(HISTORY, excluded={"A": Harm()}))  # type: ignore[dict-item]


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "short": lambda path: path.write_bytes(b"rebalpx1"),
    "cut": cut,
    "flipped": flip,
    "another object": foreign,
    "text": lambda path: path.write_bytes(b"no prices" * 1000),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(HISTORY)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_file_is_replaced(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    shared(tmp_path).get("1", lambda: HISTORY)
    (path,) = files(tmp_path)
    damage(path)
    built = []
    found = shared(tmp_path).get("1", lambda: built.append(1) or HISTORY)
    assert built == [1]
    assert found is not None
    assert found.digest == HISTORY.digest
    assert shared(tmp_path).get("1", never) is not None


def test_failures_are_raised_and_not_cached(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        shared(tmp_path).get("1", never)
    assert shared(tmp_path).get("1", lambda: HISTORY) is not None


def test_unusable_folder_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    place = shared(tmp_path / "file" / "below")
    assert place.get("1", lambda: HISTORY) is HISTORY
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    assert shared(open_to_all).get("1", lambda: HISTORY) is HISTORY
    assert files(open_to_all) == []


def test_one_thread_builds_for_all(tmp_path: Path) -> None:
    built, together = [], threading.Barrier(6)

    def ask(_: int) -> str:
        def build() -> PriceHistory:
            built.append(1)
            return HISTORY

        together.wait()
        found = shared(tmp_path).get("1", build)
        assert found is not None
        return found.digest

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(ask, range(6))) == {HISTORY.digest}
    assert built == [1]


def test_process_builds_itself_after_the_time_limit(tmp_path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slowly() -> PriceHistory:
        entered.set()
        leave.wait(20)
        return HISTORY

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(shared(tmp_path).get, "1", slowly)
        assert entered.wait(20)
        found = shared(tmp_path, patience=0.1).get("1", lambda: HISTORY)
        leave.set()
        assert found is not None
        assert first.result() is not None


def _elsewhere(folder: Path) -> str:
    found = shared(folder).get("1", never)
    assert found is not None
    return found.digest


def test_other_processes_use_the_file(tmp_path: Path) -> None:
    shared(tmp_path).get("1", lambda: HISTORY)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_elsewhere, (tmp_path,)) == HISTORY.digest


def test_store_shares_histories_until_its_data_or_terms_change(tmp_path: Path) -> None:
    store = MemoryMarket()

    def market(**options: str) -> StoredMarket:
        return StoredMarket(store, shared=shared(tmp_path), **options)

    days = WEEKDAYS[:20]
    store.save_bars([Bars("A", days, np.arange(1.0, 21.0), adjusted=False)])
    first = market().closes()
    assert not first.closes.flags.owndata
    assert market().closes().digest == first.digest
    assert len(files(tmp_path)) == 1
    (path,) = files(tmp_path)
    assert market(currency="EUR").closes().currency_of("A", "") == "EUR"
    assert files(tmp_path) != [path]
    store.save_bars([Bars("A", days[:1], np.array([7.0]), adjusted=False)])
    assert market().closes().closes[0, 0] == 7.0
