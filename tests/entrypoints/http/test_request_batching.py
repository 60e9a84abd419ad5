"""Requests that are batched, and the result or error of each."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from rebalancer.entrypoints.http.request_batching import RequestBatcher

Compute = Callable[[Sequence[int]], Sequence[int | Exception]]


class FakeHandler:
    """Computes with a function, and records what it stores and where it computes."""

    def __init__(self, compute: Compute, *, full: bool = False) -> None:
        self._compute, self._full = compute, full
        self.stored: list[int | Exception] = []
        self.in_loop: list[bool] = []

    def compute(self, requests: Sequence[int]) -> Sequence[int | Exception]:
        self.in_loop.append(threading.current_thread() is threading.main_thread())
        return self._compute(requests)

    def store(self, results: Sequence[int | Exception]) -> None:
        assert threading.current_thread() is not threading.main_thread()
        if self._full:
            raise OSError("no space left")
        self.stored += results


@pytest.mark.parametrize(("requests", "in_loop"), [([1, 2], True), ([1, 20], False), ([20], False)])
def test_batch_of_quick_requests_is_computed_in_the_loop(
    requests: list[int], in_loop: bool
) -> None:
    handler = FakeHandler(list)

    async def scene() -> list[int]:
        batcher: RequestBatcher[int, int] = RequestBatcher(is_quick=lambda request: request < 10)
        return await asyncio.gather(*(batcher(handler, request) for request in requests))

    assert asyncio.run(scene()) == requests
    assert handler.in_loop == [in_loop]
    assert handler.stored == requests


def test_failure_to_store_fails_each_request_of_the_batch() -> None:
    async def scene() -> list[int | BaseException]:
        batcher: RequestBatcher[int, int] = RequestBatcher()
        handler = FakeHandler(list, full=True)
        results = (batcher(handler, request) for request in range(3))
        return await asyncio.gather(*results, return_exceptions=True)

    assert [type(result) for result in asyncio.run(scene())] == [OSError] * 3


def test_requests_that_arrive_during_a_batch_form_the_next() -> None:
    batches: list[list[int]] = []
    started, release = threading.Event(), threading.Event()

    def compute(requests: Sequence[int]) -> list[int | Exception]:
        batches.append(list(requests))
        if len(batches) == 1:
            started.set()
            assert release.wait(120)
        return [KeyError(request) if request == 3 else request * 10 for request in requests]

    async def scene() -> list[int | BaseException]:
        batcher: RequestBatcher[int, int] = RequestBatcher(max_batch=4, concurrency=1)
        first = asyncio.create_task(batcher(FakeHandler(compute), 0))
        await asyncio.to_thread(started.wait)
        others = [asyncio.create_task(batcher(FakeHandler(compute), n)) for n in range(1, 7)]
        await asyncio.sleep(0)
        release.set()
        return await asyncio.gather(first, *others, return_exceptions=True)

    results = asyncio.run(scene())
    assert batches == [[0], [1, 2, 3, 4], [5, 6]]
    assert isinstance(results.pop(3), KeyError)
    assert results == [0, 10, 20, 40, 50, 60]


def test_one_failing_request_does_not_fail_its_batch() -> None:
    def compute(requests: Sequence[int]) -> list[int | Exception]:
        if 2 in requests:
            raise ZeroDivisionError
        return list(requests)

    async def scene() -> list[int | BaseException]:
        batcher: RequestBatcher[int, int] = RequestBatcher(concurrency=1)
        results = (batcher(FakeHandler(compute), request) for request in range(5))
        return await asyncio.gather(*results, return_exceptions=True)

    results = asyncio.run(scene())
    assert isinstance(results.pop(2), ZeroDivisionError)
    assert results == [0, 1, 3, 4]


def test_disconnected_client_does_not_block_its_batch() -> None:
    async def scene() -> int:
        batcher: RequestBatcher[int, int] = RequestBatcher(concurrency=1)
        disconnected = asyncio.create_task(batcher(FakeHandler(list), 1))
        connected = asyncio.create_task(batcher(FakeHandler(list), 2))
        await asyncio.sleep(0)
        disconnected.cancel()
        with pytest.raises(asyncio.CancelledError):
            await disconnected
        return await connected

    assert asyncio.run(scene()) == 2


def test_request_that_arrives_as_a_batch_ends_is_handled() -> None:
    async def scene() -> list[int]:
        batcher: RequestBatcher[int, int] = RequestBatcher(concurrency=1)
        return [await batcher(FakeHandler(list), request) for request in range(50)]

    assert asyncio.run(asyncio.wait_for(scene(), 120)) == list(range(50))
