"""Price files as people have them: odd ones that can be read, and bad ones that cannot.

A refusal names file, line and column, what was found, and the remedy.
"""

import gzip
import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from rebalancer.adapters.market_data.csv_files import CsvPrices
from rebalancer.domain.errors import InvalidRequest
from tests.builders import as_csv, prices

PLAIN = "date,A,B\n2024-01-02,10,20\n2024-01-03,11,21\n"
CLOSES = [[10.0, 20.0], [11.0, 21.0]]


def written(folder, content, name="prices.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return CsvPrices(path)


def column(folder, *cells):
    """Read the closes of A from `cells`; B has no gaps."""
    days = prices(1, len(cells), start=date(2024, 1, 2)).dates
    rows = [f"{day},{cell},5" for day, cell in zip(days, cells, strict=True)]
    return written(folder, "\n".join(["date,A,B", *rows]))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(PLAIN, id="plain"),
        pytest.param(PLAIN.strip(), id="no newline at the end"),
        pytest.param(PLAIN.replace("\n", "\r\n"), id="Windows lines"),
        pytest.param(PLAIN.replace("\n", "\r"), id="old Mac lines"),
        pytest.param(b"\xef\xbb\xbf" + PLAIN.encode(), id="byte-order mark"),
        pytest.param(PLAIN.encode("utf-16"), id="UTF-16 with a byte-order mark"),
        pytest.param(PLAIN + "\n\n  \n,,\n", id="blank lines at the end"),
        pytest.param(PLAIN.replace(",", " , "), id="spaces"),
        pytest.param(PLAIN.replace(",", "\t,\u00a0"), id="tabs and hard spaces"),
        pytest.param(PLAIN.replace("date", "DATE"), id="DATE"),
        pytest.param("A,Date,B\n10,2024-01-02,20\n11,2024-01-03,21\n", id="date in the middle"),
        pytest.param("A,B,date\n10,20,2024-01-02\n11,21,2024-01-03\n", id="date at the end"),
        pytest.param(
            '"date","A","B"\n"2024-01-02","10","20"\n"2024-01-03", "11","21"\n', id="quotes"
        ),
        pytest.param("\n" + PLAIN.replace("\n", "\n\n"), id="blank lines before and between rows"),
        pytest.param(re.sub(r"(-\d\d),", r"\1 00:00:00,", PLAIN), id="midnight"),
        pytest.param(re.sub(r"(-\d\d),", r"\1T00:00,", PLAIN), id="T midnight"),
        pytest.param(re.sub(r"(-\d\d),", r"\1 00:00:00-05:00,", PLAIN), id="midnight with offset"),
        pytest.param(re.sub(r"(-\d\d),", r"\1T00:00:00.000Z,", PLAIN), id="midnight UTC"),
        pytest.param(PLAIN.replace("10", "1.0e1").replace("11", "+11."), id="number formats"),
    ],
)
def test_odd_files_that_can_be_read(tmp_path, content):
    read = written(tmp_path, content).closes()
    assert read.symbols == ("A", "B")
    assert read.closes.tolist() == CLOSES
    assert [str(day) for day in read.dates] == ["2024-01-02", "2024-01-03"]


def test_gzip_is_recognised_by_the_file_name(tmp_path):
    assert written(tmp_path, gzip.compress(PLAIN.encode(), mtime=0), "p.csv.gz").symbols() == (
        "A",
        "B",
    )
    assert written(tmp_path, gzip.compress(PLAIN.encode(), mtime=0), "P.CSV.GZ").symbols() == (
        "A",
        "B",
    )


def test_path_may_be_text(tmp_path):
    written(tmp_path, PLAIN)
    assert CsvPrices(str(tmp_path / "prices.csv")).symbols() == ("A", "B")


def test_symbols_are_read_as_written(tmp_path):
    symbols = ("brk-b", "BRK-B", "^GSPC", "EURUSD=X", "Größe", "--risk-free")
    text = ",".join(("date", *symbols)) + "\n2024-01-02,1,2,3,4,5,6\n"
    assert written(tmp_path, text).symbols() == symbols


