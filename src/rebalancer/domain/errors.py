"""The six families of error, grouped by what the caller can do about them.

RebalancerError
├── InvalidRequest    correct the input; the message names the value, the rule and the remedy
├── NotAuthenticated  sign in first
├── NotAllowed        another person may do it, or this one after another proof of identity
├── NotFound          it does not exist, or belongs to another user
├── Conflict          it conflicts with the current state; reload and retry
└── Unavailable       a dependency failed; retry later

Every error has a code, which is stable: clients, tests and translations rely on it. Its message is
a sentence for people and may change. Adapters translate their vendors' errors into these families.
Only the HTTP entrypoint knows status codes, and only the CLI knows exit codes; each adds the remedy
that its own users can apply, looked up by code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from types import MappingProxyType
from typing import Any, ClassVar, Self


class RebalancerError(Exception):
    """Root of the errors that this package raises on purpose.

    Attributes:
        code: Stable identifier in snake case, such as ``portfolio_not_found``.
        message: Sentence for people, without the name of the field.
        facts: What a program needs to continue, by name; values are JSON.
    """

    default_code: ClassVar[str] = "internal_error"
    facts: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, message: str, *, code: str = "") -> None:
        self.code = code or self.default_code
        self.message = message
        super().__init__(message)


class InvalidRequest(RebalancerError):
    """The input is malformed or contradicts itself.

    Attributes:
        field: Path of the offending input, such as ``preferences.band``; empty without one.
    """

    default_code = "invalid_request"

    def __init__(self, message: str, *, field: str = "", code: str = "") -> None:
        super().__init__(message, code=code)
        self.field = field
        if field:
            self.args = (f"{field}: {message}",)

    def at(self, field: str) -> Self:
        """Return the same error about another field."""
        moved = copy(self)
        moved.field = field
        moved.args = (f"{field}: {self.message}" if field else self.message,)
        return moved


class InvalidFields(InvalidRequest):
    """Several fields are invalid.

    Attributes:
        faults: One error for each.
    """

    default_code = "validation_failed"

    def __init__(self, faults: Sequence[InvalidRequest]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)

    def __reduce__(self) -> tuple[Any, ...]:
        return InvalidFields, (self.faults,)


def faults_of(error: InvalidRequest) -> tuple[InvalidRequest, ...]:
    """Return the faults that an error reports: several, or itself."""
    return error.faults if isinstance(error, InvalidFields) else (error,)


def combine(faults: Sequence[InvalidRequest]) -> InvalidRequest:
    """Return the only fault, or one error that reports them all."""
    return faults[0] if len(faults) == 1 else InvalidFields(faults)


class FaultCollector:
    """Collects what several checks raise, to report all of it at once."""

    def __init__(self) -> None:
        self._found: list[InvalidRequest] = []

    @contextmanager
    def collect(self, prefix: str = "") -> Iterator[None]:
        """Run a block; keep the faults that it raises, and continue after it.

        ``prefix`` is put before the fields of these faults.
        """
        try:
            yield
        except InvalidRequest as raised:
            for error in faults_of(raised):
                self._found.append(error.at(prefix + error.field) if prefix else error)

    def raise_any(self) -> None:
        """Raise the faults that were found, if any.

        Raises:
            InvalidRequest: one fault was found.
            InvalidFields: several were.
        """
        if self._found:
            raise combine(self._found)


class NotAuthenticated(RebalancerError):
    """The caller has not proved an identity."""

    default_code = "not_authenticated"


class NotAllowed(RebalancerError):
    """The caller is known and may not do this, or not without a further step."""

    default_code = "not_allowed"


class NotFound(RebalancerError):
    """The resource does not exist, or the caller may not know that it does."""

    default_code = "not_found"


class Conflict(RebalancerError):
    """The request conflicts with the current state."""

    default_code = "conflict"


class Unavailable(RebalancerError):
    """A dependency did not answer."""

    default_code = "unavailable"
