"""Numbers, days and rows of CSV files."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.adapters.statements.csv_amounts import simple_ratio
from rebalancer.adapters.statements.csv_formats import (
    COMMA,
    COMMON_DAYS,
    POINT,
    DayFormat,
    decide_days,
    decide_numbers,
)
from rebalancer.adapters.statements.csv_table import decode, split_rows
from rebalancer.domain.errors import InvalidRequest

MINUS, NARROW = "\u2212", "\u202f"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1234.5", "1234.5"),
        ("1,234.50", "1234.50"),
        ("1 234.50", "1234.50"),
        (f"1{NARROW}234.50", "1234.50"),
        ("1'234.50", "1234.50"),
        ("-$1,234.50", "-1234.50"),
        ("$-1,234.50", "-1234.50"),
        ("($1,234.50)", "-1234.50"),
        ("(5)", "-5"),
        ("12.50-", "-12.50"),
        (f"{MINUS}12.50", "-12.50"),
        ("+3", "3"),
        ("\u20ac5", "5"),
        ("USD 50.00", "50.00"),
        ("50.00 EUR", "50.00"),
        ("US$7", "7"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1.2E-7", "0.00000012"),
    ],
)
def test_number_with_a_decimal_point(text, number):
    assert POINT.parse(text) == Decimal(number)


@pytest.mark.parametrize(
    ("text", "number"), [("1.234,50", "1234.50"), ("0,039", "0.039"), ("1.234.567", "1234567")]
)
def test_number_with_a_decimal_comma(text, number):
    assert COMMA.parse(text) == Decimal(number)


@pytest.mark.parametrize(
    "text",
    [
        *("abc", "1.2.3", "1,23,456.0", "12,34", "--5", "(5", "5)", "-5-", "1e", "0x10", "\u0661"),
        *("1_000", "NaN", "Infinity", "5 5", "$", "9" * 65, "1,234,56.00", "$$5", "(-5)"),
    ],
)
def test_text_that_is_not_a_number_is_refused(text):
    with pytest.raises(InvalidRequest) as error:
        POINT.parse(text)
    assert error.value.code == "unreadable_number"


def test_huge_numbers_are_refused():
    for text in ("1e15", "9" * 20, "1e999"):
        with pytest.raises(InvalidRequest) as error:
            POINT.parse(text)
        assert error.value.code == "number_out_of_range"


@pytest.mark.parametrize("text", ["", " ", "-", "--", "n/a", "Not available"])
def test_blank_cells_have_no_number(text):
    assert POINT.parse(text) is None


@given(st.decimals(-(10**9), 10**9, places=2))
def test_written_numbers_are_read_back(number):
    english = f"{number:,.2f}"
    german = english.translate(str.maketrans(",.", ".,"))
    assert POINT.parse(english) == COMMA.parse(german) == number


@given(st.lists(st.decimals(-(10**9), 10**9, places=2), min_size=1))
def test_file_shows_its_decimal_mark(numbers):
    english = [(line, f"{one:,.2f}") for line, one in enumerate(numbers, 2)]
    german = [(line, text.translate(str.maketrans(",.", ".,"))) for line, text in english]
    assert decide_numbers(english) == POINT
    assert decide_numbers(german) == COMMA


def test_three_digits_after_the_only_mark_are_ambiguous():
    with pytest.raises(InvalidRequest) as error:
        decide_numbers([(2, "12"), (7, "1,234")])
    assert error.value.code == "ambiguous_numbers" and "line 7" in error.value.message
    assert decide_numbers([(2, "1,234"), (3, "0,234")]) == COMMA
    assert decide_numbers([(2, "1,234"), (3, "1,234,567")]) == POINT
    assert decide_numbers([(2, "12")]) == POINT


@given(st.dates(date(1970, 1, 1), date(2090, 12, 31)), st.sampled_from(COMMON_DAYS))
def test_written_days_are_read_back(day, one):
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    text = one.pattern.replace("YYYY", f"{day:%Y}").replace("YY", f"{day:%y}")
    text = text.replace("MMM", months[day.month - 1]).replace("MM", f"{day:%m}")
    text = text.replace("DD", f"{day:%d}")
    expected = day if "YYYY" in one.pattern else day.replace(year=2000 + day.year % 100)
    assert one.parse(text) == expected
    assert one.parse(f"{text} 13:45:01") == expected


@given(st.lists(st.dates(date(2000, 1, 1), date(2040, 12, 31)), min_size=1))
def test_days_in_european_order_are_never_read_as_american(days):
    cells = [(line, f"{day:%d/%m/%Y}") for line, day in enumerate(days, 2)]
    try:
        found = decide_days(cells)
    except InvalidRequest as error:
        assert error.code == "ambiguous_dates"
        assert all(day.day <= 12 for day in days)
    else:
        assert [found.parse(text) for _, text in cells] == days


@pytest.mark.parametrize("text", ["2024-02-30", "2024-1", "0001-01-01", "2024-01-01x", "24-01-01"])
def test_text_that_is_not_a_day_is_refused(text):
    with pytest.raises(InvalidRequest) as error:
        DayFormat("YYYY-MM-DD").parse(text)
    assert error.value.code == "unreadable_date"
    assert "write it as YYYY-MM-DD" in error.value.message


@given(
    st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)),
        max_size=8,
    )
)
def test_quoted_rows_are_split_as_written(rows):
    text = "".join(
        ",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in rows
    )
    found, remarks = split_rows(text, ",")
    expected = [tuple(cell.strip() for cell in row) for row in rows if any(map(str.strip, row))]
    assert [row.cells for row in found] == expected
    assert remarks == []


def test_rows_know_their_lines_after_line_breaks_in_cells():
    rows, _ = split_rows('a,b\n"1\n2",x\r\n\r\n3,y\n', ",")
    assert [(row.line, row.cells[-1]) for row in rows] == [(1, "b"), (2, "x"), (5, "y")]


def test_unclosed_quote_costs_one_row():
    rows, remarks = split_rows('a,b\n"1,x\n2,y\n3,z\n', ",")
    assert [row.cells for row in rows] == [("a", "b"), ("2", "y"), ("3", "z")]
    assert [(one.line, one.code, one.is_error) for one in remarks] == [(2, "malformed_row", True)]


def test_file_of_unclosed_quotes_is_refused():
    with pytest.raises(InvalidRequest) as error:
        split_rows('"a,b\n' * 999, ",")
    assert error.value.code == "malformed_csv"


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04", b"%PDF-1.7", b"\x1f\x8b\x08", b"a\0b", b"\x81\x90"]
)
def test_files_that_are_not_text_are_refused(data):
    with pytest.raises(InvalidRequest) as error:
        decode(data)
    assert error.value.code == "unreadable_file"
    assert error.value.message.endswith("export the statement as CSV")


def test_text_that_ends_within_a_character_has_a_remark():
    found = decode("abc,\u00e9".encode()[:-1])
    assert found.text == "abc,"
    assert [one.code for one in found.remarks] == ["truncated_file"]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\ufffd\ufeff"), min_size=8))
def test_encodings_with_marks_give_the_text(text):
    for encoding in ("utf-8-sig", "utf-16"):
        assert decode(text.encode(encoding)).text == text


@pytest.mark.parametrize(
    ("before", "after", "ratio"),
    [
        ("1", "10", "10"),
        ("0.08215962", "0.24647886", "3"),
        ("160", "5", "0.03125"),
        ("7", "10.5", "1.5"),
        ("3", "4", "1.333333333333"),
    ],
)
def test_units_before_and_after_give_the_ratio_of_a_split(before, after, ratio):
    assert simple_ratio(Decimal(before), Decimal(after)) == Decimal(ratio)


@pytest.mark.parametrize(
    ("before", "after"), [("0", "5"), ("5", "5"), ("100", "137.31"), ("5", "0")]
)
def test_units_without_a_simple_ratio_give_none(before, after):
    assert simple_ratio(Decimal(before), Decimal(after)) is None