def test_closes_are_read_to_the_last_bit(tmp_path):
    history = prices(5, 50, seed=3)
    assert written(tmp_path, as_csv(history)).closes().digest == history.digest


def test_file_is_read_at_first_use_and_once(tmp_path):
    source = CsvPrices(tmp_path / "prices.csv")
    written(tmp_path, PLAIN)
    first = source.closes()
    (tmp_path / "prices.csv").unlink()
    assert source.closes().digest == first.digest


def test_columns_and_rows_can_be_left_out(tmp_path):
    path = written(tmp_path, PLAIN).path
    got = CsvPrices(path, without=("A",), since=date(2024, 1, 3)).closes()
    assert (got.symbols, got.closes.tolist()) == (("B",), [[21.0]])
    with pytest.raises(InvalidRequest, match=r"no prices since 2024-01-04.*earlier"):
        CsvPrices(path, since=date(2024, 1, 4)).closes()


def test_rows_before_the_first_close_are_nan(tmp_path):
    closes = column(tmp_path, "", " ", *[""] * 8, "7").closes(["A"]).closes[:, 0]
    assert np.isnan(closes[:10]).all()
    assert closes[10] == 7


@pytest.mark.parametrize("blank", ["", "  "])
def test_gap_of_nine_weekdays_repeats_the_last_close(tmp_path, blank):
    source = column(tmp_path, "7", *[blank] * 9, "8", blank, "9")
    assert source.closes(["A"]).closes[:, 0].tolist() == [7] * 10 + [8, 8, 9]


@pytest.mark.parametrize("after", [["8"], []], ids=["inside", "at the end"])
def test_asset_with_a_longer_gap_is_withheld_until_its_next_close(tmp_path, after):
    history = column(tmp_path, "", "7", *[""] * 12, *after).closes()
    assert history.until(13).withheld == {"A": "no close since 2024-01-03"}
    assert history.withheld == ({} if after else {"A": "no close since 2024-01-03"})
    assert history.until(13).closes[-1, 1] > 0


def test_rows_of_blank_cells_are_left_out(tmp_path):
    text = "date,A,B\n2024-01-02,1,2\n2024-01-03,,\n2024-01-04,3,4\n2024-01-05, ,\n2031-01-06,,\n"
    history = written(tmp_path, text).closes()
    assert history.dates.tolist() == [date(2024, 1, 2), date(2024, 1, 4)]
    assert history.closes.tolist() == [[1, 2], [3, 4]]


def test_blank_column_is_withheld(tmp_path):
    history = written(tmp_path, "date,A,B\n2024-01-02,1,\n2024-01-03,2,\n").closes()
    assert history.withheld == {"B": "no close yet"}


HUGE = "9" * 200_000

