"""Asks that come together are answered together, and each gets its own answer or error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from rebalancer.entrypoints.http.request_batching import RequestBatcher

Considered = Callable[[Sequence[int]], Sequence[int | Exception]]


class Desk:
    """Answers as it is told, and remembers what it was to keep, and where it considered."""

    def __init__(self, considered: Considered, *, full: bool = False) -> None:
        self._considered, self._full = considered, full
        self.kept: list[int | Exception] = []
        self.in_loop: list[bool] = []

    def compute(self, asks: Sequence[int]) -> Sequence[int | Exception]:
        self.in_loop.append(threading.current_thread() is threading.main_thread())
        return self._considered(asks)

    def store(self, answers: Sequence[int | Exception]) -> None:
        assert threading.current_thread() is not threading.main_thread()
        if self._full:
            raise OSError("no space left")
        self.kept += answers


@pytest.mark.parametrize(("asks", "in_loop"), [([1, 2], True), ([1, 20], False), ([20], False)])
def test_brief_asks_are_considered_in_the_loop(asks: list[int], in_loop: bool) -> None:
    desk = Desk(list)

    async def scene() -> list[int]:
        batcher: RequestBatcher[int, int] = RequestBatcher(brief=lambda ask: ask < 10)
        return await asyncio.gather(*(batcher(desk, ask) for ask in asks))

    assert asyncio.run(scene()) == asks
    assert desk.in_loop == [in_loop]
    assert desk.kept == asks


def test_what_cannot_be_kept_is_told_to_everybody() -> None:
    async def scene() -> list[int | BaseException]:
        batcher: RequestBatcher[int, int] = RequestBatcher()
        desk = Desk(list, full=True)
        asked = (batcher(desk, ask) for ask in range(3))
        return await asyncio.gather(*asked, return_exceptions=True)

    assert [type(one) for one in asyncio.run(scene())] == [OSError] * 3


def test_those_who_come_meanwhile_are_answered_together() -> None:
    groups: list[list[int]] = []
    go_on = threading.Event()

    def answer(asks: Sequence[int]) -> list[int | Exception]:
        groups.append(list(asks))
        if len(groups) == 1:
            go_on.wait(5)
        return [KeyError(ask) if ask == 3 else ask * 10 for ask in asks]

    async def scene() -> list[int | BaseException]:
        batcher: RequestBatcher[int, int] = RequestBatcher(most=4, hands=1)
        first = asyncio.create_task(batcher(Desk(answer), 0))
        while not groups:
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(batcher(Desk(answer), ask)) for ask in range(1, 7)]
        await asyncio.sleep(0)
        go_on.set()
        return await asyncio.gather(first, *others, return_exceptions=True)

    answers = asyncio.run(scene())
    assert groups == [[0], [1, 2, 3, 4], [5, 6]]
    assert [answer for place, answer in enumerate(answers) if place != 3] == [0, 10, 20, 40, 50, 60]
    assert isinstance(answers[3], KeyError)


def test_a_trap_fails_alone() -> None:
    def answer(asks: Sequence[int]) -> list[int | Exception]:
        if 2 in asks:
            raise ZeroDivisionError
        return list(asks)

    async def scene() -> list[int | BaseException]:
        batcher: RequestBatcher[int, int] = RequestBatcher(hands=1)
        return await asyncio.gather(
            *(batcher(Desk(answer), ask) for ask in range(5)), return_exceptions=True
        )

    answers = asyncio.run(scene())
    assert isinstance(answers.pop(2), ZeroDivisionError)
    assert answers == [0, 1, 3, 4]


def test_somebody_who_has_gone_holds_up_nobody() -> None:
    def answer(asks: Sequence[int]) -> list[int | Exception]:
        return list(asks)

    async def scene() -> int:
        batcher: RequestBatcher[int, int] = RequestBatcher(hands=1)
        leaving = asyncio.create_task(batcher(Desk(answer), 1))
        staying = asyncio.create_task(batcher(Desk(answer), 2))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        return await staying

    assert asyncio.run(scene()) == 2


def test_nobody_is_forgotten_who_comes_as_a_group_ends() -> None:
    async def scene() -> list[int]:
        batcher: RequestBatcher[int, int] = RequestBatcher(hands=1)
        return [await batcher(Desk(list), ask) for ask in range(50)]

    assert asyncio.run(asyncio.wait_for(scene(), 5)) == list(range(50))
