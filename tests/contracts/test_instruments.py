"""What every source of instruments promises: `InstrumentSource` in application/ports."""

import re
from contextlib import ExitStack
from decimal import Decimal

import pytest

from rebalancer.adapters.market_data.csv_instruments import CsvInstruments, PackagedInstruments
from rebalancer.adapters.market_data.sample import SamplePrices
from rebalancer.adapters.memory.market import MemoryInstruments
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from tests.contracts.markets import KINDS, market_places

LIST = [
    Instrument("SPY", "S&P 500, all of it", AssetClass.EQUITY, 3e10),
    Instrument("AGG", "Bonds", AssetClass.BOND, None),
    Instrument("XYZ"),
    Instrument("COIN", quantity_step=Decimal("0.00001")),
    Instrument("1306.T", quantity_step=Decimal(1), lot_size=Decimal(10)),
]
FILE = """symbol,name,asset_class,daily_volume,quantity_step,lot_size
SPY,"S&P 500, all of it",equity,3e10,,
AGG,Bonds,bond,,,
XYZ,,,,,
COIN,,,,0.00001,
1306.T,,,,1,10
"""


def memory(folder):
    return MemoryInstruments(Instruments.of(LIST))


def csv_file(folder):
    path = folder / "instruments.csv"
    path.write_text(FILE, encoding="utf-8")
    return CsvInstruments(path)


def packaged(folder):
    return PackagedInstruments()


@pytest.fixture(
    params=[
        pytest.param(memory, id="memory"),
        pytest.param(csv_file, id="csv"),
        pytest.param(packaged, id="packaged"),
        *[pytest.param(kind, id=f"{kind}-store") for kind in KINDS],
    ]
)
def source(request, tmp_path, makers):
    if not isinstance(request.param, str):
        yield request.param(tmp_path)
        return
    with ExitStack() as at_the_end:
        store = market_places(request, makers, at_the_end, request.param)()
        store.save_instruments(Instruments.of(LIST))
        yield store


def written(tmp_path, text):
    path = tmp_path / "instruments.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return CsvInstruments(path)


def test_instruments_are_read_as_written(source):
    listed = source.instruments()
    assert listed["SPY"].asset_class is AssetClass.EQUITY
    assert listed["AGG"].asset_class is AssetClass.BOND
    assert "S&P 500" in listed["SPY"].name
    assert listed["SPY"].daily_volume == 3e10


def test_quantity_steps_and_lots_are_read_as_written(source):
    listed = source.instruments()
    if "COIN" in listed.by_symbol:
        assert listed["COIN"].order_step == Decimal("0.00001")
        assert listed["1306.T"].order_step == 10
        assert listed["1306.T"].quantity_step == 1
    assert listed["SPY"].order_step is None


def test_each_is_listed_once_and_under_its_symbol(source):
    listed = list(source.instruments())
    assert len({it.symbol for it in listed}) == len(listed) >= 3
    assert all(source.instruments()[it.symbol] is it for it in source.instruments())


def test_unlisted_asset_is_of_unknown_class(source):
    assert source.instruments()["UNHEARD-OF"] == Instrument("UNHEARD-OF")
    assert source.instruments()["UNHEARD-OF"].counts_as_equity


def test_same_call_gives_the_same_answer(source):
    assert source.instruments() == source.instruments()


def test_volumes_are_positive_or_unknown(source):
    volumes = [it.daily_volume for it in source.instruments()]
    assert all(volume is None or 0 < volume < 1e12 for volume in volumes)


def test_file_and_memory_agree(tmp_path):
    assert list(csv_file(tmp_path).instruments()) == LIST


def test_packaged_list_covers_the_sample():
    known = PackagedInstruments().instruments().by_symbol
    for sample in (SamplePrices("stocks", full=True), SamplePrices("factors")):
        assert set(sample.symbols()) <= set(known)


