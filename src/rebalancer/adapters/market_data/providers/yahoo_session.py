"""Sessions that reach Yahoo: their requests succeed or raise the faults of a provider."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from functools import cache
from typing import Any

from rebalancer.adapters.market_data.providers.faults import fault_of_status, quote
from rebalancer.application.ports.providers import Garbled, ProviderFault, Throttled, Unreachable

TITLE = "Yahoo Finance"

_CRUMB = re.compile(r"[!#-;=?-z|~]{1,64}")
"""A crumb: no blanks, quotes, braces or tags, of which pages and messages consist."""


@cache
def session_type() -> Any:
    """Return the class of sessions that raise our faults; curl_cffi is imported here."""
    from curl_cffi import requests

    class FaultySession(requests.Session):  # type: ignore[type-arg]  # of answers
        """Session whose requests succeed or raise a `ProviderFault`.

        Attributes:
            limit: Seconds for a complete answer, whatever a caller asks for.
        """

        limit = 20.0

        def request(self, method: Any, url: Any, *args: Any, **options: Any) -> Any:
            subject = options.pop("subject", None) or str(url).rsplit("/", 1)[-1].split("?")[0]
            options["timeout"] = self.limit
            try:
                answer = super().request(method, url, *args, **options)
            except requests.exceptions.RequestException as error:
                said = quote(str(error).partition(" See http")[0]).rstrip(".")
                raise Unreachable(f"{TITLE} did not answer for {subject}: {said}") from None
            fault = _fault_of(answer, str(url), subject)
            if fault is not None:
                raise fault
            return answer

    return FaultySession


def _fault_of(answer: Any, url: str, subject: str) -> ProviderFault | None:
    """Return the fault of an answer, with the exceptions that Yahoo's services make."""
    headers = {name.lower(): value or "" for name, value in answer.headers.items()}
    status, content = answer.status_code, answer.content
    if status == 404:
        if "fc.yahoo.com" in url:  # this page does not exist, and gives the cookie
            return None
        if "html" not in headers.get("content-type", "") and b'"chart"' in content:
            return None  # with a reason, which the caller reads
    if status == 200 and url.endswith("/getcrumb"):
        crumb = content.decode("utf-8", "replace").strip()
        if "Too Many" in crumb:
            return Throttled(f"{TITLE} refuses more requests; wait, then repeat")
        if _CRUMB.fullmatch(crumb) is None:
            return Garbled(f"{TITLE} sent an unreadable crumb: {quote(crumb)!r}")
    return fault_of_status(status, headers, title=TITLE, subject=subject, now=datetime.now(UTC))


@cache
def access_type() -> Any:
    """Return yfinance's way to a cookie and a crumb, without its files; it is imported here."""
    from yfinance.data import YfData

    class Access(YfData):  # type: ignore[misc]  # it has no types
        """Asks with a cookie and a crumb, both of which it obtains when they are needed."""

        def _load_cookie_curlCffi(self) -> bool:  # yfinance's name
            return any(cookie.name == "A3" for cookie in self._session.cookies.jar)

        def _save_cookie_curlCffi(self) -> bool:  # yfinance's name
            return False

    logging.getLogger("yfinance").setLevel(logging.CRITICAL)  # its errors are raised here
    return Access