BAD = [
    # id, content, place and what was found, remedy
    ("empty", "", "prices.csv: the file is empty", "begin with a header"),
    ("blank", "\n \n,,\n", "prices.csv: the file is empty", "begin with a header"),
    ("only a mark", b"\xef\xbb\xbf", "prices.csv: the file is empty", "begin with a header"),
    ("header only", "date,A\n", "line 1: a header and no rows", "add at least one row"),
    ("no header", "2024-01-02,1\n2024-01-03,1\n", "'2024-01-02,1'", "add it"),
    ("no symbols", "date\n2024-01-02\n", "line 1: no symbols", "add a column"),
    ("unnamed", "date,A,\n2024-01-02,1,2\n", "line 1: column 3 has no name", "name it"),
    ("same name", "date,A,B, A\n2024-01-02,1,2,3\n", "columns 2 and 4 are both called 'A'", "keep"),
    ("two dates", "date,A,Date\n2024-01-02,1,2\n", "columns 1 and 3 are both called date", "keep"),
    (
        "short row",
        "date,A,B\n2024-01-02,1\n",
        "line 2: the cells end before column 3 ('B')",
        "one cell",
    ),
    ("long row", "date,A\n2024-01-02,1,5\n", "line 2: '5' is in column 3", "one cell"),
    ("comma in number", "date,A\n2024-01-02,1,234.5\n", "'234.5' is in column 3", "in quotes"),
    (
        "cut off",
        PLAIN + "2024-01-0",
        "line 4: the cells end before column 2 ('A')",
        "give each column",
    ),
    (
        "not in order",
        "date,A\n2024-01-02,1\n2024-01-04,1\n2024-01-03,1\n",
        "line 4, column 1 ('date'): the date 2024-01-03 comes after 2024-01-04",
        "oldest first",
    ),
    ("US date", "date,A\n01/02/2024,1\n", "line 2, column 1 ('date'): '01/02/2024'", "YYYY-MM-DD"),
    ("ISO week", "date,A\n2024-W01-2,1\n", "('date'): '2024-W01-2'", "YYYY-MM-DD"),
    ("short year", "date,A\n24-01-02,1\n", "line 2, column 1 ('date'): '24-01-02'", "YYYY-MM-DD"),
    ("Excel serial", "date,A\n45293,1\n", "line 2, column 1 ('date'): '45293'", "YYYY-MM-DD"),
    ("blank date", "date,A\n,1\n", "line 2, column 1 ('date'): ''", "YYYY-MM-DD"),
    ("Arabic digits", "date,A\n\u0662024-01-02,1\n", "line 2, column 1 ('date')", "YYYY-MM-DD"),
    ("no such day", "date,A\n2024-02-30,1\n", "'2024-02-30' is not a day", "correct it"),
    ("year nought", "date,A\n0000-01-01,1\n", "'0000-01-01' is not a day", "correct it"),
    (
        "day twice",
        "date,A\n2024-01-02,1\n2024-01-03,1\n2024-01-03,2\n",
        "line 4, column 1 ('date'): the date 2024-01-03 is also on line 3",
        "keep one row a day",
    ),
    (
        "day twice, apart",
        "date,A\n2024-01-02,1\n2024-01-03,1\n2024-01-02,2\n",
        "line 4, column 1 ('date'): the date 2024-01-02 is also on line 2",
        "keep one row a day",
    ),
    ("no price at all", "date,A,B\n2024-01-02,,\n2024-01-03,, \n", "not one price", "fill in"),
    ("unclosed quote", PLAIN + '2024-01-04,"12,22\n', "line 4: not CSV", "unclosed quote"),
    ("mark after quote", 'date,A\n2024-01-02,"1"2\n', "line 2: not CSV", "unclosed quote"),
    ("huge cell", f"date,A\n2024-01-02,1\n2024-01-03,{HUGE}\n", "line 3: not CSV", "not a table"),
    ("huge line", "x" * 200_000, "line 1: not CSV", "not a table"),
    ("wide row", "date,A\n2024-01-02" + ",1" * 100_000, "line 2: '1' is in column 3", "one cell"),
    ("Latin-1", b"date,caf\xe9\n2024-01-02,1\n", "line 1: not UTF-8 text", "UTF-8"),
    ("Latin-1 later", b"date,A\n2024-01-02,1\n2024-01-03,\xe9\n", "line 3: not UTF-8", "UTF-8"),
    (
        "secretly gzip",
        gzip.compress(PLAIN.encode(), mtime=0),
        "line 1: not UTF-8 text",
        "end in .gz",
    ),
    ("binary", b"PK\x03\x04\x00\x00", "has no column date", "add it"),
]


@pytest.mark.parametrize(
    ("content", "found", "remedy"), [pytest.param(*case[1:], id=case[0]) for case in BAD]
)
def test_malformed_file_is_rejected_with_place_and_remedy(tmp_path, content, found, remedy):
    with pytest.raises(InvalidRequest) as refused:
        written(tmp_path, content).closes()
    said = str(refused.value)
    assert said.startswith(f"prices: {tmp_path / 'prices.csv'}")
    assert found in said
    assert remedy in said
    assert refused.value.field == "prices"
    assert len(said) < 500 + len(str(tmp_path))
    assert "\n" not in said


