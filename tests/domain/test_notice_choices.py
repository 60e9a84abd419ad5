"""When notices are sent: digests, quiet hours, pauses, and changes of the clock."""

from datetime import UTC, datetime, time, timedelta

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.notices.choices import (
    APP,
    EMAIL,
    Digest,
    NoticeChoices,
    QuietHours,
    find_zone,
    next_local,
)
from rebalancer.domain.notices.deliveries import pause_after
from rebalancer.domain.notices.kinds import NoticeKind

BERLIN = "Europe/Berlin"
NIGHT = QuietHours(time(22), time(7))
KIND = NoticeKind.DRIFT


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due(text, **chosen):
    return NoticeChoices(**chosen).due(KIND, EMAIL, utc(text))


@pytest.mark.parametrize(
    ("raised", "chosen", "expected"),
    [
        ("2026-01-15T12:00:30", {}, "2026-01-15T12:00:30"),
        # 23:30 in Berlin is quiet until 07:00, which is 06:00 UTC in winter and 05:00 in summer.
        ("2026-01-15T22:30:00", {"quiet": NIGHT, "zone": BERLIN}, "2026-01-16T06:00:00"),
        ("2026-07-15T22:30:00", {"quiet": NIGHT, "zone": BERLIN}, "2026-07-16T05:00:00"),
        ("2026-01-16T06:00:00", {"quiet": NIGHT, "zone": BERLIN}, "2026-01-16T06:00:00"),
        ("2026-01-15T20:59:59", {"quiet": NIGHT, "zone": BERLIN}, "2026-01-15T20:59:59"),
        # The clock is put forward on 29 March 2026 and back on 25 October.
        ("2026-03-28T23:30:00", {"quiet": NIGHT, "zone": BERLIN}, "2026-03-29T05:00:00"),
        ("2026-10-24T23:30:00", {"quiet": NIGHT, "zone": BERLIN}, "2026-10-25T06:00:00"),
        ("2026-01-15T12:20:30", {"digest": Digest.HOURLY}, "2026-01-15T13:00:00"),
        # Nepal is 5:45 ahead: 18:05:30 there, so the next full hour is 13:15 UTC.
        (
            "2026-01-15T12:20:30",
            {"digest": Digest.HOURLY, "zone": "Asia/Kathmandu"},
            "2026-01-15T13:15:00",
        ),
        ("2026-01-15T12:00:00", {"digest": Digest.DAILY, "zone": BERLIN}, "2026-01-16T07:00:00"),
        # The digest of 06:00 falls in the quiet hours, so it comes at their end.
        (
            "2026-01-15T12:00:00",
            {"digest": Digest.DAILY, "digest_at": time(6), "quiet": NIGHT},
            "2026-01-16T07:00:00",
        ),
    ],
)
def test_notice_is_sent_when_the_owner_wants_it(raised, chosen, expected):
    assert due(raised, **chosen) == utc(expected)


def test_skipped_and_repeated_times_of_the_clock():
    zone = find_zone(BERLIN)
    # 02:30 does not exist on 29 March: an hour after 01:30 CET, clocks show 03:30 CEST.
    assert next_local(utc("2026-03-28T23:00:00"), time(2, 30), zone) == utc("2026-03-29T01:30:00")
    # 02:30 comes twice on 25 October: at 00:30 and at 01:30 UTC.
    assert next_local(utc("2026-10-24T23:00:00"), time(2, 30), zone) == utc("2026-10-25T00:30:00")
    assert next_local(utc("2026-10-25T00:30:00"), time(2, 30), zone) == utc("2026-10-25T01:30:00")


times = st.times().map(lambda found: found.replace(second=0, microsecond=0, tzinfo=None))


@settings(max_examples=40)
@given(
    now=st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),
    zone=st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    ends=st.tuples(times, times).filter(lambda pair: pair[0] != pair[1]),
    digest=st.sampled_from(Digest),
    at=times,
)
def test_nothing_is_sent_early_in_quiet_hours_or_after_two_days(now, zone, ends, digest, at):
    quiet = QuietHours(*ends)
    found = NoticeChoices(zone=zone, digest=digest, digest_at=at, quiet=quiet).due(KIND, EMAIL, now)
    assert now <= found <= now + timedelta(hours=51)
    local = found.astimezone(find_zone(zone))
    skipped = local.time() != ends[1] and local.utcoffset() != (
        (local - timedelta(hours=2)).utcoffset()
    )
    assert skipped or not quiet.include(local.time().replace(tzinfo=None))


def test_pause_sends_nothing_until_it_ends():
    choices = NoticeChoices(paused=True, paused_until=utc("2026-01-20T00:00:00"))
    assert choices.due(KIND, EMAIL, utc("2026-01-19T23:59:59")) is None
    assert choices.due(KIND, EMAIL, utc("2026-01-20T00:00:00")) is not None
    forever = attrs.evolve(choices, paused_until=None)
    assert forever.due(KIND, EMAIL, utc("2099-01-01T00:00:00")) is None


def test_important_kinds_are_mailed_by_default_and_all_are_in_the_app():
    choices = NoticeChoices()
    assert choices.is_on(KIND, EMAIL)
    assert not choices.is_on(NoticeKind.CASH, EMAIL)
    assert choices.is_on(NoticeKind.CASH, APP)
    assert choices.is_on(NoticeKind.CASH, "a target")
    changed = choices.switched(EMAIL, {NoticeKind.CASH: True}).switched(EMAIL, {KIND: False})
    assert changed.is_on(NoticeKind.CASH, EMAIL) and not changed.is_on(KIND, EMAIL)
    assert changed.without(EMAIL) == choices


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "", "../etc/passwd", "UTC\0"])
def test_unknown_zones_are_refused(zone):
    with pytest.raises(InvalidRequest, match="not a time zone"):
        NoticeChoices(zone=zone)


def test_quiet_hours_have_a_length():
    with pytest.raises(InvalidRequest, match="have no length"):
        QuietHours(time(7), time(7))


def test_pauses_grow_up_to_four_hours():
    assert [pause_after(n).total_seconds() for n in (1, 2, 3, 9)] == [30, 90, 270, 14400]
