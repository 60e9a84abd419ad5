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
from rebalancer.adapters.mapped.histories import MappedHistories, _find_member
from rebalancer.adapters.memory.market import MemoryCalendars, MemoryMarket
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.market import assembly, history_tables
from rebalancer.domain.market.actions import ActionKind, Actions, CorporateAction
from rebalancer.domain.market.assembly import US_DOLLARS, PricingTerms
from rebalancer.domain.market.bars import Bars, MarketSnapshot
from rebalancer.domain.market.currencies import ExchangeRates, RateSeries
from rebalancer.domain.market.history_tables import OpenTables
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


def never(_: OpenTables) -> PriceHistory:
    raise AssertionError("the shared history must be used")


def shared(folder: Path, **options: float) -> MappedHistories:
    return MappedHistories(folder, **{"least": 1, **options})


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.prices"))


def test_history_is_read_as_built(tmp_path: Path) -> None:
    shared(tmp_path).get("1", lambda _: HISTORY)
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
    found = shared(tmp_path).get("1", lambda _: HISTORY)
    assert found is not None
    assert not found.closes.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        found.closes[0, 0] = 1.0
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        found.closes.setflags(write=True)


def test_next_key_replaces_the_file(tmp_path: Path) -> None:
    first = shared(tmp_path).get("1", lambda _: HISTORY)
    assert first is not None
    shorter = HISTORY.until(50)
    shared(tmp_path).get("2", lambda _: shorter)
    assert len(files(tmp_path)) == 1
    again = shared(tmp_path).get("2", never)
    assert again is not None
    assert len(again) == 51
    assert first.digest == HISTORY.digest, "it stays mapped"


def test_other_code_builds_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared(tmp_path).get("1", lambda _: HISTORY)
    monkeypatch.setattr(histories, "_code", lambda: "another version")
    with pytest.raises(AssertionError, match="must be used"):
        shared(tmp_path).get("1", never)


def test_small_and_missing_histories_are_not_shared(tmp_path: Path) -> None:
    large = shared(tmp_path, least=HISTORY.nbytes + 1)
    assert large.get("1", lambda _: HISTORY) is HISTORY
    assert large.get("2", lambda _: None) is None
    assert files(tmp_path) == []


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    description = histories._HEADER.unpack_from(content)[1]
    content[description + 400] ^= 1
    path.write_bytes(content)


