"""From the event loop to plain functions, and back.

Use cases are plain functions, and run in threads so that the loop goes on meanwhile. An embedded
store reads one row in less time than it takes to reach a thread: there the loop asks it itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from litestar.concurrency import sync_to_thread

P = ParamSpec("P")
T = TypeVar("T")


async def run_in_thread(function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> T:
    """For whatever takes its time."""
    return await sync_to_thread(function, *arguments, **options)


async def run_inline(function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> T:
    """For what is done before a thread would have begun."""
    return function(*arguments, **options)
