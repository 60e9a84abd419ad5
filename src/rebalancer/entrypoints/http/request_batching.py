"""Asks that arrive while others are being answered are answered together.

A policy decides for twenty portfolios nearly as fast as for one, and one transaction keeps twenty
answers. Nobody waits for company: an ask that comes alone is answered alone, at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from rebalancer.entrypoints.http.threads import run_in_thread

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")
Asked = TypeVar("Asked", contravariant=True)


class BatchHandler(Protocol[Asked, Answer]):
    """Who answers."""

    def compute(self, asks: Sequence[Asked]) -> Sequence[Answer | Exception]:
        """One answer or error for each ask, in order."""

    def store(self, answers: Sequence[Answer | Exception]) -> None:
        """Keep them."""


class RequestBatcher(Generic[Ask, Answer]):
    """Gathers asks of one event loop.

    Attributes:
        brief: Whether an ask is considered in less time than threads take to make way for each
            other. If all of a group are, the loop considers them itself, and those who come
            meanwhile are the next group; they are kept in a thread, as that may mean to wait.
        most: Asks that are answered together.
        hands: Groups that are answered side by side, so that a slow one does not hold up all.
    """

    def __init__(
        self, *, brief: Callable[[Ask], bool] = lambda _: False, most: int = 32, hands: int = 2
    ) -> None:
        """Begin with nobody waiting."""
        self.brief, self.most, self.hands = brief, most, hands
        self._waiting: deque[tuple[Ask, asyncio.Future[Answer]]] = deque()
        self._busy: set[asyncio.Task[Any] | None] = set()

    async def __call__(self, handler: BatchHandler[Ask, Answer], ask: Ask) -> Answer:
        """The answer to one ask.

        Raises:
            Exception: the error that was given for this ask, or that ended all of them.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, future))
        if len(self._busy) < self.hands:
            self._busy.add(asyncio.create_task(self._serve_all(handler)))
        return await future

    async def _serve_all(self, handler: BatchHandler[Ask, Answer]) -> None:
        try:
            while self._waiting:
                await self._serve(handler)
        finally:
            # At once: when the task's callbacks run, an ask may have come that counts on it.
            self._busy.discard(asyncio.current_task())

    async def _serve(self, handler: BatchHandler[Ask, Answer]) -> None:
        group = [self._waiting.popleft() for _ in range(min(self.most, len(self._waiting)))]
        answers: Sequence[Answer | Exception]
        try:
            answers = await self._answers(handler, [ask for ask, _ in group])
        except Exception as error:
            answers = [error] * len(group)
            if len(group) > 1:  # so that one whose ask is a trap does not fail the others
                answers = [await self._alone(handler, ask) for ask, _ in group]
        for (_, future), one in zip(group, answers, strict=True):
            if future.done():  # its asker has gone
                continue
            if isinstance(one, Exception):
                future.set_exception(one)
            else:
                future.set_result(one)

    async def _answers(
        self, handler: BatchHandler[Ask, Answer], asks: list[Ask]
    ) -> Sequence[Answer | Exception]:
        if all(map(self.brief, asks)):
            answers = handler.compute(asks)
        else:
            answers = await run_in_thread(handler.compute, asks)
        await run_in_thread(handler.store, answers)
        return answers

    async def _alone(self, handler: BatchHandler[Ask, Answer], ask: Ask) -> Answer | Exception:
        try:
            (one,) = await self._answers(handler, [ask])
        except Exception as error:
            return error
        return one
