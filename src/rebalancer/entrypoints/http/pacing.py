"""Answers whose time reveals nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SHORTEST = 0.25
"""Seconds; longer than the work takes on a server that is not overloaded."""


@asynccontextmanager
async def at_a_steady_pace() -> AsyncIterator[None]:
    """Let a block take at least `SHORTEST` seconds, unless it raises.

    The work for an address with an account differs from that for one without by about a
    millisecond, such as the decryption of a row. An error does not depend on the account.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + SHORTEST
    yield
    await asyncio.sleep(ends - loop.time())
