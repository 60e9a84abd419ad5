"""Files in Parquet and in the format of Stooq: the same prices as in CSV."""

from __future__ import annotations

import sys
from datetime import date, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from rebalancer.adapters.market_data.csv_bars import CsvBars
from rebalancer.adapters.market_data.csv_files import CsvPrices
from rebalancer.domain.errors import InvalidRequest, Unavailable

DAYS = [date(2024, 1, 2), date(2024, 1, 3)]
CLOSES = [0.1 + 0.2, 1e-7]
STOOQ = """<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>
AAPL.US,D,20240102,000000,187.15,188.44,183.89,185.64,82488700,0
AAPL.US,D,20240103,000000,184.22,185.88,183.43,184.25,58414500,0
"""


def stored(tmp_path, table, name="file.parquet"):
    path = tmp_path / name
    parquet.write_table(table if isinstance(table, pa.Table) else pa.table(table), path)
    return path


def bars_of(path):
    rows = CsvBars(path).rows()
    return rows.symbols, rows.days.tolist(), rows.close.tolist()


@pytest.mark.parametrize(
    "days",
    [
        pa.array(DAYS),
        pa.array([str(day) for day in DAYS]),
        pa.array([datetime(day.year, day.month, day.day) for day in DAYS], pa.timestamp("ns")),
        pa.array(
            [datetime(day.year, day.month, day.day) for day in DAYS], pa.timestamp("ms", "UTC")
        ),
    ],
    ids=["days", "texts", "times", "times in UTC"],
)
def test_bars_have_every_digit(tmp_path, days):
    symbols = pa.array(["BRK B", "Ä,B"]).dictionary_encode()
    path = stored(tmp_path, {"date": days, "symbol": symbols, "close": CLOSES})
    assert bars_of(path) == (("BRK B", "Ä,B"), DAYS, CLOSES)


def test_missing_figures_are_missing(tmp_path):
    table = {"date": DAYS, "symbol": ["A", "A"], "close": [1.0, 2.0], "volume": [None, 7]}
    rows = CsvBars(stored(tmp_path, table)).rows()
    assert np.isnan(rows.volume[0]) and rows.volume[1] == 7
    assert np.isnan(rows.open).all()


@pytest.mark.parametrize("index", [None, "Date"])
def test_table_of_pandas_is_read_with_its_index(tmp_path, index):
    days = pd.DatetimeIndex(DAYS, name=index)
    frame = pd.DataFrame({"SPY": [0.1 + 0.2, 0.31], "AGG": [100.0, np.nan]}, index=days)
    frame.to_parquet(tmp_path / "prices.parquet")
    history = CsvPrices(tmp_path / "prices.parquet").read()
    assert history.symbols == ("SPY", "AGG")
    assert history.dates.tolist() == DAYS
    assert history.closes[:, 0].tolist() == [0.1 + 0.2, 0.31]


def test_folder_may_have_files_of_both_kinds(tmp_path):
    stored(tmp_path, {"Date": DAYS, "Close": [1.0, 2.0]}, "SPY.parquet")
    (tmp_path / "AGG.csv").write_text("Date,Close\n2024-01-02,100\n")
    assert set(CsvPrices(tmp_path).read().symbols) == {"SPY", "AGG"}


def test_file_of_another_kind_is_rejected(tmp_path):
    path = tmp_path / "file.parquet"
    path.write_text("date,symbol,close\n")
    for read in (CsvBars(path).rows, CsvPrices(path).read):
        with pytest.raises(InvalidRequest, match="not Parquet, or damaged"):
            read()
    with pytest.raises(InvalidRequest, match="does not exist"):
        CsvBars(tmp_path / "none.parquet").rows()


def test_column_of_lists_is_rejected_with_its_name(tmp_path):
    path = stored(tmp_path, {"date": DAYS, "symbol": ["A", "A"], "tags": [[1], [2]]})
    with pytest.raises(InvalidRequest, match="column tags: values of type list"):
        CsvBars(path).rows()


def test_missing_package_is_named(tmp_path, monkeypatch):
    path = stored(tmp_path, {"date": DAYS, "symbol": ["A", "A"], "close": CLOSES})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Unavailable, match=r"rebalancer\[parquet\]"):
        CsvBars(path).rows()


def test_files_of_stooq_are_bars_and_prices(tmp_path):
    path = tmp_path / "aapl.us.txt"
    path.write_text(STOOQ)
    assert bars_of(path) == (("AAPL.US",), DAYS, [185.64, 184.25])
    assert CsvBars(path).rows().volume.tolist() == [82488700, 58414500]
    assert CsvPrices(path).read().closes[:, 0].tolist() == [185.64, 184.25]


def test_intraday_files_of_stooq_are_rejected(tmp_path):
    path = tmp_path / "aapl.us.txt"
    path.write_text(STOOQ.replace(",D,", ",60,"))
    with pytest.raises(InvalidRequest, match="line 2: the period '60'"):
        CsvBars(path).rows()
