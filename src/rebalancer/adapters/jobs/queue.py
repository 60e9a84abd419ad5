"""Jobs on Redis: a SAQ queue delivers them to whichever worker has room.

Only ids travel, and the store says what is to be done; so the queue may forget everything, or
deliver twice.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from saq import Worker
from saq.job import Job as Delivery
from saq.queue.redis import RedisQueue

from rebalancer.domain.errors import Unavailable
from rebalancer.domain.jobs.job import Job

log = logging.getLogger("rebalancer.jobs")

NAME = "rebalancer"
"""Of the queue; who shares a server with other deployments gives each another one."""

_GRACE_TO_PUT_BACK = 10.0
"""Seconds."""

T = TypeVar("T")

_AWAY = (RedisError, OSError, asyncio.TimeoutError)
_DO = "do"
_ASK = 1.0
"""Seconds that taking a delivery waits for one."""

_SOON = 0.1
"""Seconds after which a job is tried that came a little early."""


class QueuedJobs:
    """Hands jobs to the queue, from any thread; it connects when the first one comes."""

    def __init__(self, url: str, *, name: str = NAME, patience: float = 2.0) -> None:
        """Prepare to use a server.

        Args:
            url: Of the server.
            name: Of the queue.
            patience: Seconds that the server has to answer.
        """
        self._url = url
        self._name = name
        self._patience = patience
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._queue: _Queue | None = None

    def submit(self, job: Job) -> None:
        """See `JobRunner.submit`."""
        self._ask(lambda queue: queue.deliver(job))

    def close(self) -> None:
        """Let the server go."""
        with self._lock:
            loop, thread, queue = self._loop, self._thread, self._queue
            self._loop = self._thread = self._queue = None
        if loop is not None and thread is not None and queue is not None:
            asyncio.run_coroutine_threadsafe(queue.disconnect(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _ask(self, question: Callable[[_Queue], Coroutine[Any, Any, T]]) -> T:
        loop, queue = self._connected()
        asked = asyncio.run_coroutine_threadsafe(question(queue), loop)
        try:
            return asked.result(self._patience)
        except (*_AWAY, TimeoutError) as error:
            asked.cancel()
            log.warning("the job queue does not answer: %s", _said(error))
            raise Unavailable("the job queue does not answer; try again") from error

    def _connected(self) -> tuple[asyncio.AbstractEventLoop, _Queue]:
        with self._lock:
            if self._loop is None or self._queue is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="queue", daemon=True
                )
                self._thread.start()
                self._queue = _Queue(self._url, self._name, self._patience)
            return self._loop, self._queue


class QueueWorker:
    """Takes jobs from the queue and has them done, a few side by side."""

    def __init__(
        self,
        url: str,
        do: Callable[[UUID], Job | None],
        *,
        stop: Callable[[], None],
        at_once: int = 1,
        name: str = NAME,
        heartbeat: int = 30,
        tidy: int = 15,
    ) -> None:
        """Prepare to work.

        Args:
            url: Of the server.
            do: Does one job, and gives it back if it is to be delivered again.
            stop: Has the jobs that are being done put back.
            at_once: How many are done side by side.
            name: Of the queue.
            heartbeat: Seconds after which the queue forgets a delivery that nobody attends to.
            tidy: How often it looks for such, in seconds.
        """
        # It tells of each second without Redis, with a traceback; what matters is told here.
        logging.getLogger("saq").setLevel(logging.CRITICAL)
        self._url = url
        self._name = name
        self._do = do
        self._stop = stop
        self._at_once = at_once
        self._heartbeat = heartbeat
        self._tidy = tidy
        self._told = threading.Event()
        self._wake: Callable[[], object] = lambda: None
        self._running: set[asyncio.Future[Any]] = set()  # deliveries, and what is done for them

    def run(self, *, grace: float) -> None:
        """See `Worker.run`."""
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="job") as self._threads:
            asyncio.run(self._work(grace))

    def stop(self) -> None:
        """See `Worker.stop`."""
        self._told.set()
        self._wake()

    async def _work(self, grace: float) -> None:
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(told.set)
        if self._told.is_set():
            return
        self._queue = _Queue(self._url, self._name, patience=5.0, heartbeat=self._heartbeat)
        worker = _Worker(
            self._queue,
            [(_DO, self._deliver)],
            concurrency=self._at_once,
            dequeue_timeout=_ASK,
            timers={"schedule": 1, "worker_info": 10, "sweep": self._tidy, "abort": 5},
        )
        working = asyncio.create_task(worker.start())
        try:
            await told.wait()
            self._queue.closing = True
            if not await self._rests(grace):
                log.info("%d jobs are put back", len(self._running))
                await asyncio.to_thread(self._stop)
                await self._rests(_GRACE_TO_PUT_BACK)
        finally:
            self._wake = lambda: None
            await worker.stop()
            await working
            await self._queue.disconnect()

    async def _rests(self, within: float) -> bool:
        """Whether nothing runs any more."""
        if self._running:
            await asyncio.wait(self._running, timeout=within)
        return not self._running

    async def _deliver(self, context: dict[str, Any], *, id: str) -> None:
        """What SAQ calls."""
        task = asyncio.current_task()
        assert task is not None
        self._waited_for(task)
        beat = asyncio.create_task(self._attend(context["job"]))
        try:
            again = await self._done(UUID(id))
            while again is not None and _key(again) == context["job"].key:
                # It came early, by our clock. Delivered again under the same name it would count
                # as being under way still.
                await asyncio.sleep(max(again.due.timestamp() - time.time(), _SOON))
                again = None if self._queue.closing else await self._done(again.id)
            if again is not None:
                await self._queue.deliver(again)
        except Unavailable as error:
            log.warning("job %s waits: %s", id, error)
        except _AWAY as error:
            log.warning("job %s waits, as Redis is away: %s", id, _said(error))
        except Exception:
            log.exception("job %s could not be done", id)
        finally:
            beat.cancel()

    def _done(self, id: UUID) -> asyncio.Future[Job | None]:
        """Have it done; that goes on, and is waited for, even if SAQ should give it up."""
        doing = asyncio.get_running_loop().run_in_executor(self._threads, self._do, id)
        self._waited_for(doing)
        return asyncio.shield(doing)

    def _waited_for(self, future: asyncio.Future[Any]) -> None:
        self._running.add(future)
        future.add_done_callback(self._running.discard)

    async def _attend(self, delivery: Delivery) -> None:
        while True:
            await asyncio.sleep(self._heartbeat / 4)
            with suppress(*_AWAY):
                await delivery.update()


class _Worker(Worker[Any]):
    """SAQ's, with signals left to whoever runs it."""

    SIGNALS: list[signal.Signals] = []  # noqa: RUF012  # as SAQ has it

    async def process(self) -> bool:
        """One delivery, unless Redis goes away with it: then the store knows what to do."""
        try:
            return bool(await super().process())
        except _AWAY:
            return False


