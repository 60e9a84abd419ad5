"""HTTP client of the providers that answer JSON or CSV: one request, one answer or one fault."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import msgspec

from rebalancer.adapters.market_data.providers.faults import fault_of_status, quote
from rebalancer.application.ports.providers import (
    Garbled,
    ProviderFault,
    Refused,
    Unreachable,
)

TIMEOUT = 20.0
"""Seconds for connecting, and for each part of an answer."""

_MOST_TIMEOUTS = 3
"""The complete answer may take so many times as long."""

_LARGEST = 64_000_000
"""Bytes of an answer that are read at most."""

_QUOTED = 65_536
"""Bytes of an answer that are searched for secrets before its beginning is quoted."""


class HttpClient:
    """Client of one provider; its connections are pooled and closed with it.

    httpx is imported at the first request. Its log of requests is switched off, because a URL may
    hold a key.

    Args:
        title: Name of the provider in messages.
        base_url: Scheme and host, without a final slash.
        secrets: Keys, which no message may show.
        headers: Sent with every request.
        timeout: Seconds for connecting, and for each part of an answer; a complete answer may take
            three times as long.
        explain: Returns the fault that the body of a refusal states, given the status, the body
            and what was asked for; None if it states none.
        now: Clock.
    """

    def __init__(
        self,
        title: str,
        base_url: str,
        *,
        secrets: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
        explain: Callable[[int, bytes, str], ProviderFault | None] = lambda *_: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.title = title
        self._base_url, self._secrets = base_url, secrets
        self._headers, self._timeout, self._now = dict(headers or {}), timeout, now
        self._explain = explain
        self._client: Any = None
        self._lock = Lock()

    def get_json(self, path: str, parameters: Mapping[str, str], *, subject: str) -> Any:
        """Return the decoded JSON of an answer.

        Args:
            path: With a leading slash.
            parameters: Of the query.
            subject: What is asked for, in messages: a symbol, or the id of a series.

        Raises:
            ProviderFault: the request failed, or the answer is not JSON.
        """
        content = self.get(path, parameters, subject=subject)
        try:
            return msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            begins = self.quote(content[:_QUOTED].decode("utf-8", "replace"))
            raise Garbled(
                f"{self.title} sent an answer for {subject} that is not JSON: {begins!r}"
            ) from None

    def get(self, path: str, parameters: Mapping[str, str], *, subject: str) -> bytes:
        """Return the body of an answer.

        Raises:
            ProviderFault: the request failed.
        """
        try:
            import httpx
        except ImportError:
            raise Unreachable(
                f"{self.title} needs httpx, which is not installed; install rebalancer[market]"
            ) from None

        latest = time.monotonic() + _MOST_TIMEOUTS * self._timeout
        try:
            with self._open().stream("GET", path, params=parameters) as answer:
                content = bytearray()
                for part in answer.iter_bytes():
                    content += part
                    if time.monotonic() > latest:
                        raise Unreachable(f"{self.title} answers too slowly for {subject}")
                    if len(content) > _LARGEST:
                        raise Garbled(f"{self.title} sent too large an answer for {subject}")
                fault = fault_of_status(
                    answer.status_code,
                    answer.headers,
                    title=self.title,
                    subject=subject,
                    now=self._now(),
                )
                if fault is not None:
                    raise self._explain(answer.status_code, bytes(content), subject) or fault
                return bytes(content)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            reason = self.quote(error) or type(error).__name__
            raise Unreachable(f"{self.title} did not answer for {subject}: {reason}") from None
        except (ImportError, OSError, ValueError) as error:  # its text may hold a password
            raise Unreachable(
                f"{self.title} cannot be asked for {subject}: {type(error).__name__}; check this "
                "machine's settings of proxies and certificates"
            ) from None

    def quote(self, text: object) -> str:
        """Return the beginning of a text of the server for a message, without secrets."""
        return quote(str(text), self._secrets)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _open(self) -> Any:
        with self._lock:  # threads share one client
            if self._client is None:
                if not all(map(_can_be_sent, self._secrets)):
                    raise Refused(
                        f"the key of {self.title} has characters that keys do not have, such as "
                        "blanks; check it"
                    )
                import httpx

                logging.getLogger("httpx").setLevel(logging.WARNING)
                self._client = httpx.Client(
                    base_url=self._base_url,
                    headers=self._headers,
                    timeout=self._timeout,
                    follow_redirects=False,
                )
            return self._client


def _can_be_sent(key: str) -> bool:
    """Return whether a header can hold a key."""
    return key != "" and key.isascii() and key.isprintable() and " " not in key
