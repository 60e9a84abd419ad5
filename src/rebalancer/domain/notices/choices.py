"""What owners choose about their notices: which, where and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.notices.kinds import KIND_RULES, NoticeKind

APP, EMAIL = "app", "email"
"""Channels that every owner has; others are named by the id of their target."""


class Language(StrEnum):
    """Language of the text of notices."""

    ENGLISH = "en"
    GERMAN = "de"


class Digest(StrEnum):
    """How often notices are sent: each at once, or several together."""

    IMMEDIATELY = "immediately"
    HOURLY = "hourly"
    DAILY = "daily"


@attrs.frozen
class QuietHours:
    """Hours of each day in which nothing is sent; they may span midnight.

    Attributes:
        start: First minute, in the zone of the owner.
        end: First minute after them; differs from the start.
    """

    start: time
    end: time

    def __attrs_post_init__(self) -> None:
        if self.start == self.end:
            raise InvalidRequest(
                f"quiet hours from {self.start:%H:%M} to {self.end:%H:%M} have no length; choose "
                "another end, or none to switch them off",
                field="quiet.end",
                code="invalid_quiet_hours",
            )

    def include(self, moment: time) -> bool:
        """Return whether a time of the day is quiet."""
        if self.start < self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end


@attrs.frozen
class NoticeChoices:
    """The choices of an owner; the defaults suit one who has chosen nothing.

    They hold for all channels but the app, whose list shows a notice at once.

    Attributes:
        zone: Name of a time zone, such as ``Europe/Berlin``.
        digest_at: Time of the day for a daily digest.
        quiet: None without quiet hours. What falls in them is sent afterwards, together.
        paused: Whether nothing is sent; what is raised meanwhile is in the app alone.
        paused_until: When sending begins again; None: when ``paused`` is switched off.
        switches: Whether a kind is sent, by channel; what is missing follows `is_on`.
    """

    language: Language = Language.ENGLISH
    zone: str = "UTC"
    digest: Digest = Digest.IMMEDIATELY
    digest_at: time = time(8)
    quiet: QuietHours | None = None
    paused: bool = False
    paused_until: datetime | None = None
    switches: Mapping[str, Mapping[NoticeKind, bool]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        find_zone(self.zone)

    def is_on(self, kind: NoticeKind, channel: str) -> bool:
        """Return whether a kind is on in a channel.

        By default every kind is in the app and goes to each target that the owner has added, and
        important ones are mailed.
        """
        chosen = self.switches.get(channel, {}).get(kind)
        if chosen is not None:
            return chosen
        return channel != EMAIL or KIND_RULES[kind].important

    def is_paused(self, now: datetime) -> bool:
        """Return whether nothing is sent at a time."""
        return self.paused and (self.paused_until is None or now < self.paused_until)

    def due(self, kind: NoticeKind, channel: str, now: datetime) -> datetime | None:
        """Return when a notice that is raised now is to be sent; None if it is not."""
        if not self.is_on(kind, channel) or self.is_paused(now):
            return None
        zone = find_zone(self.zone)
        due = now
        if self.digest is Digest.HOURLY:
            local = now.astimezone(zone)
            due = now + timedelta(minutes=60 - local.minute) - _beyond_minute(now)
        elif self.digest is Digest.DAILY:
            due = next_local(now, self.digest_at, zone)
        return self.after_quiet(due)

    def after_quiet(self, moment: datetime) -> datetime:
        """Return a time, or the end of the quiet hours in which it falls."""
        zone = find_zone(self.zone)
        if self.quiet is None or not self.quiet.include(moment.astimezone(zone).time()):
            return moment
        return next_local(moment, self.quiet.end, zone)

    def switched(self, channel: str, kinds: Mapping[NoticeKind, bool]) -> NoticeChoices:
        """Return the choices with other switches of a channel."""
        changed = {**self.switches.get(channel, {}), **kinds}
        return attrs.evolve(self, switches={**self.switches, channel: changed})

    def without(self, channel: str) -> NoticeChoices:
        """Return the choices without the switches of a channel."""
        kept = {name: kinds for name, kinds in self.switches.items() if name != channel}
        return attrs.evolve(self, switches=kept)


def next_local(after: datetime, at: time, zone: ZoneInfo) -> datetime:
    """Return when clocks of a zone next show a time of the day, in UTC.

    Where clocks skip the time, it is as long after the change as the skipped time would have been;
    where they show it twice, each of both counts.
    """
    today = after.astimezone(zone).date()
    days = (today, today + timedelta(1))
    return min(moment for day in days for moment in _moments(day, at, zone) if moment > after)


def _moments(day: date, at: time, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield when clocks of a zone show a time of a day, in UTC."""
    first = datetime.combine(day, at, tzinfo=zone).astimezone(UTC)
    yield first
    second = datetime.combine(day, at.replace(fold=1), tzinfo=zone).astimezone(UTC)
    if second > first:
        yield second


def _beyond_minute(now: datetime) -> timedelta:
    return timedelta(seconds=now.second, microseconds=now.microsecond)


@lru_cache(maxsize=64)
def find_zone(name: str) -> ZoneInfo:
    """Return a time zone by its name.

    Raises:
        InvalidRequest: no zone has this name.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidRequest(
            f"{name!r} is not a time zone; enter a name such as Europe/Berlin or UTC",
            field="zone",
            code="unknown_zone",
        ) from None
