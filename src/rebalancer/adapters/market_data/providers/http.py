"""HTTP client of the providers that answer JSON or CSV: one request, one answer or one fault."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import msgspec

from rebalancer.adapters.market_data.providers.faults import fault_of_status, quote, scrub
from rebalancer.application.ports.providers import Garbled, ProviderFault, Unreachable

_TIMEOUT = 20.0
_LARGEST = 64_000_000
"""Bytes of an answer that are read at most."""


class HttpClient:
    """Client of one provider; its connections are pooled and closed with it.

    httpx is imported at the first request. Its log of requests is switched off, because a URL may
    hold a key.

    Args:
        title: Name of the provider in messages.
        base_url: Scheme and host, without a final slash.
        secrets: Keys, which no message may show.
        headers: Sent with every request.
        timeout: Seconds for connecting, and for each part of an answer.
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
        timeout: float = _TIMEOUT,
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
            begins = quote(content[:400].decode("utf-8", "replace"), self._secrets)
            raise Garbled(
                f"{self.title} sent an answer for {subject} that is not JSON: {begins!r}"
            ) from None

    def get(self, path: str, parameters: Mapping[str, str], *, subject: str) -> bytes:
        """Return the body of an answer.

        Raises:
            ProviderFault: the request failed.
        """
        import httpx

        try:
            with self._open().stream("GET", path, params=parameters) as answer:
                content = bytearray()
                for part in answer.iter_bytes():
                    content += part
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
            reason = scrub(str(error), self._secrets) or type(error).__name__
            raise Unreachable(f"{self.title} did not answer for {subject}: {reason}") from None

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _open(self) -> Any:
        with self._lock:  # threads share one client
            if self._client is None:
                import httpx

                logging.getLogger("httpx").setLevel(logging.WARNING)
                self._client = httpx.Client(
                    base_url=self._base_url,
                    headers=self._headers,
                    timeout=self._timeout,
                    follow_redirects=False,
                )
            return self._client
