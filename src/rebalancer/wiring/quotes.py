"""Live quotes: the board, shared through Redis if it is configured."""

from __future__ import annotations

from dishka import Provider, Scope, provide

from rebalancer.adapters.memory.quotes import MemoryQuoteBoard
from rebalancer.adapters.redis.connection import Connection
from rebalancer.adapters.redis.quotes import RedisQuoteBoard
from rebalancer.application.ports.quotes import QuoteBoard


class QuoteProvider(Provider):
    """The board of quotes."""

    scope = Scope.APP

    @provide
    def board(self, connection: Connection | None) -> QuoteBoard:
        """Share quotes through Redis; without it, with the threads of this process."""
        if connection is None:
            return MemoryQuoteBoard()
        return RedisQuoteBoard(connection)
