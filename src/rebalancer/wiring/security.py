"""Passwords, tokens, revocations and rate limits."""

from __future__ import annotations

from dishka import (
    Provider,
    Scope,
    provide,
)

from rebalancer.adapters.memory.limits import MemoryRateLimits
from rebalancer.adapters.memory.revocations import MemoryRevocations
from rebalancer.adapters.redis.connection import AsyncConnection, Connection
from rebalancer.adapters.redis.limits import RedisRateLimits
from rebalancer.adapters.redis.revocations import RedisRevocations
from rebalancer.application.ports.accounts import Passwords, Revocations, Tokens
from rebalancer.application.ports.limits import RateLimits
from rebalancer.config import Settings


class SecurityProvider(Provider):
    """Passwords and tokens."""

    scope = Scope.APP

    @provide
    def passwords(self) -> Passwords:
        """Argon2id."""
        from rebalancer.adapters.security.passwords import ArgonPasswords

        return ArgonPasswords()

    @provide
    def tokens(self, settings: Settings) -> Tokens:
        """Signed with the secret key."""
        from rebalancer.adapters.security.tokens import JwtTokens

        return JwtTokens(settings.secret_key)

    @provide
    def revocations(
        self, connection: Connection | None, loop: AsyncConnection | None
    ) -> Revocations:
        """RedisProvider, or of this process alone."""
        nearby = MemoryRevocations()
        if connection is None or loop is None:
            return nearby
        return RedisRevocations(connection, loop, nearby)

    @provide
    def limits(self, loop: AsyncConnection | None) -> RateLimits:
        """RedisProvider, or of this process alone."""
        nearby = MemoryRateLimits()
        return nearby if loop is None else RedisRateLimits(loop, nearby)
