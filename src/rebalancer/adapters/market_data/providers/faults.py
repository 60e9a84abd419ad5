"""Turn what a network and a server do wrong into the faults of a provider."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import quote as percent_encode
from urllib.parse import quote_plus

from rebalancer.application.ports.providers import (
    Garbled,
    ProviderFault,
    Refused,
    Throttled,
    UnknownSymbol,
    Unreachable,
)

_HIDDEN = "***"
_LONGEST = 200
"""Characters of an answer that a message quotes."""

_CREDENTIALS = re.compile(r"(//)[^/\s]*@")

_FURTHEST = timedelta(days=2)
"""A longer wait that a server asks for is not believed."""


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return a text without secrets, such as keys that a server quotes, in any usual encoding.

    The user and the password of a URL, such as that of a proxy, are secrets, too.
    """
    text = _CREDENTIALS.sub(rf"\1{_HIDDEN}@", text)
    for secret in secrets:
        for form in _forms(secret):
            text = re.sub(re.escape(form), _HIDDEN, text, flags=re.IGNORECASE)
    return text


def _forms(secret: str) -> list[str]:
    """Return how a secret may be written: plain, in URLs, JSON, HTML and Python; longest first."""
    encoded = {percent_encode(secret, safe=""), percent_encode(secret), quote_plus(secret)}
    others = {secret, json.dumps(secret)[1:-1], html.escape(secret), repr(secret)[1:-1]}
    return sorted((encoded | others) - {""}, key=len, reverse=True)


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
    if status < 300:
        return None
    if status < 400:
        return Garbled(f"{title} redirected {subject} to another page (status {status})")
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
    wanted, theirs = http_date(text), http_date(headers.get("date", ""))
    if wanted is None:
        return None
    wait = wanted - (theirs or now)
    return now + min(max(wait, timedelta(0)), _FURTHEST)


def http_date(text: str) -> datetime | None:
    """Return the time of a header such as ``Date``; None if it is missing or malformed."""
    try:
        parsed = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
