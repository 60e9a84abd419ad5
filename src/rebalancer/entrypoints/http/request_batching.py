"""Micro-batching: requests that arrive while a batch runs form the next batch.

A policy computes twenty proposals nearly as fast as one, and one transaction stores all of them. A
request never waits for others to arrive: if it is alone, it is handled alone at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

import attrs

from rebalancer.application.audit import current_origin, current_user
from rebalancer.domain.audit.events import Origin
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in

Request = TypeVar("Request")
Result = TypeVar("Result")
RequestIn = TypeVar("RequestIn", contravariant=True)


class BatchHandler(Protocol[RequestIn, Result]):
    """Handles a batch of requests."""

    def compute(self, requests: Sequence[RequestIn]) -> Sequence[Result | Exception]:
        """Return one result or error for each request, in order."""

    def store(self, results: Sequence[Result | Exception]) -> None:
        """Store the results."""


@attrs.frozen
class _Origin:
    """Where a request came from, and its user, for the log lines of its batch."""

    origin: Origin = attrs.field(factory=lambda: Origin("http"))
    user: UUID | None = None

    @classmethod
    def of_caller(cls) -> _Origin:
        return cls(current_origin.get(), current_user.get())

    def apply(self) -> None:
        current_origin.set(self.origin)
        current_user.set(self.user)


@attrs.define(eq=False, kw_only=True)
class RequestBatcher(Generic[Request, Result]):
    """Batches the requests of one event loop.

    Attributes:
        is_quick: Returns whether computing a request takes less time than a switch of threads. The
            event loop itself computes a batch of such requests, and requests that arrive meanwhile
            form the next batch. Results are always stored in a thread, as the store may block.
        max_batch: Most requests in one batch.
        concurrency: Batches that run at the same time, so that a slow one does not block all.
    """

    is_quick: Callable[[Request], bool] = lambda _: False
    max_batch: int = 32
    concurrency: int = 2
    _waiting: deque[tuple[Request, asyncio.Future[Result], _Origin]] = attrs.field(
        factory=deque, init=False
    )
    _running: set[asyncio.Task[Any] | None] = attrs.field(factory=set, init=False)

    async def __call__(self, handler: BatchHandler[Request, Result], request: Request) -> Result:
        """Return the result of one request.

        Raises:
            Exception: the error of this request, or of its batch.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future, _Origin.of_caller()))
        if len(self._running) < self.concurrency:
            batches = self._run_batches(handler)
            self._running.add(asyncio.create_task(batches, context=Context()))
        return await future

    async def _run_batches(self, handler: BatchHandler[Request, Result]) -> None:
        try:
            while self._waiting:
                await self._run_batch(handler)
        finally:
            # Here and not in a callback of the task: a request that arrives before the callback
            # runs would rely on this task.
            self._running.discard(asyncio.current_task())

    async def _run_batch(self, handler: BatchHandler[Request, Result]) -> None:
        batch = [self._waiting.popleft() for _ in range(min(self.max_batch, len(self._waiting)))]
        # Log lines of a batch of several requests name none of them.
        origin = batch[0][2] if len(batch) == 1 else _Origin()
        origin.apply()
        results = await self._handle(handler, [request for request, _, _ in batch])
        for (_, future, _), result in zip(batch, results, strict=True):
            if future.done():  # the client has disconnected
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    async def _handle(
        self, handler: BatchHandler[Request, Result], requests: list[Request]
    ) -> Sequence[Result | Exception]:
        """Return a result or an error for each request, in order."""
        try:
            if all(map(self.is_quick, requests)):
                results = handler.compute(requests)
            else:
                results = await run_in(READS, handler.compute, requests)
            await run_in(WRITES, handler.store, results)
            return results
        except Exception as error:
            if len(requests) == 1:
                return [error]
            # One request must not fail the others.
            return [one for request in requests for one in await self._handle(handler, [request])]
