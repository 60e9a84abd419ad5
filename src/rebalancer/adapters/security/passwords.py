"""Passwords by Argon2id (RFC 9106)."""

from __future__ import annotations

from functools import cached_property

import attrs
from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError


@attrs.frozen(slots=False)
class ArgonPasswords:
    """Argon2id hashes, which carry their own parameters.

    The defaults are the second choice of RFC 9106, for memory-constrained machines, as OWASP
    recommends it for logins.

    Attributes:
        time_cost: Passes over the memory.
        memory_kib: Memory of one hash, in KiB.
    """

    time_cost: int = 2
    memory_kib: int = 19_456

    def hash(self, password: str) -> str:
        return self._hasher.hash(password)

    def verify(self, password: str, hashed: str | None) -> bool:
        try:
            # Also for None, so that the time taken does not reveal who is registered.
            self._hasher.verify(hashed or self._dummy, password)
        except (VerificationError, InvalidHashError):
            return False
        return hashed is not None

    def is_outdated(self, hashed: str) -> bool:
        return self._hasher.check_needs_rehash(hashed)

    @cached_property
    def _hasher(self) -> PasswordHasher:
        return PasswordHasher(
            time_cost=self.time_cost, memory_cost=self.memory_kib, parallelism=1, type=Type.ID
        )

    @cached_property
    def _dummy(self) -> str:
        return self._hasher.hash("a password of no user")
