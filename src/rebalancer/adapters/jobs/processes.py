"""Jobs in child processes: a job can be killed, and does not slow its parent down."""

from __future__ import annotations

import atexit
import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, Protocol

from rebalancer.application.worker_processes import WorkerDied, WorkerProcess
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.jobs.job import Job

log = logging.getLogger("rebalancer.jobs")

_STOPPED = 75
"""Exit code of a child that was asked to stop."""

_ORPHAN_GRACE = 90.0
"""Seconds in which an orphaned child releases its job; longer than `JobSettings.store_timeout`."""


class RunInChild(Protocol):
    """Runs a job in a child process; must be picklable."""

    def __call__(
        self, job: Job, *, should_stop: Callable[[], bool], exit_process: Callable[[], None]
    ) -> None:
        """Run a started job and store the outcome.

        Args:
            job: The job as it is stored.
            should_stop: Whether this process must stop.
            exit_process: Ends this process.
        """


class ChildProcesses:
    """A pool of child processes that start on demand and are replaced when they die.

    A child ends with its parent, and releases its job when it gets SIGTERM.
    """

    def __init__(
        self, run_job: RunInChild, *, at_once: int, timeout: float, stop_timeout: float = 4.0
    ) -> None:
        """Create the pool without a process.

        Args:
            run_job: Runs a job in a child.
            at_once: Maximum number of jobs that run in parallel; further callers wait.
            timeout: Seconds after which a child that does not stop by itself is killed.
            stop_timeout: Seconds that children have to release their jobs when the pool closes.
        """
        self._run_job = run_job
        self._at_once = at_once
        self._timeout, self._stop_timeout = timeout, stop_timeout
        self._changed = threading.Condition()
        self._idle: list[WorkerProcess] = []
        self._busy: set[WorkerProcess] = set()
        # A plain byte, without a lock that a killed child could hold forever.
        self._stop_flag: Any = multiprocessing.get_context("spawn").RawValue(ctypes.c_bool, False)
        self._closed = False
        atexit.register(self.close)  # before Python waits for its children

    @contextmanager
    def reserve(self) -> Iterator[Callable[[Job], None]]:
        child = self._take_responsive()
        try:
            yield lambda job: self._run(child, job)
        finally:
            self._give_back(child)

    def close(self) -> None:
        """Let every child release its job and end."""
        with self._changed:
            self._closed = True
            self._stop_flag.value = True
            self._changed.notify_all()
            while self._idle:
                self._idle.pop().close(self._stop_timeout)
            self._changed.wait_for(lambda: not self._busy, self._stop_timeout)
            for child in self._busy:
                child.kill()
            self._changed.wait_for(lambda: not self._busy)
        atexit.unregister(self.close)

    def _run(self, child: WorkerProcess, job: Job) -> None:
        """Run a job and wait for its end.

        Raises:
            Unavailable: the store does not answer, or the pool is closed.
            RuntimeError: any other error in the child.
            WorkerDied: the child died.
        """
        try:
            child.send(job)
            error = child.receive(timeout=self._timeout)
        except WorkerDied:
            if self._closed:  # the child may have died before it released the job
                raise _shutting_down() from None
            raise
        if error is not None:
            raise error

    def _take_responsive(self) -> WorkerProcess:
        """Take an idle child that answers; raise Unavailable if none can be had."""
        while True:
            child, is_new = self._take()
            try:
                child.send(None)
                child.receive()
                return child
            except WorkerDied as death:
                self._give_back(child)
                if is_new and not self._closed:
                    raise Unavailable(
                        f"could not start a worker process: {death}", code="worker_not_started"
                    ) from None

    def _take(self) -> tuple[WorkerProcess, bool]:
        """Take an idle child or start one; return it and whether it is new."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._busy) < self._at_once)
            if self._closed:
                raise _shutting_down()
            is_new = not self._idle
            child = self._start() if is_new else self._idle.pop()
            self._busy.add(child)
            return child, is_new

    def _start(self) -> WorkerProcess:
        return WorkerProcess(
            *(_serve_jobs, self._run_job, self._stop_flag),
            *(_log_formatter(), log.getEffectiveLevel()),
            daemon=False,
            grace=_ORPHAN_GRACE,
        )

    def _give_back(self, child: WorkerProcess) -> None:
        with self._changed:
            self._busy.discard(child)
            if child.is_alive() and not self._closed:
                self._idle.append(child)
            else:
                child.close(self._stop_timeout)
            self._changed.notify_all()


def _shutting_down() -> Unavailable:
    return Unavailable("the worker is shutting down", code="worker_shutting_down")


def _log_formatter() -> logging.Formatter | None:
    """Return the formatter of this process's log, for its children."""
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:
            return handler.formatter
    return None


# The rest runs in a child.


def _serve_jobs(
    parent: Connection,
    run_job: RunInChild,
    stop_flag: Any,
    formatter: logging.Formatter | None,
    level: int,
) -> None:
    """Run one job after another until the parent hangs up."""
    if formatter is not None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(formatter)
        logging.getLogger().addHandler(handler)
    logging.getLogger("rebalancer").setLevel(level)
    os.setpgid(0, 0)  # signals to the parent's group are for the parent, which sets the flag
    _JobServer(run_job, stop_flag).serve(parent)


class _JobServer:
    """The state of a child process."""

    def __init__(self, run_job: RunInChild, stop_flag: Any) -> None:
        self._run_job = run_job
        self._stop_flag = stop_flag
        self._busy = self._terminated = False
        signal.signal(signal.SIGTERM, self._terminate)

    def serve(self, parent: Connection) -> None:
        with suppress(EOFError, OSError):
            while True:
                job = parent.recv()
                if job is None:  # the parent asks whether this process answers
                    parent.send(None)
                    continue
                self._busy = True
                error = self._run(job)
                self._busy = False
                if self._terminated:
                    _exit()
                parent.send(error)

    def _run(self, job: Job) -> Exception | None:
        """Run a job; return an error that can be sent."""
        try:
            self._run_job(job, should_stop=self._should_stop, exit_process=_exit)
        except Unavailable as error:
            return Unavailable(error.message, code=error.code)
        except Exception as error:
            log.exception("job %s failed outside its handler", job.id)
            return RuntimeError(f"{type(error).__name__}: {error}")
        return None

    def _should_stop(self) -> bool:
        return self._terminated or bool(self._stop_flag.value)

    def _terminate(self, *_: object) -> None:
        """Let the monitor of the running job end this process; without a job, end it now."""
        self._terminated = True
        if not self._busy:
            os._exit(_STOPPED)


def _exit() -> None:
    logging.shutdown()
    os._exit(_STOPPED)
