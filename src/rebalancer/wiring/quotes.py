"""Live quotes: the board, shared through Redis if it is configured."""

from __future__ import annotations

from dishka import Provider, Scope, provide

from rebalancer.adapters.memory.quotes import MemoryQuoteBoard
from rebalancer.application.ports.quotes import QuoteBoard


class QuoteProvider(Provider):
    """The board of quotes."""

    scope = Scope.APP

    @provide
    def board(self) -> QuoteBoard:
        return MemoryQuoteBoard()