class _Queue(RedisQueue):
    """SAQ's, which knows how a job is delivered, and bears that the server is away."""

    def __init__(self, url: str, name: str, patience: float, heartbeat: int = 30) -> None:
        client = Redis.from_url(
            url.replace("valkey", "redis", 1) if url.startswith("valkey") else url,
            socket_timeout=patience,
            socket_connect_timeout=patience,
            retry=Retry(NoBackoff(), 1),  # a connection that a restart has cut is made anew
        )
        super().__init__(client, name=name)
        self.closing = False
        self._heartbeat = heartbeat
        self._away_since: float | None = None

    async def disconnect(self) -> None:
        """Hang up, whether or not the server is there; we have subscribed to nothing."""
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()

    async def deliver(self, job: Job) -> None:
        """Have a job begun when it is due; once for each time that it waits."""
        await self.enqueue(
            _DO,
            key=_key(job),
            scheduled=_second(job.due),
            timeout=0,  # jobs watch over themselves
            heartbeat=self._heartbeat,
            retries=1,
            ttl=-1,
            id=str(job.id),
        )

    async def sweep(self, lock: int = 60, abort: float = 5.0) -> list[str]:
        """Forget deliveries that nobody attends to, but for those that end this moment."""
        try:
            return list(await super().sweep(lock, abort))
        except (*_AWAY, RuntimeError):
            return []

    async def dequeue(self, timeout: float = 0.0, poll_interval: float = 0.0) -> Delivery | None:
        """The next delivery, unless none comes for a while."""
        if self.closing:
            await asyncio.sleep(3600)  # until the worker ends
        try:
            delivery = await super().dequeue(timeout, poll_interval)
        except _AWAY as error:
            if self._away_since is None:
                self._away_since = time.monotonic()
                log.warning("Redis is away, jobs wait for it: %s", _said(error))
            await asyncio.sleep(_ASK)
            return None
        if self._away_since is not None:
            gone = time.monotonic() - self._away_since
            log.warning("Redis is back after %.0f s", gone)
            self._away_since = None
        if delivery is not None and self.closing:
            await self.retry(delivery, "the worker stops")
            return None
        return delivery


def _key(job: Job) -> str:
    """What a delivery goes by."""
    return f"{job.id}:{job.due.timestamp():.6f}"


def _second(due: datetime) -> int:
    """When to deliver, in whole seconds since 1970; 0: at once."""
    seconds = due.timestamp()
    return math.ceil(seconds) if seconds > time.time() else 0


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