@pytest.mark.parametrize(
    "cell",
    [
        *("-nan", "inf", "Infinity", "-inf", "1_000", "0x10", "10 00"),
        *("$5$", "5 of", "abc", "1-2", "e", "+"),
        *(
            "--5",
            "1e",
            "1.2.3",
            "\u0665",
            "5\u00b2",
            "\x00",
            "1\x002",
            "=A2*2",
            "True",
            "1j",
            '"5\n6"',
        ),
    ],
)
def test_cell_without_a_valid_price_is_rejected_with_its_place(tmp_path, cell):
    with pytest.raises(InvalidRequest) as refused:
        column(tmp_path, "5", cell, "6").symbols()
    said = str(refused.value)
    assert "prices.csv, line 3, column 2 ('A'): " in said
    assert "is not a price" in said
    assert "leave the cell blank" in said
    assert "\n" not in said


@pytest.mark.parametrize("cell", ["0", "0.0", "-0", "-5", "1e-999", "1e999", "-1e999"])
def test_number_that_cannot_be_a_price_counts_as_missing(tmp_path, cell):
    source = column(tmp_path, "5", cell, "7")
    history = source.closes()
    assert history.closes[:, history.column("A")].tolist() == [5, 5, 7]
    assert history.observed[:, history.column("A")].tolist() == [True, False, True]
    assert source.reading().notes == (
        f"A has 1 value that cannot be a price, '{cell}' on line 3: taken as missing.",
    )


def test_file_without_a_single_price_is_rejected_with_the_place(tmp_path):
    with pytest.raises(InvalidRequest, match=r"line 2, column 2 \('A'\): '0' is not a price"):
        written(tmp_path, "date,A\n2024-01-02,0\n2024-01-03,-1\n").closes()


def test_column_of_changes_leaves_the_prices_of_other_assets(tmp_path):
    rows = [f"2024-01-{day:02},{(-1) ** day * 0.01:.2f},{day}" for day in range(1, 13)]
    source = written(tmp_path, "\n".join(["date,A,B", *rows]))
    assert set(source.closes().withheld) == {"A"}
    assert source.closes().last_known("B") == (date(2024, 1, 12), 12.0)
    assert "A has no prices: 6 of its 12 values are 0 or less" in source.reading().notes[0]


def test_lines_are_counted_as_an_editor_counts_them(tmp_path):
    text = '"date","A\nB"\n2024-01-02,1\n2024-01-03,x\n'
    with pytest.raises(InvalidRequest, match="line 4, column 2"):
        written(tmp_path, text).closes()


def test_missing_file_is_rejected(tmp_path):
    with pytest.raises(
        InvalidRequest, match=r"none\.csv: this file does not exist; check the path"
    ):
        CsvPrices(tmp_path / "none.csv").closes()
    with pytest.raises(InvalidRequest, match="the folder has no price files; add one for each"):
        CsvPrices(tmp_path).closes()
    with pytest.raises(InvalidRequest, match=r"cannot be read .*check the path"):
        CsvPrices(tmp_path / ("x" * 300)).closes()
    with pytest.raises(InvalidRequest, match=r"cannot be read .*check the path"):
        CsvPrices("a\0b").closes()


def test_unreadable_file_is_rejected(tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    source = written(tmp_path, PLAIN)
    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(InvalidRequest, match=r"prices\.csv: not allowed to read .* permissions"):
        source.closes()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
        (PLAIN.encode(), "this is not gzip"),
        (
            gzip.compress(PLAIN.encode(), mtime=0)[:-12],
            "the gzip data are truncated or damaged; .* again",
        ),
        (
            gzip.compress(PLAIN.encode(), mtime=0)[:14] + b"\xff" * 30,
            "the gzip data are truncated or damaged; .* again",
        ),
    ],
    ids=["empty", "nothing inside", "plain", "truncated", "damaged"],
)
def test_damaged_gzip_is_rejected(tmp_path, content, said):
    with pytest.raises(InvalidRequest, match=rf"prices\.csv\.gz: {said}"):
        written(tmp_path, content, "prices.csv.gz").closes()


def test_error_is_raised_at_every_call(tmp_path):
    source = written(tmp_path, "date,A\n2024-01-02,x\n")
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="'x' is not a price"):
            source.closes()
