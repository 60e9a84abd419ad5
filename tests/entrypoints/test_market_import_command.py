import json
from pathlib import Path

import pytest

from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.reports import Reports
from rebalancer.application.stored_market import StoredMarket
from rebalancer.config import Settings
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.wiring.container import build_container
from rebalancer.wiring.market import SAMPLE, STORE, Sources
from tests.builders import as_csv, prices
from tests.contracts.documents import mongo_database

ASSETS = "symbol,name,asset_class,daily_volume\nA,Alpha,bond,2500000\nB,Beta,,\n"


@pytest.fixture(params=["sqlite", "mongo"])
def kept(request, quickly, database, monkeypatch):
    """Run commands on a store whose prices are the default."""
    monkeypatch.setenv("REBALANCER_DATABASE_URL", database)
    if request.param == "sqlite":
        monkeypatch.setenv("REBALANCER_PRICES", "store")
        yield quickly
        return
    with mongo_database(request.getfixturevalue("mongo_url")) as database:
        host, port = database.client.address or request.getfixturevalue("mongo_url")
        monkeypatch.setenv("REBALANCER_MONGO_URL", f"mongodb://{host}:{port}/{database.name}")
        yield quickly


def test_commands_use_imported_prices(kept, market, write):
    empty = kept("market", "list")
    assert (empty.code, "no prices are imported yet" in empty.stderr) == (1, True)
    assets = write("assets.csv", ASSETS)
    first = kept("market", "import", "--prices", market, "--assets", assets, "--json").json
    expected = {"assets": 5, "days": 1500, "instruments": 2, "withheld": {}, "findings": []}
    assert first == expected | {
        "rates": 0,
        "actions": 0,
        "inferred": [],
        "notes": [],
        "first": "2020-01-01",
        "last": "2021-02-23",
        "ended": [],
    }
    again = kept("market", "import", "--prices", market, "--assets", assets, "--json").json
    assert again == first | {"days": 0, "instruments": 0}
    said = kept("market", "list", "--json")
    assert (
        said.json == kept("market", "list", "--json", "--prices", market, "--assets", assets).json
    )
    assert "Caution" not in kept("market", "list").stdout
    asked = ("backtest", "--policy", "monthly,band", "--from", "2020-06-01", "--json")
    assert kept(*asked).json == kept(*asked, "--prices", market, "--assets", assets).json


def test_asset_with_missing_prices_is_reported(kept, market, write):
    walk = prices(1, 100)
    short = as_csv(walk).replace("date,A", "date,OLD")
    told = kept("market", "import", "--prices", write("old.csv", short))
    assert "1 asset from 2020-01-01" in told.stdout.replace("\n", " ")
    told = kept("market", "import", "--prices", market)
    assert "5 assets from" in told.stdout
    assert "1500 days were new or changed" in told.stdout
    assert "OLD is not tradable: no close since 2020-05-19" in told.stderr.replace("\n", " ")
    shown = kept("market", "show", "OLD", "--json").json["summary"]
    assert (shown["last"], shown["closes"]) == ("2020-05-19", 100)
    assert shown["withheld"] == "no close since 2020-05-19"
    checked = kept("db", "check")
    assert (checked.code, checked.stdout) == (0, "No findings.\n")
    assert "imported prices not tradable: OLD (no close since 2020-05-19)" in checked.stderr


def test_jumps_are_imported_as_they_are_and_reported(kept, write):
    walk = prices(2, 60)
    closes = walk.closes.copy()
    closes[50:, 1] /= 100
    pence = PriceHistory.of(walk.symbols, walk.dates, closes)
    told = kept("market", "import", "--prices", write("pence.csv", as_csv(pence)), "--json")
    assert told.code == 0
    (finding,) = told.json["findings"]
    assert (finding["symbol"], finding["rule"], finding["severity"]) == (
        "B",
        "unit_change",
        "error",
    )
    assert list(told.json["withheld"]) == ["B"]
    stored = ("market", "list", "--prices", "store", "--json")
    assert [bool(one["withheld"]) for one in kept(*stored).json] == [False, True]
    accepted = kept(*stored, "--accept-jumps", "B").json
    assert [(one["withheld"], one["findings"]) for one in accepted] == [(None, [])] * 2
    assert accepted[1]["price"] == closes[-1, 1]


def test_bars_actions_and_rates_are_imported_in_any_order(kept, write):
    actions = write("actions.csv", "symbol,ex_date,kind,value,currency\nA,2024-01-04,split,4:1,\n")
    assets = write("assets.csv", "symbol,currency,market\nA,GBX,XLON\nB,USD,24/7\nEURUSD,USD,\n")
    bars = write(
        "bars.csv",
        "date,symbol,open,high,low,close,volume\n"
        "2024-01-02,A,,,,4000,\n2024-01-03,A,,,,4040,\n2024-01-04,A,,,,1010,\n"
        "2024-01-02,B,10,11,9,10,500\n2024-01-03,B,10,11,9,10,500\n2024-01-04,B,10,9,11,10,500\n"
        "2024-01-02,EURUSD,,,,1.1,\n",
    )
    done = kept("market", "import", "--actions", actions, "--json").json
    assert (done["actions"], done["days"], done["assets"]) == (1, 0, 0)
    done = kept("market", "import", "--bars", bars, "--assets", assets, "--json").json
    assert (done["assets"], done["rates"], done["days"], done["instruments"]) == (2, 1, 7, 2)
    assert [(one["symbol"], one["rule"]) for one in done["findings"]] == [("B", "high_below_low")]
    again = kept("market", "import", "--bars", bars, "--actions", actions)
    assert "2 assets and 1 exchange rate from 2024-01-02 to 2024-01-04: 0 days" in again.stdout
    listed = kept("market", "list", "--prices", "store", "--json").json
    assert [(one["symbol"], one["findings"]) for one in listed] == [("A", []), ("B", [])]


