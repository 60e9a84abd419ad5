"""Price files in the layouts of vendors, spreadsheets and libraries.

What is unambiguous is read; what is ambiguous is refused, with the place and the remedy.
"""

import numpy as np
import pytest

from rebalancer.adapters.market_data.price_files.bars import find_bars
from rebalancer.adapters.market_data.price_files.folder import read_path
from rebalancer.adapters.market_data.price_files.layouts import LAYOUTS
from rebalancer.adapters.market_data.price_files.options import LayoutOptions
from rebalancer.domain.errors import InvalidRequest


@pytest.fixture
def read(tmp_path):
    """Read a file of some lines, as (day, symbol) to price."""

    def from_lines(*lines, layout=None, name="XYZ.csv"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return read_path(path, LayoutOptions.parse(layout, tuple(LAYOUTS)))

    return from_lines


def prices_of(table):
    """Return the closes by symbol, oldest first, without missing ones."""
    return {
        symbol: [float(close) for close in closes if not np.isnan(close)]
        for symbol, closes in zip(table.symbols, table.closes.T, strict=True)
    }


def days_of(table):
    return [day.isoformat() for day in table.days]


def refused(read, *lines, **options):
    with pytest.raises(InvalidRequest) as error:
        read(*lines, **options)
    return str(error.value)


ONE_ASSET = [
    pytest.param(
        [
            "Date,Open,High,Low,Close,Adj Close,Volume",
            "2023-05-04,10.10,10.90,10.05,10.80,9.70,120000",
            "2023-05-05,10.80,11.20,10.70,11.00,9.90,98000",
        ],
        [9.7, 9.9],
        id="Yahoo",
    ),
    pytest.param(
        [
            "Date,Open,High,Low,Close*,Adj Close**,Volume",
            '"May 05, 2023",10.80,11.20,10.70,11.00,9.90,"98,000"',
            '"May 04, 2023",10.10,10.90,10.05,10.80,9.70,"120,000"',
        ],
        [9.7, 9.9],
        id="Yahoo's page",
    ),
    pytest.param(
        [
            "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits",
            "2023-05-04 00:00:00-04:00,10.10,10.90,10.05,10.80,120000,0.0,0.0",
            "2023-05-05 00:00:00-04:00,10.80,11.20,10.70,11.00,98000,0.2,0.0",
        ],
        [10.8, 11.0],
        id="yfinance history",
    ),
    pytest.param(
        ["Date,Open,High,Low,Close,Volume", "2023-05-04,1,2,3,10.80,5", "2023-05-05,1,2,3,11.00,5"],
        [10.8, 11.0],
        id="Stooq",
    ),
    pytest.param(
        [
            '"Date","Price","Open","High","Low","Vol.","Change %"',
            '"05/15/2023","1,011.00","1,010.80","1,011.20","1,010.70","98.00K","1.85%"',
            '"05/12/2023","991.80","990.10","991.90","990.05","1.20M","-0.20%"',
        ],
        [991.8, 1011.0],
        id="Investing.com",
    ),
    pytest.param(
        [
            '"Datum","Zuletzt","Eröffn.","Hoch","Tief","Vol.","+/- %"',
            '"05.05.2023","1.011,00","1.010,80","1.011,20","1.010,70","98,00K","1,85%"',
            '"04.05.2023","991,80","990,10","991,90","990,05","1,20M","-0,20%"',
        ],
        [991.8, 1011.0],
        id="Investing.com in German",
    ),
    pytest.param(
        [
            "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient",
            "2023-05-05,10.80,11.20,10.70,11.00,9.90,98000,0.0000,1.0",
            "2023-05-04,10.10,10.90,10.05,10.80,9.70,120000,0.0000,1.0",
        ],
        [9.7, 9.9],
        id="Alpha Vantage",
    ),
    pytest.param(
        [
            "Date,Close/Last,Volume,Open,High,Low",
            '05/15/2023,"$1,011.00",98000,$1010.80,$1011.20,$1010.70',
            "05/12/2023,$991.80,120000,$990.10,$991.90,$990.05",
        ],
        [991.8, 1011.0],
        id="Nasdaq",
    ),
    pytest.param(
        ["Date,Close", "5/12/2023 16:00:00,991.8", "5/15/2023 16:00:00,1011"],
        [991.8, 1011.0],
        id="GOOGLEFINANCE",
    ),
    pytest.param(
        [
            "Date,series,OPEN,HIGH,LOW,PREV. CLOSE,ltp,close,vwap,52W H,52W L,VOLUME,VALUE",
            '05-May-2023,EQ,1,1,1,1,1,"1,01,011.00",1,1,1,5,7',
            '04-May-2023,EQ,1,1,1,1,1,"99,091.80",1,1,1,5,7',
        ],
        [99091.8, 101011.0],
        id="NSE",
    ),
    *[
        pytest.param([header, "15.05.2023;1;2;0,5;10,8;7"], [10.8], id=header)
        for header in (
            "Data;Otwarcie;Najwyższy;Najniższy;Zamknięcie;Wolumen",
            "Date;Ouverture;Plus Haut;Plus Bas;Clôture;Volume",
            "Fecha;Apertura;Máximo;Mínimo;Cierre;Vol.",
            "Data;Apertura;Massimo;Minimo;Chiusura;Var. %",
            "Datum;Openen;Hoog;Laag;Slotkoers;Omzet",
            "Tarih;A\u00e7\u0131l\u0131\u015f;Y\u00fcksek;D\u00fc\u015f\u00fck;Kapan\u0131\u015f;Hac.",
            "Дата;Откр.;Макс.;Мин.;Цена;Объём",
        )
    ],
    pytest.param(
        ["日付け,終値,始値,高値,安値,出来高", "2023年05月04日,10.8,1,2,0.5,7"],
        [10.8],
        id="Japanese",
    ),
    pytest.param(
        ["date,1. open,2. high,3. low,4. close,5. volume", "2023-05-04,1,2,3,10.8,5"],
        [10.8],
        id="numbered titles",
    ),
    pytest.param(
        ["<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>", "2023.05.04\t1.5\t2\t1\t1.0812\t7"],
        [1.0812],
        id="MetaTrader",
    ),
    pytest.param(
        ["Date,Close,RSI,Open,High", "2023-05-04,10.8,55,1,2", "2023-05-05,11,56,1,2"],
        [10.8, 11.0],
        id="with an indicator",
    ),
]


@pytest.mark.parametrize(("lines", "closes"), ONE_ASSET)
def test_fields_of_one_asset_are_read_as_its_closes(read, lines, closes):
    table = read(*lines)
    assert table.layout == "ohlcv"
    assert prices_of(table) == {"XYZ": closes}
    assert table.days == sorted(table.days)


def test_file_of_one_asset_names_it_unless_the_user_does(read):
    lines = ("Date,Close", "2023-05-04,3")
    assert read(*lines, name="BRK B.csv").symbols == ["BRK B"]
    assert read(*lines, name="spy.us.txt").symbols == ["spy.us"]
    assert read(*lines, layout="ohlcv:symbol=SI=F").symbols == ["SI=F"]


TWO_HEADERS = [
    ["Price,Close,Close,Volume", "Ticker,T1,T2,T1", "Date,,,"],
    ["Ticker,T1,T2,T1", "Price,Close,Close,Volume", "Date,,,"],
    ["Attributes,Close,Close,Volume", "Symbols,T1,T2,T1", "Date,,,"],
    [",Close,Close,Volume", ",T1,T2,T1", "Date,,,"],
    ["Date,Close,Close,Volume", ",T1,T2,T1"],
    ["Price,Close,,Volume", "Ticker,T1,T2,T1", "Datetime,,,"],
    ["Price,Adj Close,Close,Close", "Ticker,T1,T2,T1", "Date,,,"],
]


@pytest.mark.parametrize("header", TWO_HEADERS)
def test_two_or_three_header_lines(read, header):
    table = read(*header, "2023-05-04,7.5,81,900", "2023-05-05,7.25,82,800")
    assert table.layout == "yfinance"
    assert prices_of(table) == {"T1": [7.5, 7.25], "T2": [81.0, 82.0]}


def test_field_line_without_symbols_is_one_asset(read):
    table = read("Price,Close,Volume", "Date,,", "2023-05-04,7.5,900", "2023-05-05,7.25,800")
    assert prices_of(table) == {"XYZ": [7.5, 7.25]}


def test_two_header_lines_that_are_unclear_are_refused(read):
    days = ("2023-05-04,7,8", "2023-05-05,8,9")
    said = refused(read, "Price,Close,Close", "Ticker,T1,T1", "Date,,", *days)
    assert "columns 2 and 3 are both 'Close' of 'T1'" in said
    said = refused(read, "Price,Open,High", "Ticker,T1,T2", "Date,,", *days)
    assert "layout yfinance" in said and "no closes" in said


LONG = [
    ["date,symbol,close", "2023-05-04,P,7.5", "2023-05-04,Q,81", "2023-05-05,P,7.25"],
    ["date,Q,variable,value", "2023-05-04,,P,7.5", "2023-05-04,,Q,81", "2023-05-05,,P,7.25"],
    [
        "Ticker,Date,Open,Close,Adj Close,Volume",
        *("P,2023-05-05,1,9,7.25,1", "P,2023-05-04,1,9,7.5,1", "Q,2023-05-04,1,90,81,1"),
    ],
    [
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
        *("P,D,20230504,000000,1,1,1,7.5,9,0", "P,D,20230505,000000,1,1,1,7.25,9,0"),
        "Q,D,20230504,000000,1,1,1,81,9,0",
    ],
    [
        "Datum;Symbol;Schlusskurs;Währung",
        *("04.05.2023;P;7,5;EUR", "04.05.2023;Q;81,0;EUR", "05.05.2023;P;7,25;EUR"),
    ],
]


@pytest.mark.parametrize("lines", LONG, ids=lambda lines: lines[0])
def test_a_row_for_each_asset_and_day(read, lines):
    table = read(*lines)
    assert table.layout == "long"
    assert prices_of(table) == {"P": [7.5, 7.25], "Q": [81.0]}
    assert days_of(table) == ["2023-05-04", "2023-05-05"]


@pytest.mark.parametrize(
    ("lines", "fragments"),
    [
        (
            ["date,symbol,close", "2023-05-04,P,7", "2023-05-04,P,8"],
            ["line 3", "'P' on 2023-05-04 is also on line 2"],
        ),
        (["date,symbol,close", "2023-05-04,P,7", "2023-05-05,,8"], ["line 3", "no symbol"]),
        (
            ["date,symbol,close,currency", "2023-05-04,P,7,USD", "2023-05-04,Q,8,CHF"],
            ["line 3, column 4 ('currency')", "in USD and in CHF"],
        ),
        (["date,symbol,close", "2023-05-04,P,-7", "2023-05-05,P,-8"], ["line 2", "'-7' is not a"]),
        (
            ["symbol,ex_date,kind,value,currency", "P,2023-05-04,dividend,1.20,USD"],
            ["line 1", "those of corporate actions, not of prices"],
        ),
    ],
)
def test_malformed_long_file_is_rejected_with_its_place(read, lines, fragments):
    said = refused(read, *lines)
    assert all(fragment in said for fragment in fragments), said


@pytest.mark.parametrize(
    "header",
    [
        "Date,M_Open,M_Close,N-O_Open,N-O_Close",
        "Date,Open_M,Close_M,Open_N-O,Close_N-O",
        "Date,M Open,M Close,N-O Open,N-O Close",
        """Date,"('Open', 'M')","('Close', 'M')","('Open', 'N-O')","('Close', 'N-O')\"""",
        "Date,Close M,Adj Close M,Close N-O,Adj Close N-O",
    ],
)
def test_titles_of_field_and_symbol(read, header):
    table = read(header, "2023-05-04,1,7.5,2,81", "2023-05-05,1,7.25,2,82")
    assert table.layout == "flat"
    assert prices_of(table) == {"M": [7.5, 7.25], "N-O": [81.0, 82.0]}


@pytest.mark.parametrize(
    "lines",
    [
        ["Unnamed: 0,date,P,Q", "0,2023-05-04,7,8", "1,2023-05-05,9,10"],
        [",date,P,Q", "0,2023-05-04,7,8", "1,2023-05-05,9,10"],
        ["#,date,P,Q", "1,2023-05-04,7,8", "2,2023-05-05,9,10"],
        ["index,date,P,Q", "0,2023-05-05,9,10", "1,2023-05-04,7,8"],
        [",P,Q", "2023-05-04,7,8", "2023-05-05,9,10"],
        ["Exchange Date,P,Q", "2023-05-04,7,8", "2023-05-05,9,10"],
        ["sep=,", "date,P,Q", "2023-05-04,7,8", "2023-05-05,9,10"],
        ["sep=;", "date;P;Q", "2023-05-04;7;8", "2023-05-05;9;10"],
        ['"sep=|"', "date|P|Q", "2023-05-04|7|8", "2023-05-05|9|10"],
        ["date;P;Q;", "2023-05-04;7;8;", "2023-05-05;9;10;"],
        ["date\tP\tQ", "2023-05-04\t7\t8", "2023-05-05\t9\t10"],
        ["date,P,Volume,Q", "2023-05-04,7,99,8", "2023-05-05,9,99,10"],
        ["date,P,P Volume,Q,Q Change %", "2023-05-04,7,99,8,1%", "2023-05-05,9,99,10,2%"],
        ["date,P,Dividends,Stock Splits,Q", "2023-05-04,7,0,0,8", "2023-05-05,9,0,0,10"],
    ],
    ids=lambda lines: lines[0],
)
def test_columns_that_are_not_prices_are_left_out(read, lines):
    table = read(*lines)
    assert table.layout == "wide"
    assert prices_of(table) == {"P": [7.0, 9.0], "Q": [8.0, 10.0]}


@pytest.mark.parametrize("header", ["date,P Close,Q Close", "date,Close_P,Close_Q"])
def test_word_that_all_titles_have_is_stripped(read, header):
    assert prices_of(read(header, "2023-05-04,7.5,81")) == {"P": [7.5], "Q": [81.0]}


def test_titles_without_closes_are_refused(read):
    said = refused(read, "date,P Open,Q Open", "2023-05-04,7.5,81")
    assert "layout flat" in said and "no title has the field Close" in said


def test_bars_under_unknown_titles_are_refused(read):
    steps = np.random.default_rng(3).normal(0, 0.01, (30, 20)).cumsum().reshape(30, 20)
    walk = 100 * np.exp(steps)
    bars = np.column_stack([walk[:, 0], walk.max(1), walk.min(1), walk[:, -1]])
    rows = [
        f"2023-05-{at + 1:02},{','.join(map(str, bar))},{9000 + at}" for at, bar in enumerate(bars)
    ]
    said = refused(read, "date,alpha,beta1,gamma,delta,epsilon", *rows)
    assert "highs, lows, opens and closes" in said and "layout wide" in said
    assert len(read("date,alpha,beta1,gamma,delta,epsilon", *rows, layout="wide").symbols) == 5


def test_assets_at_similar_prices_are_not_taken_for_bars():
    rng = np.random.default_rng(4)
    for _ in range(50):
        closes = 100 * np.exp(rng.normal(0, 0.01, (60, 6)).cumsum(axis=0))
        assert find_bars(closes) is None


def test_tickers_that_are_also_titles_are_assets(read):
    assert read("date,LOW,HD,OPEN", "2023-05-04,1,2,3").symbols == ["LOW", "HD", "OPEN"]
    assert read("date,HD,ADJ", "2023-05-04,2,3").symbols == ["HD", "ADJ"]
    assert read("date,MAX,MIN,RATE,HD", "2023-05-04,1,2,3,4").symbols == [
        "MAX",
        "MIN",
        "RATE",
        "HD",
    ]


def test_currency_in_a_title_is_not_a_symbol(read):
    assert prices_of(read("Date,Open USD,Close USD", "2023-05-04,1,2")) == {"XYZ": [2.0]}


@pytest.mark.parametrize(
    "header", ["date,P,Close", "date,P,High,Low", "date,Open", "date,P,P High"]
)
def test_fields_among_assets_are_refused(read, header):
    row = ",".join(["2023-05-04", "1", "2", "3"][: header.count(",") + 1])
    said = refused(read, header, row)
    assert "(layout ohlcv)" in said and "(layout wide)" in said
    assert len(read(header, row, layout="wide").symbols) == header.count(",")


def test_other_fields_decide_on_the_format_of_closes(read):
    table = read("Date,Open,Close", '2023-05-04,"1.230,5",1.234', '2023-05-05,"985,5",1.240')
    assert prices_of(table) == {"XYZ": [1234.0, 1240.0]}


@pytest.mark.parametrize("cell", ["null", "NaN", "N/A", "#N/A", "-", "None", ".", "", " "])
def test_words_for_missing_prices_are_blank(read, cell):
    table = read("date,P,Q", f"2023-05-04,{cell},5.5", "2023-05-05,7.5,6")
    assert prices_of(table) == {"P": [7.5], "Q": [5.5, 6.0]}


NUMBERS = [
    ("date;P;Q", ["1234,56", "7,5"], [1234.56, 7.5]),
    ("date;P;Q", ["1.234,56", "7,5"], [1234.56, 7.5]),
    ("date;P;Q", ["1.234", "7,5"], [1234.0, 7.5]),
    ("date;P;Q", ["1.234", "7.5"], [1.234, 7.5]),
    ("date;P;Q", ["1.234.567", "985"], [1234567.0, 985.0]),
    ("date;P;Q", ["1.2345", "1.234"], [1.2345, 1.234]),
    ("date;P;Q", ["0.123", "1.234"], [0.123, 1.234]),
    ("date;P;Q", ["1234,567", "7,125"], [1234.567, 7.125]),
    ("date;P;Q", ["1 234,56", "7,5"], [1234.56, 7.5]),
    ("date;P;Q", ["1\u202f234,56", "7,5"], [1234.56, 7.5]),
    ("date;P;Q", ["1'234.56", "7.5"], [1234.56, 7.5]),
    ("date;P;Q", ["1.234,56 €", "7,5 €"], [1234.56, 7.5]),
    ("date;P;Q", ["EUR 1.234,56", "EUR 7,5"], [1234.56, 7.5]),
    ("date;P;Q", ["1,5E3", "7,5"], [1500.0, 7.5]),
    ("date;P;Q", ["12", "7"], [12.0, 7.0]),
    ("date,P,Q", ['"1,234.56"', "7.5"], [1234.56, 7.5]),
    ("date,P,Q", ['"1,234"', "7.5"], [1234.0, 7.5]),
    ("date,P,Q", ['"1,23,456.50"', '"98,700.00"'], [123456.5, 98700.0]),
    ("date,P,Q", ['"1,5"', '"1,234"'], [1.5, 1.234]),
    ("date,P,Q", ["$1234.56", "$7.5"], [1234.56, 7.5]),
    ("date,P,Q", ["125.674", "9.125"], [125.674, 9.125]),
]


@pytest.mark.parametrize(("header", "cells", "found"), NUMBERS)
def test_numbers_are_read_in_the_format_of_the_whole_file(read, header, cells, found):
    table = read(header, header[4].join(["2023-05-04", *cells]))
    assert table.closes[0].tolist() == found


UNCLEAR = [
    (["date;P", "2023-05-04;1.234", "2023-05-05;1.240"], "'1.234' may be read", "decimal=point"),
    (["date;P", "2023-05-04;1,234", "2023-05-05;985"], "'1,234' may be read", "decimal=comma"),
    (["date,P", '2023-05-04,"1,234"', '2023-05-05,"2,240"'], "line 2", "decimal=comma"),
    (["date,P", "04.05.2023,1.234", "05.05.2023,1.240"], "'1.234' may be read", "decimal=point"),
    (["date;P;Q", "2023-05-04;1,5;2.5"], "'1,5' has a decimal comma", "in one way"),
    (["date;P;Q", "2023-05-04;1.234.567;2.5"], "thousands separated by a point", "in one way"),
    (["date;P;Q", "2023-05-04;$1,5;€2,5"], "prices are in $ and in €", "one currency"),
    (["date,P", "2023-05-04,5.5%"], "'5.5%' is not a price but a percentage", "remove the column"),
    (["date,P", "04/05/2023,1", "05/05/2023,2"], "'04/05/2023' may have the day", "dates=dmy"),
    (["date,P", "13/05/2023,1", "05/14/2023,2"], "'05/14/2023' has the month first", "YYYY-MM-DD"),
    (["date,P", "2023-05-04,1", "05.05.2023,2"], "'05.05.2023' is not a date", "YYYY-MM-DD"),
    (["date,P", "13.05.2023,1", "05/14/2023,2"], "the dates before it are DD.MM.YYYY", "line 3"),
    (["date,P", "45050,1"], "'45050' is not a date", "day number of a spreadsheet"),
    (["date,P", "1683158400,1"], "'1683158400' is not a date", "seconds since 1970"),
    (["date,P", "04.05.23,1"], "'04.05.23' is not a date", "YYYY-MM-DD"),
    (["date,P", "31.02.2023,1"], "'31.02.2023' is not a day of the calendar", "correct it"),
    (["date,P", "2023-05-04 23:00Z,1"], "midnight of the next day", "YYYY-MM-DD"),
    (["My fund", "", "date,P", "2023-05-04,1"], "line 3 looks like a header", "above it"),
]


@pytest.mark.parametrize(("lines", "found", "remedy"), UNCLEAR)
def test_what_may_be_read_in_two_ways_is_refused(read, lines, found, remedy):
    said = refused(read, *lines)
    assert found in said and remedy in said, said
    assert "\n" not in said


def test_stated_formats_decide(read):
    thousands = ("date;P", "2023-05-04;1.234", "2023-05-05;1.240")
    assert prices_of(read(*thousands, layout="auto:decimal=comma")) == {"P": [1234.0, 1240.0]}
    assert prices_of(read(*thousands, layout=":decimal=point")) == {"P": [1.234, 1.24]}
    early = ("date,P", "04/05/2023,1", "05/05/2023,2")
    assert days_of(read(*early, layout="wide:dates=dmy")) == ["2023-05-04", "2023-05-05"]
    assert days_of(read(*early, layout="wide:dates=mdy")) == ["2023-04-05", "2023-05-05"]
    said = refused(read, "date,P", "13/05/2023,1", layout="auto:dates=mdy")
    assert "'13/05/2023' is not MM/DD/YYYY" in said


@pytest.mark.parametrize(
    "cells",
    [
        ["04.05.2023", "05.05.2023"],
        ["4.5.2023", "5.5.2023"],
        ["2023/05/04", "2023/5/5"],
        ["2023.05.04", "2023.05.05"],
        ["20230504", "20230505"],
        ["05/04/2023", "05/05/2023", "05/31/2023"],
        ["04-05-2023", "05-05-2023", "31-05-2023"],
        ['"May 04, 2023"', '"May 5, 2023"'],
        ["4 May 2023", "5 May 2023"],
        ["04-May-2023", "05-May-2023"],
        ['"May 4, 2023"', '"May 5, 2023"'],
        ["2023-05-04T00:00:00.000000000", "2023-05-05T00:00:00.000000000"],
        ["2023-05-04 04:00:00+00:00", "2023-05-05 04:00:00+00:00"],
        ["2023-05-04 00:00:00-04:00", "2023-05-05 00:00:00-04:00"],
        ["2023-05-04 16:00:00-04:00", "2023-05-05 16:00:00-04:00"],
        ["2023-05-04T20:00:00Z", "2023-05-05T20:00:00Z"],
        ["2023-05-03T15:00:00Z", "2023-05-04T15:00:00Z", "2023-05-07T15:00:00Z"],
        ["2023-05-03 22:00:00+00:00", "2023-05-04 22:00:00+00:00", "2023-05-07 22:00:00+00:00"],
    ],
    ids=lambda cells: cells[0],
)
def test_dates_are_read_in_the_format_of_the_whole_column(read, cells):
    table = read("Date,P", *(f"{cell},7" for cell in cells))
    assert days_of(table)[:2] == ["2023-05-04", "2023-05-05"]


def test_rows_that_are_newest_first_are_turned_round(read):
    table = read("date,P,Q", "2023-05-05,3,4", "2023-05-04,1,2")
    assert (days_of(table), table.closes.tolist()) == (
        ["2023-05-04", "2023-05-05"],
        [[1, 2], [3, 4]],
    )
    assert "The rows are newest first." in table.notes


def test_plain_file_needs_no_notes(read):
    assert read("date,P", "2023-05-04,1.5", "2023-05-05,2.5").notes == ()


def test_yields_are_apart_from_prices(read):
    table = read(
        "date,P,^IRX,RF", "2023-05-04,9,5.1,0.0", "2023-05-05,9.5,,-0.1", layout=":yields=RF"
    )
    assert table.symbols == ["P"]
    assert table.yields["^IRX"][0] == 5.1 and np.isnan(table.yields["^IRX"][1])
    assert table.yields["RF"].tolist() == [0.0, -0.1]
    assert read("date,P,TB3MS", "2023-05-04,9,98.5").symbols == ["P", "TB3MS"]  # not a yield
    rows = ("2023-05-04,P,9", "2023-05-04,DTB3,0.0", "2023-05-05,P,9")
    assert read("date,symbol,close", *rows).yields["DTB3"][0] == 0.0
    changes = [f"2023-05-{day:02},{(-1) ** day * 0.01:.2f}" for day in range(1, 13)]
    assert "not changes or returns" in refused(read, "date,P", *changes)


@pytest.mark.parametrize("layout", ["yfinance", "long", "ohlcv", "flat"])
def test_another_layout_than_the_stated_one_is_refused_by_name(read, layout):
    said = refused(read, "date,P,Q", "2023-05-04,1,2", "2023-05-05,1,2", layout=layout)
    assert f"does not have the layout {layout}" in said


@pytest.mark.parametrize(
    ("layout", "found"),
    [
        ("tall", "unknown layout 'tall'; choose auto or one of yfinance, long, ohlcv, flat, wide"),
        ("wide:decimal=.", "decimal=. is unknown; choose point or comma"),
        ("wide:dates=ymd", "dates=ymd is unknown; choose dmy or mdy"),
        ("wide:colour=red", "unknown option 'colour=red'"),
        ("wide:symbol", "unknown option 'symbol'"),
    ],
)
def test_unknown_layouts_and_options_are_rejected(layout, found):
    with pytest.raises(InvalidRequest, match=found.replace(".", r"\.")) as error:
        LayoutOptions.parse(layout, tuple(LAYOUTS))
    assert error.value.field == "layout"


def test_folder_of_one_file_for_each_asset(tmp_path):
    (tmp_path / "A.csv").write_text("Date,Open,Close\n2023-05-04,1,5\n2023-05-05,1,6\n")
    (tmp_path / "B.csv").write_text("Date,Close,Volume\n2023-05-05,7,9\n2023-05-08,8,9\n")
    (tmp_path / "^IRX.csv").write_text("Date,Close\n2023-05-04,5.1\n2023-05-05,5.2\n")
    (tmp_path / "notes.md").write_text("not prices")
    (tmp_path / "README.txt").write_text("The date of these files, among others.")
    table = read_path(tmp_path, LayoutOptions())
    assert "Not price files, and left out: README.txt, notes.md." in table.notes
    assert table.symbols == ["A", "B"]
    assert days_of(table) == ["2023-05-04", "2023-05-05", "2023-05-08"]
    assert np.array_equal(table.closes, [[5, np.nan], [6, 7], [np.nan, 8]], equal_nan=True)
    assert np.array_equal(table.yields["^IRX"], [5.1, 5.2, np.nan], equal_nan=True)
    (tmp_path / "C.csv").write_text("date,B\n2023-05-05,7\n")
    with pytest.raises(InvalidRequest, match=r"B\.csv and C\.csv both have prices of B"):
        read_path(tmp_path, LayoutOptions())
    (tmp_path / "C.csv").write_text("date,C\n2023-05-05,x\n")
    with pytest.raises(InvalidRequest, match=r"C\.csv, line 2, column 2 \('C'\): 'x'"):
        read_path(tmp_path, LayoutOptions())


def test_file_of_a_folder_without_rows_is_an_asset_without_prices(tmp_path):
    (tmp_path / "LIVE.csv").write_text("Date,Close\n2024-01-02,10\n2024-01-03,11\n")
    (tmp_path / "GONE.csv").write_text("Date,Open,High,Low,Close,Adj Close,Volume\n")
    table = read_path(tmp_path, LayoutOptions())
    assert prices_of(table) == {"GONE": [], "LIVE": [10, 11]}
    assert "GONE.csv: No rows of prices." in table.notes


def test_folder_may_mix_layouts(tmp_path):
    (tmp_path / "p.us.txt").write_text(
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
        "P.US,D,20230504,000000,1,1,1,7.5,9,0\n"
    )
    (tmp_path / "q.csv").write_text("Date;Close\n04.05.2023;8,25\n")
    table = read_path(tmp_path, LayoutOptions())
    assert prices_of(table) == {"P.US": [7.5], "q": [8.25]}
    assert "q.csv: The decimal mark is a comma." in table.notes


def test_rows_that_cannot_be_prices_leave_the_others(read):
    rows = ("2023-05-04,P,9", "2023-05-04,Q,-37.63", "2023-05-05,P,9.5", "2023-05-05,Q,12")
    table = read("date,symbol,close", *rows)
    assert prices_of(table) == {"P": [9.0, 9.5], "Q": [12.0]}
    assert "Q has 1 value that cannot be a price, '-37.63' on line 3" in table.notes[0]
