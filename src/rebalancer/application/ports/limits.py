"""How often somebody may ask."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Protocol

import attrs


@attrs.frozen
class Limit:
    """At most so many requests within any window of time.

    Attributes:
        name: What is limited, such as ``login``; limits of one name share their counts.
        most: Requests, 1 or more.
        window: Time; of two requests that lie just so far apart, only one is in it.
    """

    name: str
    most: int
    window: timedelta


@attrs.frozen
class Verdict:
    """Whether a request may pass.

    Attributes:
        limit: The limit that decided: of several the one that is nearest to being reached.
        allowed: Whether it may.
        remaining: How many more may pass in the window.
        reset: Seconds until another one may pass, or until the window is empty of what passed.
    """

    limit: Limit
    allowed: bool
    remaining: int
    reset: float

    @classmethod
    def deciding(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """Of several on one request: a refusal, the longest; else the one that leaves the least."""
        return min(
            verdicts,
            key=lambda one: (one.allowed, one.remaining, -one.reset if not one.allowed else 0.0),
        )


class RateLimits(Protocol):
    """Counts of requests over sliding windows, shared by all who ask the same place."""

    async def hit(self, *asked: tuple[Limit, str]) -> Verdict:
        """Count a request against each limit, for somebody each, unless one of them forbids it.

        A request that is refused is counted nowhere. It never fails: where counts cannot be
        shared, each process keeps its own.

        Args:
            asked: At least one limit, and whom it is counted for; no pair of them twice.
        """
