"""Measure the web client: its start in a browser, and many open windows on one process.

The windows of the load are not browsers, which would measure themselves: a small client speaks the
protocol of Flet's socket, as the browser's part of the app does.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs

from benchmarks.figures import Figure

SESSIONS = 50
SECONDS = 60.0
PAUSE = 5.0
"""Seconds between two taps of one person."""

_REGISTER, _PATCH, _EVENT, _INVOKE = 1, 2, 3, 5
_PACKED = b"\x00"
_HIDE, _SHOW = "Hide amounts", "Show amounts"


def figures() -> Iterator[Figure]:
    from tests.e2e.conftest import serving

    settings = {
        "REBALANCER_PRICES": "sample",
        "REBALANCER_LOG_LEVEL": "warning",
        "REBALANCER_RATE_LIMIT": "0",  # all clients share one address
        "REBALANCER_LOGIN_LIMIT": "0",
    }
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as serve:
        running = serve("--upgrade", "--demo", "--app", env=settings | {"REBALANCER_CACHE": folder})
        address = running.address.replace("127.0.0.1", "localhost")
        yield from _starts(address)
        yield from _windows(address, running.process.pid)


@attrs.frozen
class _Start:
    """What one start of the app in a browser took: bytes received, and seconds."""

    received: float
    painted: float
    usable: float


def _starts(address: str) -> Iterator[Figure]:
    """Start the app with an empty cache, then twice with a full one, and keep the faster."""
    from rebalancer.entrypoints.schemas import examples
    from tests.app_window import AppWindow, open_window
    from tests.browser import open_browser

    def start(window: AppWindow) -> _Start:
        network = window.page.context.new_cdp_session(window.page)
        received: list[float] = []
        network.on("Network.loadingFinished", lambda it: received.append(it["encodedDataLength"]))
        network.send("Network.enable")
        begin = time.perf_counter()
        window.open("/")
        window.see("Total value")
        usable = time.perf_counter() - begin
        painted = window.page.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1e3"
        )
        network.detach()
        return _Start(sum(received), float(painted), usable)

    with open_browser() as browser, open_window(browser, address) as window:
        window.page.goto(f"{address}/sign-in")
        login = {"email": examples.EMAIL, "password": examples.PASSWORD}
        answer = window.page.evaluate(
            """async login => (await fetch("/session/in/password", {method: "POST",
                headers: {"Content-Type": "application/json"}, body: login})).status""",
            json.dumps(login),
        )
        if answer != 200:
            raise RuntimeError(f"the sign-in was answered with {answer}")
        cold = start(window)
        warm = min((start(window) for _ in range(2)), key=lambda each: each.usable)
    note = (
        "Chromium without a graphics card on the machine of the server; usable: the home screen "
        "shows the total value. The first start compresses the files, too. Received: "
        f"{cold.received / 1e6:.1f} MB cold, {warm.received / 1e3:.0f} kB warm."
    )
    for what, one, aim in (("empty", cold, 5.0), ("full", warm, 2.5)):
        yield Figure(
            subject="app", what=f"App, {what} cache: first paint", unit="s", ours=one.painted
        )
        yield Figure(
            subject="app",
            what=f"App, {what} cache: usable",
            unit="s",
            ours=one.usable,
            aim=aim,
            note=note,
        )


@attrs.define
class _Window:
    """A window of the app, as the server sees it."""

    socket: Any
    waits: list[float] = attrs.field(factory=list)
    buttons: dict[str, int] = attrs.field(factory=dict)
    _drawn: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)

    async def register(self) -> None:
        """Introduce the window; the server then draws the app."""
        page = {"route": "/", "width": 390, "height": 844, "web": True, "platform": "android"}
        await self._send(_REGISTER, {"session_id": "", "page_name": "", "page": page})

    async def listen(self) -> None:
        """Take in what the server sends, and answer its calls with nothing."""
        import msgpack

        async for frame in self.socket:
            action, body = msgpack.unpackb(frame[1:], strict_map_key=False)
            if action == _PATCH:
                self._note(body)
                self._drawn.set()
            elif action == _REGISTER:
                self._note(body)
            elif action == _INVOKE:
                answer = {"control_id": body["control_id"], "call_id": body["call_id"]}
                await self._send(_INVOKE, answer | {"result": None, "error": None})

    async def wait_for_home(self) -> None:
        """Wait until the total value is drawn, with its button."""
        while not self.buttons:
            self._drawn.clear()
            await asyncio.wait_for(self._drawn.wait(), 60)

    async def tap(self) -> None:
        """Hide or show the amounts; note how long the drawing took to arrive."""
        self._drawn.clear()
        begin = time.perf_counter()
        target = next(iter(self.buttons.values()))
        await self._send(_EVENT, {"target": target, "name": "click", "data": None})
        await asyncio.wait_for(self._drawn.wait(), 60)
        self.waits.append(time.perf_counter() - begin)

    async def _send(self, action: int, body: dict[str, Any]) -> None:
        import msgpack

        await self.socket.send(_PACKED + msgpack.packb([action, body]))

    def _note(self, drawn: Any) -> None:
        """Remember the button for the amounts wherever it is drawn."""
        if isinstance(drawn, dict):
            label = drawn.get("tooltip")
            if label in (_HIDE, _SHOW) and "_i" in drawn:
                self.buttons = {str(label): drawn["_i"]}
            drawn = list(drawn.values())
        if isinstance(drawn, list):
            for part in drawn:
                self._note(part)


def _windows(address: str, process: int) -> Iterator[Figure]:
    """Open windows of as many sessions, and tap in each of them for a while."""
    import psutil

    server = psutil.Process(process)
    family = [server, *server.children(recursive=True)]

    def resident() -> float:
        return float(sum(one.memory_info().rss for one in family)) / 1e6

    def busy() -> float:
        return float(sum(sum(one.cpu_times()[:2]) for one in family))

    opened, waits, before, after, share = asyncio.run(_use(address, resident, busy))
    cuts = statistics.quantiles(waits, n=100)
    note = (
        f"{SESSIONS} signed-in sessions with a window each on one process for {SECONDS:.0f} s, a "
        f"tap every {PAUSE:.0f} s in each: {len(waits)} taps, of which 99% took less than "
        f"{cuts[98] * 1e3:,.0f} ms. The server used {share:.0%} of a core. A window opened in "
        f"{statistics.median(opened):.2f} s (median), one after another."
    )
    yield Figure(
        subject="app",
        what=f"App, {SESSIONS} sessions: memory of one",
        unit="MB",
        ours=(after - before) / SESSIONS,
        note=note,
    )
    yield Figure(
        subject="app",
        what=f"App, {SESSIONS} sessions: processor time of a tap",
        unit="s",
        ours=share * SECONDS / len(waits),
        note=note,
    )
    for what, cut in (("p50", 49), ("p95", 94)):
        yield Figure(
            subject="app",
            what=f"App, {SESSIONS} sessions: from a tap to its drawing, {what}",
            unit="s",
            ours=cuts[cut],
            note=note,
        )


async def _use(
    address: str, resident: Any, busy: Any
) -> tuple[list[float], list[float], float, float, float]:
    import httpx
    from websockets.asyncio.client import connect

    async with (
        AsyncExitStack() as stack,
        httpx.AsyncClient(
            base_url=address, headers={"Origin": address}, verify=False, timeout=60, trust_env=False
        ) as client,
    ):
        windows: list[_Window] = []
        opened: list[float] = []
        before = 0.0
        for number in range(SESSIONS + 1):
            client.cookies.clear()
            answer = await client.post("/session/in/guest", json={})
            cookie = answer.raise_for_status().cookies["rebalancer_session"]
            begin = time.perf_counter()
            socket = await stack.enter_async_context(
                connect(
                    f"{address.replace('http', 'ws', 1)}/ws",
                    origin=address,  # type: ignore[arg-type]  # a NewType of str
                    additional_headers={"Cookie": f"rebalancer_session={cookie}"},
                    max_size=None,
                    proxy=None,
                )
            )
            window = _Window(socket)
            listening = asyncio.create_task(window.listen())
            stack.callback(listening.cancel)
            await window.register()
            await window.wait_for_home()
            if number == 0:  # what the first window loads serves all
                before = resident()
                continue
            opened.append(time.perf_counter() - begin)
            windows.append(window)
        spent, ends = busy(), time.perf_counter() + SECONDS

        async def use(window: _Window, delay: float) -> None:
            await asyncio.sleep(delay)
            while time.perf_counter() < ends:
                await window.tap()
                await asyncio.sleep(PAUSE)

        await asyncio.gather(*(use(one, PAUSE * at / SESSIONS) for at, one in enumerate(windows)))
        share = (busy() - spent) / SECONDS
        waits = [wait for window in windows for wait in window.waits]
        return opened, waits, before, resident(), share