def test_packaged_list_has_a_class_for_all():
    listed = list(PackagedInstruments().instruments())
    assert all(it.name and it.asset_class for it in listed)
    assert {it.asset_class for it in listed} == set(AssetClass) - {AssetClass.OTHER}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("symbol\nA\n", Instrument("A")),
        ("SYMBOL , Asset_Class\r\n A , Money Market \r\n\r\n", Instrument("A", "", "money_market")),
        ("name,symbol,sector\nAlpha,A,Tech\n", Instrument("A", "Alpha")),
        ("symbol,asset_class\nA,Real-Estate\n", Instrument("A", "", "real_estate")),
        ("symbol,asset_class\nA,crypto\n", Instrument("A")),
        ("symbol;name\nA;Alpha, all of it\n", Instrument("A", "Alpha, all of it")),
        ("symbol,daily_volume\nA, 2500000 \n", Instrument("A", daily_volume=2.5e6)),
        ("symbol,lot_size\nA, 100 \n", Instrument("A", lot_size=Decimal(100))),
        ("symbol,quantity_step\nA,1e-3\n", Instrument("A", quantity_step=Decimal("0.001"))),
        ("symbol,currency,market\nA,GBX,xlon\n", Instrument("A", currency="GBX", market="XLON")),
        ("symbol,Market\nBTC,24/7\n", Instrument("BTC", market="24/7")),
        ("symbol,currency,market\nA,,\n", Instrument("A")),
        (b"\xef\xbb\xbfsymbol\nA\n", Instrument("A")),
    ],
)
def test_odd_lists_that_can_be_read(tmp_path, text, expected):
    assert list(written(tmp_path, text).instruments()) == [expected]


@pytest.mark.parametrize(
    ("text", "place", "remedy"),
    [
        ("", "instruments.csv: the file is empty", "header"),
        ("symbol\n", "line 1", "add at least one row"),
        ("ticker,name\nA,a\n", "has no column symbol", "add it"),
        ("symbol,Symbol\nA,A\n", "line 1: columns 1 and 2", "keep one"),
        ("symbol,name,name\nA,a,a\n", "line 1: columns 2 and 3", "keep one"),
        ("symbol,name\nA,a\nB,b\nA,c\n", "line 4, column 1 ('symbol'): 'A'", "keep one line"),
        ("symbol,name\n ,a\n", "line 2, column 1 ('symbol'): no symbol", "give one"),
        ("symbol,name\nA,Fund, large\n", "line 2: 'large' is in column 3", "in quotes"),
        ("symbol,daily_volume\nA,lots\n", "line 2, column 2 ('daily_volume'): 'lots'", "2500000"),
        ("symbol,quantity_step\nA,0\n", "line 2, column 2 ('quantity_step'): '0'", "0.001"),
        ("symbol,quantity_step\nA,1e-999\n", "line 2, column 2", "0.001"),
        ("symbol,lot_size\nA,0.5\n", "line 2, column 2 ('lot_size'): '0.5'", "such as 100"),
        ("symbol,lot_size\nA,ten\n", "line 2, column 2 ('lot_size'): 'ten'", "such as 100"),
        ("symbol,quantity_step,lot_size\nA,3,10\n", "line 2, column 3 ('lot_size')", "multiple"),
        ("symbol,daily_volume\nA,0\n", "line 2, column 2 ('daily_volume'): '0'", "positive"),
        ("symbol,daily_volume\nA,-5\n", "line 2, column 2 ('daily_volume'): '-5'", "positive"),
        ("symbol,daily_volume\nA,nan\n", "line 2, column 2 ('daily_volume'): 'nan'", "positive"),
        ("symbol,daily_volume\nA,1_000\n", "line 2, column 2 ('daily_volume'): '1_000'", "plain"),
        ("symbol,daily_volume\nA,1e999\n", "line 2, column 2 ('daily_volume'): '1e999'", "plain"),
        ("symbol,currency\nA,pence\n", "line 2, column 2 ('currency'): 'pence'", "such as GBX"),
        ("symbol,market\nA,NYSE Arca\n", "line 2, column 2 ('market'): 'NYSE ARCA'", "XNYS"),
        (b"symbol,name\nA,caf\xe9\n", "line 2: not UTF-8", "save it as CSV in UTF-8"),
    ],
)
def test_malformed_list_is_rejected_with_place_and_remedy(tmp_path, text, place, remedy):
    with pytest.raises(InvalidRequest, match=re.escape(place)) as refused:
        written(tmp_path, text).instruments()
    assert remedy in str(refused.value)
    assert refused.value.field == "assets"


def test_missing_list_is_rejected(tmp_path):
    with pytest.raises(InvalidRequest, match=r"nowhere\.csv: this file does not exist; check"):
        CsvInstruments(tmp_path / "nowhere.csv").instruments()
