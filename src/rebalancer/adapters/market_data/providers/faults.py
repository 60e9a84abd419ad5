"""Turn what a network and a server do wrong into the faults of a provider."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from rebalancer.application.ports.providers import (
    ProviderFault,
    Refused,
    Throttled,
    UnknownSymbol,
    Unreachable,
)

_HIDDEN = "***"
_LONGEST = 200
"""Characters of an answer that a message quotes."""

_FURTHEST = timedelta(days=2)
"""A longer wait that a server asks for is not believed."""


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return a text without secrets, such as keys that a server quotes."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, _HIDDEN)
    return text


def quote(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the beginning of an answer for a message, on one line and without secrets."""
    shown = " ".join(scrub(text, secrets).split())
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def fault_of_status(
    status: int, headers: Mapping[str, str], *, title: str, subject: str, now: datetime
) -> ProviderFault | None:
    """Return the fault of an HTTP status; None for a success.

    Args:
        status: HTTP status.
        headers: Of the answer, with lower-case names.
        title: Name of the provider.
        subject: What was asked for.
        now: Time of the answer here.
    """
    if status < 400:
        return None
    if status == 429:
        until = retry_time(headers, now)
        when = "" if until is None else f" until {until:%Y-%m-%d %H:%M:%S} UTC"
        return Throttled(f"{title} refuses more requests{when}; wait, then repeat", until=until)
    if status in (401, 402, 403):
        return Refused(
            f"{title} refused {subject} (status {status}); check its key and what the plan includes"
        )
    if status in (404, 422):
        return UnknownSymbol(f"{title} does not know {subject}; check the spelling")
    if status >= 500:
        return Unreachable(f"{title} failed with status {status} for {subject}; repeat it later")
    return Refused(f"{title} refused {subject} with status {status}")


def retry_time(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """Return until when a server wants to be left alone, see RFC 9110, section 10.2.3.

    A date is compared with the server's own clock, so that a wrong one here or there does no harm.
    """
    text = headers.get("retry-after", "").strip()
    if text.isdigit():
        wait = timedelta(seconds=min(int(text), int(_FURTHEST.total_seconds())))
        return now + wait
    wanted, theirs = _http_date(text), _http_date(headers.get("date", ""))
    if wanted is None:
        return None
    wait = wanted - (theirs or now)
    return now + min(max(wait, timedelta(0)), _FURTHEST)


def _http_date(text: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
