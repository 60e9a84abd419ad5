"""Jobs on Redis: a SAQ queue delivers them to a worker with room.

Only ids travel; the store holds the jobs. So the queue may lose a delivery, or deliver twice.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import UUID

import attrs
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from saq import Worker
from saq.job import Job as Delivery
from saq.queue.redis import RedisQueue

from rebalancer.application.resilience import OutageLog
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.jobs.job import Job

log = logging.getLogger("rebalancer.jobs")

_AWAY = (RedisError, OSError, asyncio.TimeoutError)

_FUNCTION = "do"
"""Name that deliveries carry for `QueueWorker._deliver`."""

_DEQUEUE_TIMEOUT = 1.0
_EARLY_RETRY = 0.1
"""Seconds after which a delivery that came a little early is tried again."""


_Connected = tuple[asyncio.AbstractEventLoop, threading.Thread, "_Queue"]


@attrs.define(eq=False)
class QueuedJobs:
    """Submits jobs to the queue from any thread; connects with the first job.

    Args:
        url: URL of the Redis server.
        name: Name of the queue; deployments that share a server use different ones.
        timeout: Seconds that the server has to answer.
    """

    _url: str
    _name: str = attrs.field(default="rebalancer", kw_only=True)
    _timeout: float = attrs.field(default=2.0, kw_only=True)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _connected: _Connected | None = attrs.field(default=None, init=False)

    def submit(self, job: Job) -> None:
        loop, _, queue = self._connect()
        submitted = asyncio.run_coroutine_threadsafe(queue.deliver(job), loop)
        try:
            submitted.result(self._timeout)
        except (*_AWAY, TimeoutError) as error:
            submitted.cancel()
            log.warning("the job queue does not answer: %s", str(error) or type(error).__name__)
            raise Unavailable(
                "the job queue does not answer; try again", code="job_queue_away"
            ) from error

    def close(self) -> None:
        with self._lock:
            connected, self._connected = self._connected, None
        if connected is not None:
            loop, thread, queue = connected
            asyncio.run_coroutine_threadsafe(queue.disconnect(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _connect(self) -> _Connected:
        with self._lock:
            if self._connected is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=loop.run_forever, name="queue", daemon=True)
                thread.start()
                self._connected = loop, thread, _Queue(self._url, self._name, self._timeout)
            return self._connected


@attrs.define(eq=False, kw_only=True, slots=False)
class QueueWorker:
    """Takes jobs from the queue and runs a few of them in parallel.

    Args:
        url: URL of the Redis server.
        claim: Runs a job; returns it if it must be delivered again.
        stop: Releases the running jobs.
        at_once: Maximum number of jobs that run in parallel.
        name: As of `QueuedJobs`.
        heartbeat: Seconds after which the queue drops a delivery without a heartbeat.
        sweep_interval: Seconds between two searches for such deliveries.
        timeout: Seconds that the server has to answer.
        release_timeout: Seconds that running jobs have to be released.
    """

    _url: str = attrs.field(kw_only=False)
    _claim: Callable[[UUID], Job | None] = attrs.field(kw_only=False)
    _stop: Callable[[], None]
    _at_once: int = 1
    _name: str = "rebalancer"
    _heartbeat: int = 30
    _sweep_interval: int = 15
    _timeout: float = 5.0
    _release_timeout: float = 10.0
    _stopped: threading.Event = attrs.field(factory=threading.Event, init=False)
    _wake: Callable[[], object] = attrs.field(default=lambda: None, init=False)
    running: set[asyncio.Future[Any]] = attrs.field(factory=set, init=False)
    """Deliveries, and the threads that run their jobs."""

    def __attrs_post_init__(self) -> None:
        # SAQ logs a traceback for each second without Redis; this module logs each outage once.
        logging.getLogger("saq").setLevel(logging.CRITICAL)

    def run(self, *, grace: float) -> None:
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="job") as self._threads:
            asyncio.run(self._work(grace))

    def stop(self) -> None:
        self._stopped.set()
        self._wake()

    async def _work(self, grace: float) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(stopped.set)
        if self._stopped.is_set():
            return
        self._queue = _Queue(self._url, self._name, self._timeout, self._heartbeat)
        worker = _Worker(
            self._queue,
            [(_FUNCTION, self._deliver)],
            concurrency=self._at_once,
            dequeue_timeout=_DEQUEUE_TIMEOUT,
            timers={"schedule": 1, "worker_info": 10, "sweep": self._sweep_interval, "abort": 5},
        )
        working = asyncio.create_task(worker.start())
        try:
            await stopped.wait()
            self._queue.closing = True
            if not await self._is_idle(within=grace):
                log.info("releasing %d jobs", len(self.running))
                await asyncio.to_thread(self._stop)
                await self._is_idle(within=self._release_timeout)
        finally:
            self._wake = lambda: None
            await worker.stop()
            await working
            await self._queue.disconnect()

    async def _is_idle(self, within: float) -> bool:
        if self.running:
            await asyncio.wait(self.running, timeout=within)
        return not self.running

    async def _deliver(self, context: dict[str, Any], *, id: str) -> None:
        """Run the job of a delivery; SAQ calls this."""
        task = asyncio.current_task()
        assert task is not None
        self._track(task)
        beat = asyncio.create_task(self._beat(context["job"]))
        try:
            again = await self._run(UUID(id))
            while again is not None and _key(again) == context["job"].key:
                # The delivery came early by this machine's clock. SAQ would take a second delivery
                # of the same key for the first, which still runs.
                await asyncio.sleep(max(again.due.timestamp() - time.time(), _EARLY_RETRY))
                again = None if self._queue.closing else await self._run(again.id)
            if again is not None:
                await self._queue.deliver(again)
        except Unavailable as error:
            log.warning("job %s waits: %s", id, error)
        except _AWAY as error:
            log.warning("job %s waits for Redis: %s", id, str(error) or type(error).__name__)
        except Exception:
            log.exception("job %s could not be claimed", id)
        finally:
            beat.cancel()

    def _run(self, id: UUID) -> asyncio.Future[Job | None]:
        """Run a job in a thread; it goes on, and is waited for, even if SAQ drops the delivery."""
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._claim, id)
        self._track(running)
        return asyncio.shield(running)

    def _track(self, future: asyncio.Future[Any]) -> None:
        self.running.add(future)
        future.add_done_callback(self.running.discard)

    async def _beat(self, delivery: Delivery) -> None:
        while True:
            await asyncio.sleep(self._heartbeat / 4)
            with suppress(*_AWAY):
                await delivery.update()


class _Worker(Worker[Any]):
    """SAQ's worker, without its signal handlers."""

    SIGNALS: list[signal.Signals] = []  # noqa: RUF012  # as declared by SAQ

    async def process(self) -> bool:
        """Process a delivery; ignore an outage of Redis, as the store has the job."""
        try:
            return bool(await super().process())
        except _AWAY:
            return False


