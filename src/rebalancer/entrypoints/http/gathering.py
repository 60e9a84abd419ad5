"""Asks that arrive while others are being answered are answered together.

A policy decides for twenty portfolios nearly as fast as for one, and one transaction keeps twenty
answers. Nobody waits for company: an ask that comes alone is answered alone, at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from litestar.concurrency import sync_to_thread

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")
Together = Callable[[Sequence[Ask]], Sequence[Answer | Exception]]


class Gathering(Generic[Ask, Answer]):
    """Gathers asks of one event loop.

    Attributes:
        most: Asks that are answered together.
        hands: Groups that are answered side by side, so that a slow one does not hold up all.
    """

    def __init__(self, *, most: int = 32, hands: int = 2) -> None:
        """Begin with nobody waiting."""
        self.most, self.hands = most, hands
        self._waiting: deque[tuple[Ask, asyncio.Future[Answer]]] = deque()
        self._busy: set[asyncio.Task[None]] = set()

    async def __call__(self, answer: Together[Ask, Answer], ask: Ask) -> Answer:
        """The answer to one ask.

        Args:
            answer: Gives one answer or error for each ask, in order; runs in a thread.
            ask: What is wanted.

        Raises:
            Exception: the error that was given for this ask, or that ended all of them.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, future))
        if len(self._busy) < self.hands:
            task = asyncio.create_task(self._serve_all(answer))
            self._busy.add(task)
        return await future

    async def _serve_all(self, answer: Together[Ask, Answer]) -> None:
        try:
            await self._serve(answer)
        finally:
            # At once: when the task's callbacks run, an ask may have come that counts on it.
            self._busy.discard(asyncio.current_task())

    async def _serve(self, answer: Together[Ask, Answer]) -> None:
        while self._waiting:
            group = [self._waiting.popleft() for _ in range(min(self.most, len(self._waiting)))]
            try:
                answers = await sync_to_thread(answer, [ask for ask, _ in group])
            except Exception as error:
                answers = [error] * len(group)
                if len(group) > 1:  # so that one whose ask is a trap does not fail the others
                    answers = [await self._alone(answer, ask) for ask, _ in group]
            for (_, future), one in zip(group, answers, strict=True):
                if future.done():  # its asker has gone
                    continue
                if isinstance(one, Exception):
                    future.set_exception(one)
                else:
                    future.set_result(one)

    async def _alone(self, answer: Together[Ask, Answer], ask: Ask) -> Answer | Exception:
        try:
            (one,) = await sync_to_thread(answer, [ask])
        except Exception as error:
            return error
        return one
