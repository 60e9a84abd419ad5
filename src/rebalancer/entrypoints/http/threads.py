"""Run blocking functions without blocking the event loop.

Use cases are blocking functions. An embedded store reads a row in less time than a thread takes to
start: the event loop runs such a read inline.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from litestar.concurrency import sync_to_thread

P = ParamSpec("P")
T = TypeVar("T")


async def run_in_thread(function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> T:
    """Run a slow function in a thread."""
    return await sync_to_thread(function, *arguments, **options)


async def run_inline(function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> T:
    """Run a function that takes less time than handing it to a thread."""
    return function(*arguments, **options)
