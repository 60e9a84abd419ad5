"""Rate limiting."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Protocol

import attrs


@attrs.frozen
class Limit:
    """A maximum number of requests within any window of time.

    Attributes:
        name: What is limited, such as ``login``; limits of one name share their counts.
        most: Maximum number of requests, 1 or more.
        window: Length of the half-open window.
    """

    name: str
    most: int
    window: timedelta


@attrs.frozen
class Verdict:
    """Whether a request may pass.

    Attributes:
        limit: The limit that decided; of several the one nearest to being reached.
        remaining: Number of further requests that may pass in the window.
        reset: Seconds until another request may pass, or until the window is empty.
    """

    limit: Limit
    allowed: bool
    remaining: int
    reset: float

    @classmethod
    def deciding(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """Return the longest refusal, else the verdict that leaves the fewest requests."""
        return min(
            verdicts,
            key=lambda one: (one.allowed, one.remaining, -one.reset if not one.allowed else 0.0),
        )


class RateLimits(Protocol):
    """Counts of requests over sliding windows, shared by all processes that use one server."""

    async def hit(self, *counters: tuple[Limit, str]) -> Verdict:
        """Count a request against all counters, or against none if one of them refuses it.

        This never fails: while counts cannot be shared, each process counts its own requests. The
        counters are distinct pairs of a limit and the client it is counted for.
        """