class Harm:
    """An object whose pickle calls a function outside the domain."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1",)


def foreign(path: Path) -> None:
    harmful = attrs.evolve(HISTORY, excluded={"A": Harm()})  # type: ignore[dict-item]
    histories._Tables(path.parent, 1).save(harmful, path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "short": lambda path: path.write_bytes(b"rebalpx2"),
    "cut": cut,
    "flipped": flip,
    "another object": foreign,
    "text": lambda path: path.write_bytes(b"no prices" * 1000),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(HISTORY)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_file_is_replaced(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    shared(tmp_path).get("1", lambda _: HISTORY)
    (path,) = files(tmp_path)
    damage(path)
    built = []
    found = shared(tmp_path).get("1", lambda _: built.append(1) or HISTORY)
    assert built == [1]
    assert found is not None
    assert found.digest == HISTORY.digest
    assert shared(tmp_path).get("1", never) is not None


def test_failures_are_raised_and_not_cached(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        shared(tmp_path).get("1", never)
    assert shared(tmp_path).get("1", lambda _: HISTORY) is not None


def test_unusable_folder_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    place = shared(tmp_path / "file" / "below")
    assert place.get("1", lambda _: HISTORY) is HISTORY
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    assert shared(open_to_all).get("1", lambda _: HISTORY) is HISTORY
    assert files(open_to_all) == []


def test_one_thread_builds_for_all(tmp_path: Path) -> None:
    built, together = [], threading.Barrier(6)

    def ask(_: int) -> str:
        def build(_: OpenTables) -> PriceHistory:
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

    def slowly(_: OpenTables) -> PriceHistory:
        entered.set()
        leave.wait(120)
        return HISTORY

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(shared(tmp_path).get, "1", slowly)
        assert entered.wait(120)
        found = shared(tmp_path, patience=0.1).get("1", lambda _: HISTORY)
        leave.set()
        assert found is not None
        assert first.result() is not None


def _elsewhere(folder: Path) -> str:
    found = shared(folder).get("1", never)
    assert found is not None
    return found.digest


def test_other_processes_use_the_file(tmp_path: Path) -> None:
    shared(tmp_path).get("1", lambda _: HISTORY)
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


def large_market() -> MarketSnapshot:
    """Many assets, of which only later ones have gaps, errors and actions."""
    random = np.random.default_rng(7)

    def walk(days: Dates) -> Floats:
        return 20.0 * np.exp(np.cumsum(random.normal(0, 0.01, len(days))))

    bars = [Bars(f"S{at}", WEEKDAYS, walk(WEEKDAYS), adjusted=False) for at in range(8)]
    bars.append(Bars("T0", np.delete(WEEKDAYS, [7, 8, 50]), walk(WEEKDAYS[3:]), adjusted=False))
    jumping = walk(WEEKDAYS)
    jumping[70:] *= 100
    bars.append(Bars("T1", WEEKDAYS, jumping, adjusted=False))
    bars.append(Bars("T2", WEEKDAYS[30:], walk(WEEKDAYS[30:]), adjusted=False))
    dividend = CorporateAction("T2", date(2020, 5, 4), ActionKind.DIVIDEND, Decimal("0.5"))
    return MarketSnapshot.of(bars, Actions.of([dividend]))


def test_history_that_is_assembled_in_the_file_is_that_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = large_market().history()
    assert alone is not None
    monkeypatch.setattr(assembly, "_BLOCK", 2)
    monkeypatch.setattr(history_tables, "_BLOCK", 3)
    built = shared(tmp_path).get("1", lambda tables: large_market().history(US_DOLLARS, tables))
    read = shared(tmp_path).get("1", never)
    for found in (built, read):
        assert found is not None
        assert found.digest == alone.digest
        assert found.findings == alone.findings
        for name in ("closes", "carried", "reported", "traded"):
            ours, theirs = getattr(found, name), getattr(alone, name)
            assert np.array_equal(ours, theirs, equal_nan=name != "carried"), name
            assert not ours.flags.owndata
            assert not ours.flags.writeable


def test_full_disk_leaves_a_history_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(assembly, "_BLOCK", 2)
    monkeypatch.setattr(histories._Tables, "write", full)
    found = shared(tmp_path).get("1", lambda tables: large_market().history(US_DOLLARS, tables))
    assert found is not None
    alone = large_market().history()
    assert alone is not None
    assert found.digest == alone.digest
    assert list(tmp_path.glob("*")) == [tmp_path / "building.lock"]


def test_shared_history_serves_later_days_until_a_hidden_one_comes(tmp_path: Path) -> None:
    store = MemoryMarket()
    later = np.array([*WEEKDAYS[:20], np.datetime64("2020-03-04")])
    store.save_bars([Bars("A", later, np.arange(1.0, 22.0), adjusted=False)])
    store.save_instruments(Instruments.of([Instrument("A", market="XNYS")]))
    clock = [date(2020, 2, 1)]

    def market() -> StoredMarket:
        """Return the market of a new process, whose calendar ends later each day."""
        ends = np.datetime64(clock[0], "D") + 366
        calendars = MemoryCalendars({"XNYS": np.arange(DAYS[0], ends)})
        return StoredMarket(
            store,
            shared=shared(tmp_path),
            calendars=calendars,
            check_interval=0,
            today=lambda: clock[0],
        )

    running = market()
    assert len(running.closes()) == 20
    (path,) = files(tmp_path)
    for clock[0] in (date(2020, 2, 2), date(2020, 2, 28), date(2020, 3, 2)):
        assert len(running.closes()) == len(market().closes()) == 20
        assert files(tmp_path) == [path]
    clock[0] = date(2020, 3, 3)
    assert len(running.closes()) == len(market().closes()) == 21
    (path,) = files(tmp_path)
    for clock[0] in (date(2020, 3, 4), date(2020, 12, 30)):
        assert len(running.closes()) == len(market().closes()) == 21
        assert files(tmp_path) == [path]
    clock[0] = date(2020, 12, 31)
    market().closes()
    assert files(tmp_path) != [path], "sessions of another year count"


def test_members_of_enumerations_alone_are_read_by_name() -> None:
    assert _find_member(ActionKind, "SPLIT") is ActionKind.SPLIT
    with pytest.raises(pickle.UnpicklingError, match="not an enumeration"):
        _find_member(object, "__subclasses__")