def test_findings_are_listed_accepted_and_rejected(kept, write):
    assert kept("market", "issues").code == 1  # nothing is imported yet
    days = [f"2024-01-0{day}" for day in (1, 2, 3, 4, 5)]
    closes = {"P": [500, 505, 5.04, 5.1, 5], "S": [100, 100, 140, 101, 100]}
    rows = [
        f"{day},{symbol},{close}"
        for symbol, own in closes.items()
        for day, close in zip(days, own, strict=True)
    ]
    bars = write("bars.csv", "\n".join(["date,symbol,close", *rows, "2024-01-05,S,0"]) + "\n")
    kept("market", "import", "--bars", bars)
    listed = kept("market", "issues", "--json").json
    assert [(one["symbol"], one["rule"]) for one in listed] == [
        ("P", "unit_change"),
        ("S", "spike"),
        ("S", "not_positive"),
    ]
    assert "3 findings" in kept("market", "issues").stdout
    accepted = kept("market", "issues", "accept", "P", "--day", "2024-01-03", "--json").json
    assert [one["state"] for one in accepted] == ["accepted"]
    kept("market", "issues", "reject", "S", "--rule", "spike")
    assert [one["rule"] for one in kept("market", "issues", "--json").json] == ["not_positive"]
    listed = kept("market", "list", "--prices", "store", "--json").json
    assert [(one["closes"], one["withheld"]) for one in listed] == [(5, None), (4, None)]
    states = [one["state"] for one in kept("market", "issues", "--all", "--json").json]
    assert states == ["accepted", "rejected", "open"]
    assert kept("market", "issues", "accept", "P", "--rule", "stale").refused("no finding of rule")
    assert kept("market", "issues", "accept", "P", "--rule", "no").refused("unknown rule 'no'")
    assert kept("market", "issues", "--symbol", "Q").refused("asset Q does not exist")


def test_sample_is_imported_with_its_caution(kept):
    told = kept("market", "import", "--prices", "sample")
    assert "19 assets from 2000-01-03 to 2022-12-28" in told.stdout
    assert "19 instruments" in told.stdout
    assert "survivors" in told.stderr
    assert kept("market", "show", "KO", "--json").json["summary"]["name"] == "Coca-Cola"
    sample = json.loads(kept("market", "list", "--prices", "sample", "--json").stdout)
    assert len(sample) == 19


def test_invalid_imports_are_rejected(kept, write):
    assert kept("market", "import").refused(
        "nothing to import; give --bars, --actions, --assets or --prices"
    )
    assert kept("market", "import", "--prices", "store").refused(
        "prices: the store cannot be imported into itself"
    )
    assert kept("market", "import", "--prices", "no.csv").refused(
        "no.csv: this file does not exist"
    )
    bad = write("bad.csv", "date,A\n2021-01-04,-1\n")
    assert kept("market", "import", "--prices", bad).refused("bad.csv, line 2, column 2 ('A')")


def test_import_without_tables_names_remedy(quickly):
    told = quickly("market", "import", "--prices", "sample")
    assert (told.code, "Run `rebalancer db upgrade`" in told.stderr) == (1, True)


def test_help_explains_the_store(quickly):
    shown = quickly("market", "import", "--help").stdout
    for said in ("REBALANCER_MONGO_URL", "--prices store", "changes nothing", "etfs-list.csv"):
        assert said in " ".join(shown.split()), said


MONGO = Settings(mongo_url="mongodb://host/x")


@pytest.mark.parametrize(
    ("settings", "named", "expected"),
    [
        (Settings(), None, SAMPLE),
        (Settings(), Path("a.csv"), "a.csv"),
        (Settings(), STORE, STORE),
        (Settings(prices="b.csv"), None, "b.csv"),
        (Settings(prices="b.csv"), Path("a.csv"), "a.csv"),
        (Settings(prices="b.csv"), SAMPLE, SAMPLE),
        (Settings(prices=STORE), None, STORE),
        (MONGO, None, STORE),
        (MONGO, Path("a.csv"), "a.csv"),
        (MONGO, SAMPLE, SAMPLE),
        (Settings(mongo_url=MONGO.mongo_url, prices=SAMPLE), None, SAMPLE),
        (Settings(mongo_url=MONGO.mongo_url, prices=Path("b.csv")), None, "b.csv"),
    ],
)
def test_prices_come_from_option_settings_or_default(settings, named, expected):
    found = Sources.of(settings, named)
    assert found.prices == expected
    assert bool(found.cautions) == (expected == SAMPLE)


def test_market_data_and_reports_share_a_store(tmp_path):
    settings = Settings(database_url=f"sqlite:///{tmp_path}/x.db")
    wired = build_container(Sources(STORE), settings=settings)
    try:
        assert wired.get(PriceSource) is wired.get(StoredMarket)
        assert wired.get(Reports).engine is wired.get(StoredMarket).store.engine
    finally:
        wired.close()
