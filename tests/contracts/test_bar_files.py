"""Files of bars as traded: what is read, what is left out, and what is rejected with its place."""

import gzip
import re

import numpy as np
import pytest

from rebalancer.adapters.market_data import csv_bars
from rebalancer.adapters.market_data.csv_bars import CsvBars
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.bar_rows import SortedBars

HEADER = "date,symbol,open,high,low,close,volume\n"


def rows(tmp_path, text, name="bars.csv"):
    path = tmp_path / name
    content = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return CsvBars(path).rows()


def bars(tmp_path, text):
    return SortedBars.of(rows(tmp_path, text)).bars()


def test_rows_in_any_order_become_sorted_bars_as_traded(tmp_path):
    text = (
        HEADER + "2024-01-03,B,,,,20.5,\n2024-01-03,A,10,11,9,10.5,300\n"
        "2024-01-02,A,9,10,8,9.5,200\n2024-01-02,EURUSD,,,,1.1,\n"
    )
    by_symbol = {one.symbol: one for one in bars(tmp_path, text)}
    assert list(by_symbol) == ["B", "A", "EURUSD"]
    first = by_symbol["A"]
    assert first.days.astype(str).tolist() == ["2024-01-02", "2024-01-03"]
    assert (first.close.tolist(), first.volume.tolist()) == ([9.5, 10.5], [200, 300])
    assert not first.adjusted
    assert (by_symbol["B"].close.tolist(), by_symbol["B"].volume) == ([20.5], None)


def test_columns_in_any_order_and_case_with_others_between(tmp_path):
    text = (
        "Symbol;Exchange;Close;Date\nA;XNYS;10.5;2024-01-02\n\nA;XNYS;11;2024-01-03T00:00:00\n;;;\n"
    )
    (only,) = bars(tmp_path, text)
    assert (only.symbol, only.close.tolist(), only.open) == ("A", [10.5, 11.0], None)


def test_gzip_byte_order_mark_and_quotes_are_read(tmp_path):
    text = '\ufeffdate,symbol,close\r\n2024-01-02,"A, B",1e1\r\n'
    found = rows(tmp_path, text, "bars.csv.gz")
    assert (found.symbols, found.close.tolist()) == (("A, B",), [10.0])


def test_words_for_missing_figures_are_blank(tmp_path):
    found = rows(tmp_path, HEADER + "2024-01-02,A,null,N/A, ,10,-\n")
    assert np.isnan([found.open[0], found.high[0], found.low[0], found.volume[0]]).all()


def test_field_is_present_in_the_years_in_which_all_days_have_it(tmp_path):
    text = HEADER + (
        "2022-01-03,A,,,,1,10\n2022-01-04,A,,,,2,20\n2023-01-03,A,,,,3,\n2023-01-04,A,,,,4,5\n"
        "2024-01-03,A,,,,5,\n"
    )
    whole, rest = bars(tmp_path, text)
    assert (whole.volume.tolist(), len(whole)) == ([10, 20], 2)
    assert (rest.volume, rest.close.tolist()) == (None, [3, 4, 5])


def test_rows_of_one_day_with_one_close_count_once_and_others_not_at_all(tmp_path):
    text = HEADER + "2024-01-02,A,,,,10,\n2024-01-02,A,,,,10,5\n2024-01-03,A,,,,11,\n"
    text += "2024-01-03,A,,,,12,\n2024-01-04,A,,,,0,\n2024-01-05,A,,,,,7\n2024-01-08,A,,,,-3,\n"
    found = SortedBars.of(rows(tmp_path, text))
    assert [one.close.tolist() for one in found.bars()] == [[10]]
    counts = (found.repeated, found.conflicting, found.unusable, found.without_close)
    assert [int(mask.sum()) for mask in counts] == [1, 2, 2, 1]


def test_blocks_of_rows_make_one_table(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_bars, "_BLOCK", 2)
    days = [f"2024-01-{day:02}" for day in range(1, 8)]
    text = "date,symbol,close\n" + "".join(f"{day},A,{at + 1}\n" for at, day in enumerate(days))
    assert rows(tmp_path, text).close.tolist() == [1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(InvalidRequest, match=r"line 6, column 3 \('close'\): 'x' is not a number"):
        rows(tmp_path, text.replace(",5\n", ",x\n"))


@pytest.mark.parametrize(
    ("text", "place", "remedy"),
    [
        ("", "bars.csv: the file is empty", "header"),
        (HEADER, "line 1: a header and no rows", "add at least one row"),
        ("date,close\n2024-01-02,1\n", "has no column symbol", "add it"),
        ("date,symbol,close,Close\n2024-01-02,A,1,1\n", "two columns are called close", "keep one"),
        ("date,symbol,close\n02.01.2024,A,1\n", "line 2, column 1 ('date'): '02.01.2024'", "YYYY"),
        ("date,symbol,close\n2024-02-30,A,1\n", "line 2, column 1 ('date'): '2024-02-30'", "YYYY"),
        (
            "date,symbol,close\n2024-01-02,,1\n",
            "line 2, column 2 ('symbol'): no symbol",
            "give one",
        ),
        ("date,symbol,close\n2024-01-02,A,ten\n", "line 2, column 3 ('close'): 'ten'", "101.25"),
        ("date,symbol,close\n2024-01-02,A,nan\n2024-01-03,A,inf\n", "line 3", "plain number"),
        ("date,symbol,close\n2024-01-02,A,1_0\n", "line 2, column 3 ('close'): '1_0'", "plain"),
        ("date,symbol,close\n\n2024-01-02,A\n", "line 3: 2 cells, and the header has 3", "blank"),
        ("date,symbol,close\n2024-01-02,A,1,234\n", "line 2: 4 cells", "one cell"),
        (b"date,symbol,close\n2024-01-02,caf\xe9,1\n", "not UTF-8 text", "save it as CSV"),
    ],
)
def test_malformed_file_is_rejected_with_place_and_remedy(tmp_path, text, place, remedy):
    with pytest.raises(InvalidRequest, match=re.escape(place)) as refused:
        rows(tmp_path, text)
    assert remedy in str(refused.value)
    assert refused.value.field == "bars"


def test_missing_or_damaged_file_is_rejected(tmp_path):
    with pytest.raises(InvalidRequest, match="this file does not exist; check the path"):
        CsvBars(tmp_path / "no.csv").rows()
    (tmp_path / "bad.csv.gz").write_bytes(b"date,symbol,close\n")
    with pytest.raises(InvalidRequest, match="not gzip"):
        CsvBars(tmp_path / "bad.csv.gz").rows()
