"""Every source of trading sessions keeps the promises of `Calendars`."""

from __future__ import annotations

import numpy as np
import pytest

from rebalancer.adapters.market_data.calendars import ExchangeCalendars
from rebalancer.adapters.memory.market import MemoryCalendars

KNOWN = ("XNYS", "XTKS", "24/7")


@pytest.fixture(params=["exchange_calendars", "files", "memory"])
def calendars(request, tmp_path):
    real = ExchangeCalendars()
    if request.param == "files":
        ExchangeCalendars(tmp_path).sessions(KNOWN)
        return ExchangeCalendars(tmp_path)
    return real if request.param == "exchange_calendars" else MemoryCalendars(real.sessions(KNOWN))


def test_sessions_increase_and_cannot_be_written(calendars):
    found = calendars.sessions(KNOWN)
    assert sorted(found) == sorted(KNOWN)
    for days in found.values():
        assert days.dtype == np.dtype("datetime64[D]")
        assert (np.diff(days) > np.timedelta64(0, "D")).all()
        assert not days.flags.writeable


def test_markets_without_known_sessions_are_left_out(calendars):
    assert list(calendars.sessions(["XNYS", "QQQQ"])) == ["XNYS"]
    assert calendars.sessions([]) == {}


def test_a_market_that_never_closes_has_every_day(calendars):
    (days,) = calendars.sessions(["24/7"]).values()
    assert (np.diff(days) == np.timedelta64(1, "D")).all()
    assert days[0] == np.datetime64("1990-01-01")


@pytest.mark.parametrize(
    ("market", "closed", "open_"),
    [
        ("XNYS", "2012-10-29", "2012-10-31"),  # Hurricane Sandy
        ("XNYS", "2025-01-09", "2025-01-10"),  # mourning for a president
        ("XTKS", "2019-05-06", "2019-05-07"),  # the longest Golden Week
        ("XTKS", "2019-04-29", "2019-04-26"),
    ],
)
def test_unusual_closures_are_known(calendars, market, closed, open_):
    (days,) = calendars.sessions([market]).values()
    assert np.datetime64(closed) not in days
    assert np.datetime64(open_) in days


def test_each_session_ends_after_it_begins_and_within_two_days(calendars):
    for market in KNOWN:
        (days,) = calendars.sessions([market]).values()
        ends = calendars.closing_times(market)
        assert len(ends) == len(days)
        after = ends - days.astype("datetime64[s]")
        assert (after > np.timedelta64(0, "s")).all()
        assert (after <= np.timedelta64(2, "D")).all()
    assert calendars.closing_times("QQQQ") is None


def test_half_days_end_earlier():
    ends = ExchangeCalendars().closing_times("XNYS")
    assert np.datetime64("2023-11-24T18:00") in ends  # the day after Thanksgiving
    assert np.datetime64("2023-11-22T21:00") in ends


@pytest.mark.parametrize("content", [b"", b"noise", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_replaced(tmp_path, content):
    expected = ExchangeCalendars(tmp_path).sessions(["XNYS"])["XNYS"]
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(content)
    assert (ExchangeCalendars(tmp_path).sessions(["XNYS"])["XNYS"] == expected).all()
    assert file.read_bytes() == whole


def test_files_of_earlier_months_are_deleted(tmp_path):
    (tmp_path / "XNYS-2020-01-4.0.npy").write_bytes(b"old")
    ExchangeCalendars(tmp_path).sessions(["XNYS"])
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("XNYS-") and "2020" not in file.name


def test_sessions_are_known_without_a_folder_that_can_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert len(ExchangeCalendars(tmp_path / "file").sessions(["XNYS"])["XNYS"])
