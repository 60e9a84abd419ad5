"""Five families of error, told apart by what the caller can do about them.

RebalancerError
├── InvalidRequest    correct the input: the message names the field and the remedy
├── NotAuthenticated  say who you are, and prove it
├── NotFound          it does not exist, or is not yours
├── Conflict          it contradicts what is already so: read again, then decide
└── Unavailable       somebody else failed: try again later

Adapters translate their vendors' errors into these. Only the HTTP entrypoint knows statuses, only
the CLI knows exit codes.
"""

from __future__ import annotations


class RebalancerError(Exception):
    """The root of all errors that this package raises on purpose."""


class InvalidRequest(RebalancerError):
    """The input is malformed or contradicts itself.

    Attributes:
        field: Path of the offending input, such as ``preferences.band``; empty when it has none.
        message: What is wrong with it.
    """

    def __init__(self, message: str, *, field: str = "") -> None:
        self.field = field
        self.message = message
        super().__init__(f"{field}: {message}" if field else message)


class NotAuthenticated(RebalancerError):
    """Whoever asks has not proved who they are."""


class NotFound(RebalancerError):
    """No such thing, or not one that the caller may know of."""


class Conflict(RebalancerError):
    """The request contradicts the present state."""


class Unavailable(RebalancerError):
    """A part that we depend on did not answer."""
