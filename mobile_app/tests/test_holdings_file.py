from decimal import Decimal

import pytest

from rebalancer_app.model.formats import Formats
from rebalancer_app.model.holdings_file import read_holdings

ENGLISH, GERMAN = Formats.of("en-GB"), Formats.of("de-DE")


def read(text, formats=ENGLISH, encoding="utf-8"):
    return read_holdings(text.encode(encoding), formats)


@pytest.mark.parametrize(
    "text",
    [
        "AAPL,10\nMSFT,2.5\n",
        "symbol,quantity\nAAPL,10\nMSFT,2.5\n",
        "\ufeffSymbol;Quantity\r\nAAPL;10\r\nMSFT;2.5\r\n",
        "Name\tQuantity\tTicker\nApple\t10\tAAPL\nMicrosoft\t2.5\tMSFT\n",
        "aapl,4\nMSFT,2.5\naapl,6\n\n",
    ],
)
def test_layouts_that_people_have(text):
    found = read(text)
    assert found.holdings == {"AAPL": Decimal(10), "MSFT": Decimal("2.5")}
    assert found.mistakes == ()


def test_numbers_of_the_region_and_an_old_encoding():
    found = read("Wertpapier;Stück\nMÜV2;1.234,5\n", GERMAN, "latin-1")
    assert found.holdings == {"MÜV2": Decimal("1234.5")}


def test_targets_in_percent_or_as_fractions_and_a_line_of_cash():
    percent = read("symbol,quantity,target\nAAPL,1,60%\nBND,2,40\nCash,250,0\n")
    assert percent.targets == {"AAPL": Decimal("0.6"), "BND": Decimal("0.4")}
    assert percent.cash == Decimal(250)
    assert read("symbol,quantity,target\nAAPL,1,0.6\n").targets == {"AAPL": Decimal("0.6")}


def test_lines_that_cannot_be_read_are_named():
    found = read("AAPL,10\nTotal,\nMSFT,many\n,5\nX,-1\n")
    assert found.holdings == {"AAPL": Decimal(10)}
    assert [number for number, _ in found.mistakes] == [2, 3, 4, 5]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\x00\x01\xff", b"PK\x03\x04" + bytes(500)])
def test_other_files_give_no_holdings(data):
    assert read_holdings(data, ENGLISH).holdings == {}


def test_endless_files_are_cut():
    found = read("\n".join(f"S{n},1" for n in range(2_000)))
    assert len(found.holdings) == 500
    assert found.mistakes