class _Queue(RedisQueue):
    """SAQ's queue, which survives outages of Redis."""

    def __init__(self, url: str, name: str, timeout: float, heartbeat: int = 30) -> None:
        client = Redis.from_url(
            url.replace("valkey", "redis", 1) if url.startswith("valkey") else url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 1),  # replaces a connection that a restart has closed
        )
        super().__init__(client, name=name)
        self.closing = False
        self._heartbeat = heartbeat
        self._outage = OutageLog(log, "Redis is unavailable; jobs wait", "Redis answers again")

    async def disconnect(self) -> None:
        """Close the connections, whether or not the server answers; SAQ would unsubscribe first."""
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()

    async def deliver(self, job: Job) -> None:
        """Deliver a job when it is due, once for each due time."""
        due = job.due.timestamp()
        await self.enqueue(
            _FUNCTION,
            key=_key(job),
            scheduled=math.ceil(due) if due > time.time() else 0,
            timeout=0,  # jobs have time limits of their own
            heartbeat=self._heartbeat,
            retries=1,
            ttl=-1,
            id=str(job.id),
        )

    async def sweep(self, lock: int = 60, abort: float = 5.0) -> list[str]:
        """Drop deliveries without a heartbeat, except those that end at this moment."""
        try:
            return list(await super().sweep(lock, abort))
        except (*_AWAY, RuntimeError):
            return []

    async def dequeue(self, timeout: float = 0.0, poll_interval: float = 0.0) -> Delivery | None:
        """Return the next delivery; None after the time-out."""
        if self.closing:
            await asyncio.sleep(3600)  # until the worker ends
        try:
            delivery = await super().dequeue(timeout, poll_interval)
        except _AWAY as error:
            self._outage.failed(error)
            await asyncio.sleep(_DEQUEUE_TIMEOUT)
            return None
        self._outage.succeeded()
        if delivery is not None and self.closing:
            await self.retry(delivery, "the worker stops")
            return None
        return delivery


def _key(job: Job) -> str:
    """Return the key of a delivery; a job has another one for each due time."""
    return f"{job.id}:{job.due.timestamp():.6f}"
