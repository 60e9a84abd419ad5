"""What a call can end with, other than an answer."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.define(eq=False)
class Problem(Exception):
    """The server refused a request.

    Attributes:
        status: HTTP status.
        code: Stable name of the reason, such as ``insufficient_cash``.
        detail: A sentence for people, in English.
        fields: Sentences by field of the request.
        retry_after: Seconds to wait before another attempt; None if unknown.
        members: Further members of the answer, such as ``ticket``.
    """

    status: int
    code: str
    detail: str
    fields: Mapping[str, str] = attrs.field(factory=dict)
    retry_after: float | None = None
    members: Mapping[str, object] = attrs.field(factory=dict)

    @property
    def only_field(self) -> str:
        """Return the field that the code concerns; empty unless it is exactly one."""
        return next(iter(self.fields)) if len(self.fields) == 1 else ""

    def __str__(self) -> str:
        return self.detail


class SignedOut(Problem):
    """The session has ended; the person has to sign in again."""


class Offline(Exception):
    """The server cannot be reached."""
