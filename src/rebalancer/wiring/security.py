"""Passwords, tokens, passkeys, revocations and rate limits."""

from __future__ import annotations

from dishka import Provider, Scope, provide

from rebalancer.adapters.memory.rate_limits import MemoryRateLimits
from rebalancer.adapters.memory.revocations import MemoryRevocations
from rebalancer.adapters.redis.connection import AsyncConnection, Connection
from rebalancer.adapters.redis.rate_limits import RedisRateLimits
from rebalancer.adapters.redis.revocations import RedisRevocations
from rebalancer.application.encryption import NoEncryption
from rebalancer.application.guessing import CountAttempt
from rebalancer.application.ports.accounts import Passwords, PasswordStrength, Revocations, Tokens
from rebalancer.application.ports.encryption import Encryption
from rebalancer.application.ports.factors import FactorCodes, PasskeyCeremonies
from rebalancer.application.ports.keys import Keys
from rebalancer.application.ports.rate_limits import RateLimits
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.revocations import StoredRevocations
from rebalancer.config import Settings


class SecurityProvider(Provider):
    """Authentication and rate limits; their libraries are loaded at first use."""

    scope = Scope.APP

    @provide
    def passwords(self) -> Passwords:
        from rebalancer.adapters.security.passwords import ArgonPasswords

        return ArgonPasswords()

    @provide
    def strength(self) -> PasswordStrength:
        from rebalancer.adapters.security.strength import ZxcvbnStrength

        return ZxcvbnStrength()

    @provide
    def keys(self, settings: Settings) -> Keys:
        from rebalancer.adapters.security.keys import HkdfKeys

        return HkdfKeys((settings.secret_key, *settings.secret_keys_old))

    @provide
    def count_attempt(
        self, work: UnitOfWork, tokens: Tokens, keys: Keys, settings: Settings
    ) -> CountAttempt:
        """Limit networks unless the operator has switched the limits of logins off."""
        return CountAttempt(work, tokens, keys, networks=settings.login_limit > 0)

    @provide
    def encryption(self, settings: Settings) -> Encryption:
        """Encrypt under the configured keys; with ``off`` they only decrypt."""
        if not settings.encryption_keys:
            return NoEncryption()
        from rebalancer.adapters.security.envelope import Envelope
        from rebalancer.adapters.security.key_encryption import LocalKeys

        return Envelope(LocalKeys(dict(settings.encryption_keys)), seals=settings.encrypts)

    @provide
    def tokens(self, keys: Keys, settings: Settings) -> Tokens:
        from rebalancer.adapters.security.tokens import JwtTokens

        return JwtTokens(keys, settings.audience)

    @provide
    def codes(self) -> FactorCodes:
        from rebalancer.adapters.security.codes import OtpCodes

        return OtpCodes()

    @provide
    def ceremonies(self, settings: Settings) -> PasskeyCeremonies:
        from rebalancer.adapters.security.passkeys import WebAuthnCeremonies

        return WebAuthnCeremonies(settings.relying_party)

    @provide
    def revocations(
        self, work: UnitOfWork, connection: Connection | None, loop: AsyncConnection | None
    ) -> Revocations:
        """Share revocations through the store and, faster, through Redis."""
        local = StoredRevocations(work, MemoryRevocations())
        if connection is None or loop is None:
            return local
        return RedisRevocations(connection, loop, local)

    @provide
    def limits(self, loop: AsyncConnection | None) -> RateLimits:
        """Share rate limits through Redis; without it each process counts on its own."""
        local = MemoryRateLimits()
        return local if loop is None else RedisRateLimits(loop, local)


class StoredRevocationsProvider(Provider):
    """Revocations of a process without an event loop, such as a command.

    What it revokes is in the store, where servers find it within seconds.
    """

    scope = Scope.APP

    @provide
    def revocations(self, work: UnitOfWork) -> Revocations:
        return StoredRevocations(work, MemoryRevocations())
