"""What the screens of the account show: events, shares, and names of files."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rebalancer_app.gateway.account import Event
from rebalancer_app.gateway.shares import ReceivedShare, Share
from rebalancer_app.model.formats import Formats
from rebalancer_app.texts import Texts


@attrs.frozen
class EventRow:
    """An event in words.

    Attributes:
        is_refused: Whether something was attempted in vain.
    """

    title: str
    details: str
    is_refused: bool


@attrs.frozen
class EventDay:
    """The events of one day."""

    day: str
    rows: tuple[EventRow, ...]


@attrs.frozen
class ShareRow:
    """A share in words.

    Attributes:
        title: The other person, or the portfolio.
        details: What may be done, and whether the invitation waits.
        waits: Whether it is not accepted yet.
    """

    title: str
    details: str
    waits: bool


def event_days(events: Sequence[Event], formats: Formats, texts: Texts) -> tuple[EventDay, ...]:
    """Return what happened in the account by day, latest first."""
    days: dict[str, list[EventRow]] = {}
    for event in events:
        at = event.at.astimezone()
        title = texts.find(f"event.{event.action}") or event.description
        device = "" if not event.agent else device_name(event.agent)
        parts = (formats.time(at), device, event.address or "")
        row = EventRow(title, " · ".join(part for part in parts if part), event.outcome != "done")
        days.setdefault(formats.day(at.date()), []).append(row)
    return tuple(EventDay(day, tuple(rows)) for day, rows in days.items())


_DEVICES = ("iPhone", "iPad", "Android", "Macintosh", "Windows", "Linux")
_BROWSERS = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome"}


def device_name(agent: str) -> str:
    """Return browser and device from the header of a browser; the first word of any other."""
    browser = next((name for mark, name in _BROWSERS.items() if mark in agent), "")
    if not browser and "Safari/" in agent:
        browser = "Safari"
    device = next((name for name in _DEVICES if name in agent), "").replace("Macintosh", "Mac")
    return ", ".join(part for part in (browser, device) if part) or agent.split("/")[0][:40]


def given_share(one: Share, formats: Formats, texts: Texts) -> ShareRow:
    """Return what to show of a portfolio that another person may see."""
    return ShareRow(one.email, _share_details(one, formats, texts), waits=one.accepted is None)


def received_share(one: ReceivedShare, formats: Formats, texts: Texts) -> ShareRow:
    """Return what to show of a portfolio of another person."""
    owner = texts("shares.from", name=one.owner.name or one.owner.email)
    details = f"{owner} · {_share_details(one, formats, texts)}"
    return ShareRow(one.portfolio_name, details, waits=one.accepted is None)


def _share_details(one: Share | ReceivedShare, formats: Formats, texts: Texts) -> str:
    right = texts.find(f"shares.{one.right}") or one.right
    if one.accepted is None:
        state = texts("shares.invited", day=formats.day(one.created.date()))
    else:
        state = texts("shares.since", day=formats.day(one.accepted.date()))
    return f"{right} · {state}"
