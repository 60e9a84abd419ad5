"""What only MongoDB can do, or get wrong: checks of its own, kills, and how it is asked."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from uuid import uuid4

import attrs
import numpy as np
import pytest
from bson.int64 import Int64
from pymongo import ReadPreference, monitoring
from pymongo.errors import DuplicateKeyError, WriteError

from rebalancer.adapters.mongo.connection import circuit_breaker, connect
from rebalancer.adapters.mongo.market import MongoMarket
from rebalancer.adapters.mongo.reports import MongoReports
from rebalancer.application.market_import import ImportMarket
from rebalancer.application.reporting.report import Report
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.errors import InvalidRequest, NotFound, Unavailable
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory, PricesUnavailable
from tests.contracts.documents import mongo_database
from tests.contracts.markets import Clock
from tests.servers import Mongo, running

NOW = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture(scope="module")
def database(mongo_url):
    with mongo_database(mongo_url) as made:
        yield made


@pytest.fixture
def market(database):
    for name in database.list_collection_names():
        database[name].delete_many({})
    made = MongoMarket(database)
    made.prepare()
    return made


def some_bars(symbol="A", count=10, *, first="2021-01-04", **others):
    days = np.datetime64(first) + np.arange(count)
    return Bars(symbol, days, np.arange(1.0, count + 1.0), **others)


def a_report(**others):
    plain = Report(uuid4(), "backtest", "somebody", NOW, 1, {"sharpe": 1.0})
    return attrs.evolve(plain, **others)


def packed(kind, *values):
    return np.array(values, dtype=kind).tobytes()


DAYS = packed("<i4", 18631, 18632)
YEAR = {
    "symbol": "A",
    "year": 2021,
    "revision": 1,
    "days": DAYS,
    "close": packed("<f8", 1.0, 2.0),
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"symbol": ""},
        {"symbol": 7},
        {"year": 2021.5},
        {"revision": 0},
        {"days": [18631, 18632]},
        {"days": DAYS[:-1]},
        {"days": packed("<i4", *range(367)), "close": packed("<f8", *range(367))},
        {"close": packed("<f8", 1.0)},
        {"close": [1.0, 2.0]},
        {"open": packed("<f8", 1.0)},
        {"volume": [1.0, 1.0]},
        {"adjusted": "yes"},
        {"known": 5},
        {"sources": [5]},
        {"note": "by hand"},
    ],
)
def test_server_rejects_malformed_bars(market, wrong):
    with pytest.raises(WriteError, match="failed validation"):
        market.database.bars.insert_one(YEAR | wrong)
    assert market.bars() == {}


def test_server_accepts_valid_bars_once(market):
    market.database.bars.insert_one(YEAR | {"volume": packed("<f8", 0.0, 1.0)})
    assert market.bars()["A"].close.tolist() == [1.0, 2.0]
    with pytest.raises(DuplicateKeyError):
        market.database.bars.insert_one(dict(YEAR))


def test_arrays_of_earlier_versions_are_read_and_replaced(mongo_url):
    """Such documents count as known always, and as adjusted."""
    with mongo_database(mongo_url) as database:
        earlier = {"days": [18631, 18632], "close": [1.0, 2.0], "volume": [0.0, 7.5]}
        database.bars.insert_one(YEAR | earlier)
        market = MongoMarket(database)
        market.prepare()
        for found in (market.bars(), market.bars(known_by=NOW - timedelta(days=9999))):
            assert found["A"].close.tolist() == [1.0, 2.0]
            assert found["A"].volume.tolist() == [0.0, 7.5]
            assert found["A"].adjusted
        day = np.array(["2021-01-05"], dtype="datetime64[D]")
        later = Bars("A", day, np.array([3.0]), volume=np.array([1.0]))
        assert market.save_bars([later], known=NOW) == 1
        assert market.bars()["A"].close.tolist() == [1.0, 3.0]
        assert market.bars(known_by=NOW - timedelta(1))["A"].close.tolist() == [1.0, 2.0]
        assert isinstance(database.bars.find_one()["close"], bytes)


def test_replaced_figures_of_a_killed_save_change_no_read(market):
    market.save_bars([some_bars()], known=NOW)
    kept = {name: value for name, value in YEAR.items() if name != "revision"}
    soon = Int64((NOW + timedelta(days=1)).timestamp() * 1_000_000)
    close, known = packed("<f8", 1.0, 2.0), packed("<i8", NOW.timestamp() * 1_000_000)
    market.database.bar_changes.insert_one(kept | {"until": soon, "close": close, "known": known})
    for time in (NOW, NOW + timedelta(hours=1), NOW + timedelta(days=2), None):
        assert market.bars(known_by=time)["A"].close.tolist() == some_bars().close.tolist()
    assert market.bars(known_by=NOW - timedelta(1)) == {}


@pytest.mark.parametrize("lacking", list(YEAR))
def test_server_rejects_incomplete_bars(market, lacking):
    with pytest.raises(WriteError):
        market.database.bars.insert_one({k: v for k, v in YEAR.items() if k != lacking})


def test_server_rejects_other_malformed_documents(database, market):
    MongoReports(database).prepare()
    for collection, document in (
        ("instruments", {"_id": "A", "position": 0}),
        ("instruments", {"_id": "A", "position": 0, "name": "x", "daily_volume": -1.0}),
        ("revisions", {"_id": "bars", "life": "x", "revision": "many"}),
        ("revisions", {"_id": "bars", "life": "x", "revision": 1, "open": 1}),
        ("reports", {"_id": "no uuid", "kind": "backtest"}),
    ):
        with pytest.raises(WriteError, match="failed validation"):
            database[collection].insert_one(document)


def test_rejected_field_is_named(database, market):
    narrow = {"$jsonSchema": {"properties": {"close": {"bsonType": "string"}}}}
    database.command("collMod", "bars", validator=narrow)
    with pytest.raises(InvalidRequest, match="close: MongoDB rejects") as refused:
        market.save_bars([some_bars()])
    assert refused.value.field == "close"
    market.prepare()
    assert market.save_bars([some_bars()]) == 10


def test_preparing_twice_keeps_the_indexes(database, market):
    MongoReports(database).prepare()
    for _ in range(2):
        market.prepare()
        MongoReports(database).prepare()
    indexes = database.bars.index_information()
    assert indexes["symbol_year"]["unique"]
    assert indexes["symbol_year"]["key"] == [("symbol", 1), ("year", 1)]
    assert "subject" in database.reports.index_information()


class Commands(monitoring.CommandListener):
    """What is asked of a server."""

    def __init__(self):
        self.names = Counter()
        self.writes, self.reads = [], []

    def started(self, event):
        self.names[event.command_name] += 1
        if event.command_name in ("insert", "update"):
            self.writes.append(event.command)
        if event.command_name == "find":
            self.reads.append(event.command)

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


@pytest.fixture
def watched(database):
    """The same database through a client that records its commands."""
    listener = Commands()
    host, port = database.client.address
    monitoring.register(listener)
    try:
        other = connect(f"mongodb://{host}:{port}/{database.name}")
    finally:
        monitoring._LISTENERS.command_listeners.remove(listener)
    yield other, listener
    other.client.close()


def test_many_assets_over_10_years_are_one_query(market, watched):
    days = np.concatenate(
        [np.datetime64(f"{year}-03-01") + np.arange(2) for year in range(2012, 2022)]
    )
    symbols = [f"S{at:03}" for at in range(120)]
    market.save_bars([Bars(symbol, days, np.full(len(days), 2.5)) for symbol in symbols])
    database, listener = watched
    asking = StoredMarket(MongoMarket(database))
    found = asking.store.bars()
    assert sum(len(one) for one in found.values()) == 120 * 20
    assert listener.names == Counter(find=1)
    listener.names.clear()
    assert asking.closes(symbols, days=9).closes.shape == (9, 120)
    assert asking.closes(symbols[:7]).closes.shape == (20, 7)
    assert listener.names == Counter(distinct=1, find=5), "all stored data, and their revisions"


def test_writes_wait_for_a_majority_of_servers(market, watched):
    database, listener = watched
    writer = MongoMarket(database)
    writer.save_bars([some_bars()])
    MongoReports(database).save(a_report())
    assert len(listener.writes) == 4
    assert all(command["writeConcern"]["w"] == "majority" for command in listener.writes)
    assert all(command["writeConcern"]["j"] for command in listener.writes)
    assert all(command["writeConcern"]["wtimeout"] == 5000 for command in listener.writes)
    assert database.read_concern.level == "majority"


def test_many_assets_are_written_in_few_commands(market, watched):
    database, listener = watched
    writer = MongoMarket(database)
    writer.prepare()
    listener.names.clear()
    writer.save_bars([some_bars(f"S{at}") for at in range(128)])
    assert listener.names == Counter(find=4, update=5), "two batches; who is at it, thrice"


def test_import_reads_only_closes_to_find_withheld_assets(market, watched):
    database, listener = watched
    history = PriceHistory.of(["A"], some_bars().days, some_bars().close[:, None])
    imported = ImportMarket(StoredMarket(MongoMarket(database)), lambda: datetime.now(UTC))(
        history, usual=Instruments()
    )
    assert (imported.days, imported.withheld) == (10, {})
    read = [set(command["projection"]) for command in listener.reads if command["find"] == "bars"]
    assert read
    assert not [fields for fields in read if fields & {"open", "high", "low", "volume"}], read


def at_it(database, *, since=timedelta(0)):
    """What a process leaves that was killed after its first change, so long ago."""
    database.revisions.update_one(
        {"_id": "bars"},
        {"$inc": {"revision": 1}, "$set": {f"open.{uuid4().hex}": datetime.now(UTC) - since}},
    )


def counted(database):
    found = database.revisions.find_one({"_id": "bars"})
    return found["revision"], len(found["open"])


def test_next_import_finishes_a_killed_one(database, market):
    clock = Clock()
    reader = StoredMarket(MongoMarket(database), clock=clock)
    market.save_bars([some_bars()])
    reader.closes()
    at_it(database)  # the counter has its mark; its later writes are not announced
    clock.now += 2
    reader.closes()
    closes = np.append(np.arange(1.0, 10.0), 12.0)
    database.bars.update_one({"symbol": "A"}, {"$set": {"close": packed("<f8", *closes)}})
    clock.now += 2
    assert reader.closes().closes[-1, 0] == 10.0
    assert market.save_bars([attrs.evolve(some_bars(), close=closes)]) == 0
    clock.now += 2
    assert reader.closes().closes[-1, 0] == 12.0


def test_killed_import_is_finished_once(database, market):
    market.save_bars([some_bars()])
    revision, _ = counted(database)
    for _ in range(2):
        at_it(database, since=timedelta(hours=1))
    assert counted(database) == (revision + 2, 2)
    for _ in range(4):
        assert market.save_bars([some_bars()]) == 0
    assert counted(database) == (revision + 3, 0), "announced once"


def test_import_that_may_still_run_is_not_finished_by_another(database, market):
    market.save_bars([some_bars()])
    revision, _ = counted(database)
    at_it(database, since=timedelta(hours=1))
    at_it(database, since=timedelta(minutes=1))
    assert market.save_bars([some_bars()]) == 0
    assert counted(database) == (revision + 3, 1)
    assert market.save_bars([some_bars()]) == 0  # perhaps the last import
    assert counted(database) == (revision + 4, 1)


def test_concurrent_imports_finish_a_killed_one(database, market):
    """A live one goes on while others have nothing to do, and raises the counter at its end."""
    market.save_bars([some_bars()])
    at_it(database, since=timedelta(hours=1))
    live, seen = MongoMarket(database), []

    def beside(_):
        for _ in range(2):
            assert market.save_bars([some_bars()]) == 0
        seen.append(counted(database))

    live.save_bars([some_bars(f"S{at}") for at in range(130)], progress=beside)
    assert [open_ for _, open_ in seen] == [1, 1, 1], "the live one alone"
    now, open_ = counted(database)
    assert open_ == 0
    assert now > seen[-1][0], "its last write is announced"
    for _ in range(3):
        market.save_bars([some_bars()])
    assert counted(database) == (now, 0)


def test_long_import_renews_its_mark(database, market):
    now = [datetime.now(UTC)]
    live = MongoMarket(database, now=lambda: now[0])
    later = MongoMarket(database, now=lambda: now[0] + timedelta(minutes=1))

    def beside(_):
        now[0] += timedelta(minutes=10)
        later.save_bars([some_bars("S0")])

    live.save_bars([some_bars(f"S{at}") for at in range(64 * 5)], progress=beside)
    assert counted(database)[1] == 0
    clock = Clock()
    reader = StoredMarket(MongoMarket(database), clock=clock)
    assert len(reader.symbols()) == 64 * 5


def test_concurrent_imports_store_all_instruments(database, market):
    begin = threading.Barrier(2)
    failures = []

    def keep(names):
        begin.wait()
        try:
            MongoMarket(database).save_instruments(
                Instruments.of([Instrument(name) for name in names])
            )
        except Unavailable as error:
            failures.append(error)

    threads = [threading.Thread(target=keep, args=(part,)) for part in ("ABCD", "EFGH")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {one.symbol for one in market.instruments()} == set("ABCDEFGH")


def test_too_large_report_is_rejected_and_the_earlier_one_stays(database):
    reports = MongoReports(database)
    small = a_report(series={"x": np.ones(3)})
    reports.save(small)
    noise = np.random.default_rng(1).normal(size=2_200_000)
    with pytest.raises(InvalidRequest, match=r"report: .* 16 MB; store fewer or shorter"):
        reports.save(attrs.evolve(small, series={"x": noise}))
    assert reports.get(small.id).series["x"].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://",
        "mongodb://host:port/x",
        "mongodb://host/x?w=many&x",
        "http://host/",
        "mongodb://ada:s3cr3t/x@host",
        "mongodb://ada:s3c?r3t@host/x",
        "mongodb://ada:s3cr3t:5@host/x",
        "mongodb://ada:s3%zzcr3t@host/x",
        "mongodb://ada:s3c@r3t@host/x",
        "mongodb://ada:s3cr3t@host/x y",
    ],
)
def test_malformed_url_is_rejected_without_quoting_it(url):
    with pytest.raises(
        InvalidRequest, match="REBALANCER_MONGO_URL: the MongoDB URL is malformed"
    ) as told:
        connect(url)
    assert told.value.__cause__ is None
    assert not any(part in str(told.value) for part in ("s3c", "r3t", "zz", "many"))


def test_url_cannot_weaken_reads_and_writes():
    options = "&".join(
        [
            *("w=0", "journal=false", "readConcernLevel=local", "readPreference=secondary"),
            *("serverSelectionTimeoutMS=123", "SOCKETTIMEOUTMS=456", "wTimeoutMS=789"),
        ]
    )
    database = connect(f"mongodb://host/x?{options}")
    try:
        assert database.write_concern.document == {"w": "majority", "j": True, "wtimeout": 789}
        assert database.read_concern.level == "majority"
        assert database.read_preference == ReadPreference.PRIMARY
        assert database.client.options.server_selection_timeout == 0.123
        assert database.client.options.pool_options.socket_timeout == 0.456
        assert database.client.options.pool_options.connect_timeout == 2.0  # our default
    finally:
        database.client.close()


def test_default_timeouts_apply_without_url_options():
    database = connect("mongodb://host/x")
    try:
        assert database.client.options.server_selection_timeout == 2.0
        assert database.write_concern.document["wtimeout"] == 5000
    finally:
        database.client.close()


def test_missing_server_is_reported_soon():
    database = connect("mongodb://127.0.0.1:9/x", timeout=0.2)
    begun = monotonic()
    try:
        with pytest.raises(PricesUnavailable, match=r"^MongoDB does not answer$"):
            StoredMarket(MongoMarket(database)).closes()
        for ask in (
            lambda: MongoReports(database).get(uuid4()),
            lambda: MongoReports(database).save(a_report()),
            lambda: MongoMarket(database).save_bars([some_bars()]),
            MongoReports(database).prepare,
        ):
            with pytest.raises(Unavailable, match=r"^MongoDB does not answer$") as told:
                ask()
            assert "127.0.0.1:9" in str(told.value.__cause__)  # for operators alone
    finally:
        database.client.close()
    assert monotonic() - begun < 8.0  # with the usual time limit it would be ten


def test_one_reader_waits_for_a_dead_server():
    database, now = connect("mongodb://127.0.0.1:9/x", timeout=1.5), [0.0]
    reports = MongoReports(database, breaker=circuit_breaker(clock=lambda: now[0]))
    begin = threading.Barrier(30)

    def waits(_) -> bool:
        begin.wait()
        began = monotonic()
        with pytest.raises(Unavailable, match=r"^MongoDB does not answer$"):
            reports.get(uuid4())
        return monotonic() - began >= 1.5

    try:
        with ThreadPoolExecutor(30) as pool:
            list(pool.map(waits, range(30)))  # until the first failure
            for _ in range(2):
                assert not any(pool.map(waits, range(30)))
                now[0] += 1.0
                assert sum(pool.map(waits, range(30))) == 1
    finally:
        database.client.close()


def test_outage_and_its_end_are_logged_once(caplog):
    with running(Mongo) as server:
        database = connect(f"{server.url}told", timeout=0.3)
        try:
            reports = MongoReports(database)
            for _ in range(2):
                server.kill()
                for _ in range(4):
                    with pytest.raises(Unavailable):
                        reports.get(uuid4())
                    with pytest.raises(Unavailable):
                        reports.save(a_report())
                server.start()
                latest = monotonic() + 120
                while True:
                    with suppress(Unavailable):
                        with pytest.raises(NotFound):
                            reports.get(uuid4())
                        break
                    assert monotonic() < latest
                    sleep(0.05)
        finally:
            database.client.close()
    said = [record.getMessage() for record in caplog.records]
    place = f"MongoDB at 127.0.0.1:{server.port}"
    assert [one.partition(": ")[0] for one in said] == [
        *(f"{place} does not answer", f"{place} answers again"),
        *(f"{place} does not answer", f"{place} answers again"),
    ]
    assert "Connection refused" in said[0]


def test_closing_the_client_logs_no_outage(mongo_url, caplog):
    for _ in range(3):
        database = connect(f"{mongo_url}hung_up")
        database.command("ping")
        sleep(0.1)  # in which the driver begins to listen for changes of the server
        database.client.close()
    assert caplog.messages == []


def test_failures_of_the_server_are_logged_for_operators(database, market, caplog):
    database.bars.drop_index("symbol_year")
    database.bars.create_index([("symbol", 1), ("year", 1)], name="symbol_year", sparse=True)
    with pytest.raises(Unavailable, match=r"^MongoDB failed; the log states the reason$") as told:
        market.prepare()
    assert "symbol_year" in str(told.value.__cause__)
    assert "symbol_year" in caplog.text
    database.bars.drop_index("symbol_year")


def test_first_writer_prepares_a_server_that_started_later():
    with running(Mongo) as server:
        database = connect(f"{server.url}later", timeout=0.3)
        try:
            market, reports = MongoMarket(database), MongoReports(database)
            server.kill()
            for store in (market, reports):
                with pytest.raises(Unavailable):
                    store.prepare()
            with pytest.raises(Unavailable):
                reports.save(a_report())
            server.start()
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda _: reports.save(a_report()), range(8)))
            market.save_bars([some_bars()])
            market.save_instruments(Instruments.of([Instrument("A")]))
            assert "subject" in database.reports.index_information()
            assert database.bars.index_information()["symbol_year"]["unique"]
            for name in ("reports", "bars", "instruments", "revisions"):
                with pytest.raises(WriteError, match="failed validation"):
                    database[name].insert_one({"note": "by hand"})
        finally:
            database.client.close()


def test_process_prepares_collections_once(market, watched):
    database, listener = watched
    writer, reports = MongoMarket(database), MongoReports(database)
    begin = threading.Barrier(8)

    def keep(number):
        begin.wait()
        reports.save(a_report())
        writer.save_bars([some_bars(f"S{number}")])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, range(8)))
    assert listener.names["create"] == 7
    assert listener.names["createIndexes"] == 3


def test_client_reconnects_after_a_restart():
    with running(Mongo) as server:
        database = connect(f"{server.url}survives", timeout=0.5)
        try:
            store, breaker = MongoMarket(database), circuit_breaker(pause=0.0)
            reports = MongoReports(database, breaker=breaker)
            market = StoredMarket(store, check_interval=0.0)
            market.prepare()
            reports.prepare()
            report = a_report(series={"x": np.ones(3)})
            market.save_bars([some_bars()])
            reports.save(report)
            before = market.closes()
            server.kill()
            assert market.closes() is before  # the last prices are served, and health reports it
            for attempt in (
                market.check,
                store.bars,
                lambda: market.save_bars([some_bars(count=12)]),
                lambda: reports.get(report.id),
            ):
                with pytest.raises(Unavailable, match=r"^MongoDB does not answer$"):
                    attempt()
            server.start()
            market.check()
            assert market.closes() is before
            assert reports.get(report.id).document == {"sharpe": 1.0}
            assert len(store.bars()["A"]) == 10
            assert market.save_bars([some_bars(count=12)]) == 2
        finally:
            database.client.close()
