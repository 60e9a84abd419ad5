from __future__ import annotations

import hashlib
import struct
from datetime import date, timedelta
from decimal import Decimal

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import GRACE, PriceHistory
from tests.builders import prices

DATES = [date(2024, 1, 4), date(2024, 1, 5), date(2024, 1, 8)]
CLOSES = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
NAN = float("nan")
laws = settings(deadline=None)


def of(closes: object = CLOSES, dates: object = DATES, symbols: object = ("A", "B")) -> object:
    return PriceHistory.of(symbols, dates, np.array(closes))  # type: ignore[arg-type]


@pytest.fixture
def history() -> PriceHistory:
    return PriceHistory.of(["A", "B"], DATES, CLOSES)


# Construction.


def test_history_has_symbols_dates_and_closes(history: PriceHistory) -> None:
    assert history.symbols == ("A", "B")
    assert history.dates.tolist() == DATES
    assert history.closes.tolist() == CLOSES.tolist()
    assert len(history) == 3
    assert history.last_date == date(2024, 1, 8)
    assert history.last_closes.tolist() == [3, 30]
    assert history.columns == {"A": 0, "B": 1}
    assert history.column("B") == 1


def test_history_is_a_read_only_copy() -> None:
    closes = CLOSES.copy()
    days = np.array(DATES, dtype="datetime64[D]")
    history = PriceHistory.of(["A", "B"], days, closes)
    closes[0, 0] = 99
    days[0] = np.datetime64("1999-01-01")
    assert history.closes[0, 0] == 1
    assert history.dates[0].item() == DATES[0]
    assert closes.flags.writeable and days.flags.writeable
    arrays = (
        history.closes,
        history.dates,
        history.until(1).closes,
        history.since(1).dates,
        history.select(["B"]).closes,
        history.last_closes,
        history.returns(2),
    )
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[-1]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        history.symbols = ("X", "Y")  # type: ignore[misc]


def test_one_row_of_one_asset_is_enough() -> None:
    history = PriceHistory.of(["A"], [date(2024, 1, 4)], np.array([[5.0]]))
    assert history.returns(10).shape == (0, 1)


def test_asset_may_begin_late_or_never() -> None:
    closes = [[1, NAN, NAN], [2, NAN, NAN], [3, 30, NAN]]
    history = PriceHistory.of(["A", "B", "C"], DATES, np.array(closes))
    assert np.isnan(history.closes).tolist() == np.isnan(closes).tolist()


@pytest.mark.parametrize(
    ("wrong", "code", "message"),
    [
        (
            {"symbols": (), "closes": np.zeros((3, 0))},
            "no_prices",
            "at least one symbol and one row",
        ),
        ({"dates": [], "closes": np.zeros((0, 2))}, "no_prices", "at least one symbol and one row"),
        ({"symbols": ("A",)}, "price_shape", r"\(3, 2\) does not fit 3 dates and 1 symbols"),
        ({"dates": DATES[:2]}, "price_shape", r"\(3, 2\) does not fit 2 dates and 2 symbols"),
        ({"closes": CLOSES.ravel()}, "price_shape", r"\(6,\) does not fit"),
        ({"symbols": ("A", "A")}, "duplicate_symbol", "symbol A has two columns"),
        (
            {"dates": [DATES[0], DATES[1], DATES[1]]},
            "dates_not_increasing",
            "2024-01-05 occurs twice",
        ),
        (
            {"dates": [DATES[1], DATES[0], DATES[2]]},
            "dates_not_increasing",
            "2024-01-04 comes after 2024-01-05; sort",
        ),
        ({"dates": [DATES[0], None, DATES[2]]}, "missing_date", "row 1 has no date"),
        ({"dates": [None], "closes": CLOSES[:1]}, "missing_date", "row 0 has no date"),
        (
            {"closes": [[1, 10], [2, 0], [3, 30]]},
            "invalid_price",
            "B on 2024-01-05: 0.0 is not a price",
        ),
        (
            {"closes": [[1, 10], [-2, 20], [3, 30]]},
            "invalid_price",
            "A on 2024-01-05: -2.0 is not a price",
        ),
        (
            {"closes": [[1, 10], [2, 20], [np.inf, 30]]},
            "invalid_price",
            "A on 2024-01-08: inf is not a price",
        ),
        (
            {"closes": [[1, -np.inf], [2, 20], [3, 30]]},
            "invalid_price",
            "B on 2024-01-04: -inf is not a price",
        ),
    ],
)
def test_invalid_prices_are_rejected(wrong: dict[str, object], code: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as error:
        of(**wrong)
    assert error.value.code == code


# The row of a day.


@pytest.mark.parametrize(
    ("day", "row"),
    [
        (None, 2),
        (date(2024, 1, 4), 0),
        (date(2024, 1, 5), 1),
        (date(2024, 1, 6), 1),  # Saturday: Friday's close
        (date(2024, 1, 7), 1),
        (date(2024, 1, 8), 2),
        (date(2024, 1, 9), 2),
        (date(2024, 1, 18), 2),  # Thursday: 8 weekdays after
        (date(2024, 1, 13), 2),
        (date(2024, 1, 19), 2),  # Friday: 9 weekdays after
    ],
)
def test_day_without_a_close_uses_the_last_close_before_it(
    history: PriceHistory, day: date | None, row: int
) -> None:
    assert history.row_as_of(day) == row


@pytest.mark.parametrize(
    ("day", "age"),
    [
        (date(2024, 1, 20), 10),
        (date(2024, 1, 23), 11),
        (date(2024, 2, 1), 18),
        (date(2100, 1, 1), 19824),
    ],
)
def test_day_more_than_nine_weekdays_after_the_last_close_is_rejected(
    history: PriceHistory, day: date, age: int
) -> None:
    with pytest.raises(
        InvalidRequest, match=rf"before {day} is of 2024-01-08, {age} weekdays earlier; at most 9"
    ):
        history.row_as_of(day)


def test_day_between_monthly_closes_uses_the_last_one() -> None:
    months = [date(2023, month, 28) for month in range(1, 13)]
    history = PriceHistory.of(["A"], months, np.ones((12, 1)))
    assert history.row_as_of(date(2024, 2, 10)) == 11  # 32 weekdays; the usual interval is 22
    with pytest.raises(InvalidRequest, match="at most 44"):
        history.row_as_of(date(2024, 3, 1))


@pytest.mark.parametrize("day", [date(2024, 1, 3), date(1900, 1, 1)])
def test_day_before_the_first_close_is_rejected(history: PriceHistory, day: date) -> None:
    with pytest.raises(InvalidRequest, match=f"{day} is before the first close on 2024-01-04"):
        history.row_as_of(day)


trading_days = st.dates(date(2024, 1, 1), date(2024, 3, 31)).filter(lambda day: day.weekday() < 5)


@given(
    st.lists(trading_days, min_size=1, max_size=20, unique=True),
    st.dates(date(2023, 12, 1), date(2024, 4, 30)),
)
@laws
def test_row_of_a_day_agrees_with_a_search_day_by_day(dates: list[date], day: date) -> None:
    dates.sort()
    history = PriceHistory.of(["A"], dates, np.ones((len(dates), 1)))
    earlier = [row for row, each in enumerate(dates) if each <= day]
    # Step back from the day, business day by business day.
    reach, back = day, 0
    intervals = np.diff([np.busday_count(dates[0], each) for each in dates[: len(earlier)]][-9:])
    grace = max(GRACE, int(2 * np.median(intervals))) if len(intervals) else GRACE
    while back < grace:
        reach -= timedelta(days=1)
        back += reach.weekday() < 5
    if earlier and dates[earlier[-1]] >= reach:
        assert history.row_as_of(day) == earlier[-1]
    else:
        with pytest.raises(InvalidRequest):
            history.row_as_of(day)


# Slices.


def test_until_and_since(history: PriceHistory) -> None:
    assert history.until(1).closes.tolist() == CLOSES[:2].tolist()
    assert history.until(1).last_date == DATES[1]
    assert history.until(2).digest == history.digest
    assert history.since(1).closes.tolist() == CLOSES[1:].tolist()
    assert history.since(1).dates.tolist() == DATES[1:]
    assert np.shares_memory(history.until(1).closes, history.closes)


def test_select(history: PriceHistory) -> None:
    swapped = history.select(["B", "A"])
    assert swapped.symbols == ("B", "A")
    assert swapped.closes.tolist() == CLOSES[:, ::-1].tolist()
    assert swapped.dates.tolist() == DATES
    assert swapped.columns == {"B": 0, "A": 1}
    assert history.select(["B"]).closes.tolist() == CLOSES[:, 1:].tolist()


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        (["A", "X", "Y", "X"], "^unknown symbols X, Y: no price data"),
        (["A", "A"], "each once"),
        ([], "at least one symbol"),
    ],
)
def test_invalid_selection_is_rejected(
    history: PriceHistory, symbols: list[str], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        history.select(symbols)


def test_unknown_symbol_is_rejected(history: PriceHistory) -> None:
    with pytest.raises(InvalidRequest, match="unknown symbol X: no price data"):
        history.column("X")


def test_returns_are_simple_and_the_last_ones(history: PriceHistory) -> None:
    assert history.returns(2) == pytest.approx(np.array([[1.0, 1.0], [0.5, 0.5]]))
    assert history.returns(1) == pytest.approx(np.array([[0.5, 0.5]]))
    assert history.returns(99).shape == (2, 2)
    assert history.until(1).returns(5) == pytest.approx(np.array([[1.0, 1.0]]))
    late = PriceHistory.of(["A", "B"], DATES, np.array([[1, NAN], [2, 20], [3, 30]]))
    assert np.isnan(late.returns(2)).tolist() == [[False, True], [False, False]]


def test_exact_closes_are_the_decimals_of_the_last_row() -> None:
    history = PriceHistory.of(["A", "B"], DATES, np.array([[1, 2], [2, 0.1], [3, 125.674]]))
    assert history.exact_closes() == [Decimal("3.0"), Decimal("125.674")]
    assert history.exact_closes() is history.exact_closes()


# Digest and cache.


def test_digest_covers_names_days_and_closes(history: PriceHistory) -> None:
    # The names, a line each; days since 1970; closes row by row; all little-endian.
    content = b"A\nB" + struct.pack("<3q", 19726, 19727, 19730)
    content += struct.pack("<6d", 1, 10, 2, 20, 3, 30)
    assert history.digest == hashlib.sha256(content).hexdigest()


def test_digest_differs_between_histories(history: PriceHistory) -> None:
    other = CLOSES.copy()
    other[1, 1] = np.nextafter(20, 21)
    different = [
        history.until(1),
        history.since(1),
        history.select(["A"]),
        history.select(["B", "A"]),
        PriceHistory.of(["A", "C"], DATES, CLOSES),
        PriceHistory.of(["A", "B"], DATES, other),
        PriceHistory.of(["A", "B"], [*DATES[:2], date(2024, 1, 9)], CLOSES),
    ]
    digests = {each.digest for each in (history, *different)}
    assert len(digests) == len(different) + 1
    assert PriceHistory.of(("A", "B"), DATES, CLOSES.tolist()).digest == history.digest


def test_digest_does_not_depend_on_the_memory_layout() -> None:
    history = prices(4, 30)
    turned = PriceHistory.of(history.symbols, history.dates, np.asfortranarray(history.closes))
    assert turned.digest == history.digest
    assert history.select(history.symbols).digest == history.digest


def test_memo_computes_once_for_each_history(history: PriceHistory) -> None:
    calls: list[str] = []

    def compute(name: str) -> str:
        calls.append(name)
        return name

    assert history.memo("key", lambda: compute("whole")) == "whole"
    assert history.memo("key", lambda: compute("again")) == "whole"
    assert history.until(2).memo("key", lambda: compute("slice")) == "slice"
    assert history.memo(("key", 1), lambda: compute("other")) == "other"
    assert calls == ["whole", "slice", "other"]
    assert history.returns(2) is history.returns(2)


def test_memo_caches_none(history: PriceHistory) -> None:
    calls: list[int] = []
    for _ in range(2):
        assert history.memo("nothing", lambda: calls.append(1)) is None
    assert calls == [1]


def test_an_asset_may_end_before_the_others() -> None:
    history = PriceHistory.of(
        ["A", "B"],
        [date(2024, 1, 4), date(2024, 1, 5), date(2024, 1, 8)],
        np.array([[1, 10], [2, 20], [3, NAN]]),
    )
    assert history.last_known("B") == (date(2024, 1, 5), 20.0)
    assert history.withheld == {"B": "no close since 2024-01-05"}
    assert history.until(1).withheld == {}
    assert history.select(["B"]).last_known("B") == (date(2024, 1, 5), 20.0)


def test_a_carried_close_is_not_an_observation() -> None:
    history = PriceHistory.of(
        ["A", "B"],
        [date(2024, 1, 4), date(2024, 1, 5), date(2024, 1, 8)],
        np.array([[1, 10], [2, 10], [3, 11]]),
        carried=np.array([[False, False], [False, True], [False, False]]),
    )
    assert history.observed.tolist() == [[True, True], [True, False], [True, True]]
    assert history.until(1).last_known("B") == (date(2024, 1, 4), 10.0)
    assert history.last_known("C") is None


def test_last_own_days_of_a_slice_look_before_its_first_row() -> None:
    days = [date(2024, 3, day) for day in (7, 8, 9, 10)]
    closes = np.array([[1.0, 5.0], [1.1, 5.1], [1.1, 5.2], [1.1, 5.3]])
    carried = np.array([[False, False]] * 2 + [[True, False]] * 2)
    history = PriceHistory.of(["SHARE", "COIN"], days, closes, carried=carried)
    for first in range(4):
        some = history.since(first)
        assert some.last_own_days.tolist() == [date(2024, 3, 8), date(2024, 3, 10)]
        assert some.newest_close(["SHARE"]) == date(2024, 3, 8)
