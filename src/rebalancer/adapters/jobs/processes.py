"""Jobs in child processes: they can be killed, and what they do holds nobody else up."""

from __future__ import annotations

import atexit
import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

import attrs

from rebalancer.domain.errors import Unavailable
from rebalancer.domain.jobs.job import Job

log = logging.getLogger("rebalancer.jobs")

_LEFT = 75
"""Exit code of a child that had to go."""

_PATIENCE = 4.0
"""Seconds that children have to put their jobs back."""


class Perform(Protocol):
    """What a child does; it must be picklable."""

    def __call__(
        self, job: Job, *, should_stop: Callable[[], bool], exit_process: Callable[[], None]
    ) -> None:
        """Do a job that has begun, and keep the outcome.

        Args:
            job: As it is kept.
            should_stop: Whether this process has to go.
            exit_process: Ends this process.
        """


class ChildProcesses:
    """A few processes that begin when jobs come, and are replaced when they die.

    Each is at the other end of a pipe of its own. The workers of a usual pool share a queue and its
    locks: one that is killed while it holds a lock leaves all others locked out. Here a death is an
    end of file for one caller, at whatever moment it comes.

    A child ends with its parent, and puts its job back when it gets SIGTERM.
    """

    def __init__(self, perform: Perform, *, at_once: int, limit: float) -> None:
        """Begin with no process.

        Args:
            perform: What a child does.
            at_once: How many jobs run side by side; who asks for more waits.
            limit: Seconds after which a child is killed, should it not stop by itself.
        """
        self._perform = perform
        self._at_once = at_once
        self._limit = limit
        self._changed = threading.Condition()
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._context = multiprocessing.get_context("spawn")
        # A plain byte, with no lock that a killed child could hold for ever.
        self._told: Any = self._context.RawValue(ctypes.c_bool, False)
        self._closed = False
        atexit.register(self.close)  # before Python waits for its children, idle ones too

    @contextmanager
    def reserve(self) -> Iterator[Callable[[Job], None]]:
        """See `JobExecutor.reserve`."""
        child = self._ready()
        try:
            yield lambda job: self._done(child, job)
        finally:
            self._put_back(child)

    def close(self) -> None:
        """Have every child put its job back and end."""
        with self._changed:
            self._closed = True
            self._told.value = True
            self._changed.notify_all()
            while self._idle:
                self._idle.pop().dismiss()
            self._changed.wait_for(lambda: not self._busy, _PATIENCE)
            for child in self._busy:
                child.process.kill()
            self._changed.wait_for(lambda: not self._busy)
        atexit.unregister(self.close)

    def _done(self, child: _Child, job: Job) -> None:
        try:
            child.do(job, self._limit)
        except RuntimeError:
            if self._closed:  # it had to go, and may not have found the time to say so
                raise Unavailable("no more jobs are done here") from None
            raise

    def _ready(self) -> _Child:
        """A child that answers, and has no job.

        Raises:
            Unavailable: no more jobs are done here, or a new child died while it began.
        """
        while True:
            child, fresh = self._taken()
            if child.answers():
                return child
            self._put_back(child)  # it died while it had nothing to do
            if fresh and not self._closed:
                raise Unavailable(f"nobody can do jobs here: {child.end()}")

    def _taken(self) -> tuple[_Child, bool]:
        """A child that has no job, and whether it is new."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._busy) < self._at_once)
            if self._closed:
                raise Unavailable("no more jobs are done here")
            fresh = not self._idle
            child = _Child(self._context, self._perform, self._told) if fresh else self._idle.pop()
            self._busy.add(child)
            return child, fresh

    def _put_back(self, child: _Child) -> None:
        with self._changed:
            self._busy.discard(child)
            if child.lives and not self._closed:
                self._idle.append(child)
            else:
                child.dismiss()
            self._changed.notify_all()


class _Child:
    """A process, as its parent sees it. One thread at a time has to do with it."""

    def __init__(self, context: Any, perform: Perform, told: Any) -> None:
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve,
            args=(theirs, perform, told, _formatter(), log.getEffectiveLevel()),
            name="jobs",
        )
        self.process.start()
        theirs.close()

    @property
    def lives(self) -> bool:
        return bool(self.process.is_alive())

    def answers(self) -> bool:
        """Whether it is there, and ready; a new one takes a second."""
        try:
            self._pipe.send(None)
            self._pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return False
        return True

    def do(self, job: Job, limit: float) -> None:
        """Have a job done, and wait until it is over.

        Raises:
            Unavailable: the store does not answer.
            RuntimeError: something else went wrong, or the process died.
        """
        try:
            self._pipe.send(job)
            if not self._pipe.poll(limit):
                self.process.kill()
            error = self._pipe.recv()
        except (EOFError, OSError):
            raise RuntimeError(self.end()) from None
        if error is not None:
            raise error

    def end(self) -> str:
        """How the process came to its end."""
        self.process.join()
        for _ in range(100):  # another thread, which starts a process, may have learned it first
            if self.process.exitcode is not None:
                break
            time.sleep(0.001)
        return f"its process ended with code {self.process.exitcode}"

    def dismiss(self) -> None:
        """Let it end, which it does once nobody is at this end of the pipe."""
        self._pipe.close()
        if not wait([self.process.sentinel], _PATIENCE):
            self.process.kill()
        self.process.join()


def _formatter() -> logging.Formatter | None:
    """How this process writes its log, so that its children write as it does."""
    handlers = [each for each in logging.getLogger().handlers if _plain(each)]
    return handlers[0].formatter if handlers else None


def _plain(handler: logging.Handler) -> bool:
    return type(handler) is logging.StreamHandler


# What follows runs in a child.


@attrs.define
class _Self:
    """What a child knows of itself."""

    busy: bool = False
    terminated: bool = False


_self = _Self()


def _serve(
    parent: Connection, perform: Perform, told: Any, formatter: logging.Formatter | None, level: int
) -> None:
    """Do one job after another until nobody is at the other end."""
    _prepare(formatter, level)
    with suppress(EOFError, OSError):
        while True:
            job = parent.recv()
            if job is None:  # whether we are there
                parent.send(None)
                continue
            _self.busy = True
            answer = _done(perform, job, lambda: _self.terminated or bool(told.value))
            _self.busy = False
            if _self.terminated:
                _leave()
            parent.send(answer)


def _prepare(formatter: logging.Formatter | None, level: int) -> None:
    """Make ready, before what computes is imported."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    if formatter is not None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(formatter)
        logging.getLogger().addHandler(handler)
    logging.getLogger("rebalancer").setLevel(level)
    # What is meant for the parent, such as Ctrl-C, is for it alone, who then tells us.
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminate)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _done(perform: Perform, job: Job, should_stop: Callable[[], bool]) -> Exception | None:
    """Do a job; what went wrong, as it can be sent."""
    try:
        perform(job, should_stop=should_stop, exit_process=_leave)
    except Unavailable as error:
        return Unavailable(str(error))
    except Exception as error:
        log.exception("job %s could not be done", job.id)
        return RuntimeError(f"{type(error).__name__}: {error}")
    return None


def _terminate(*_: object) -> None:
    """Whoever watches over the job sees to it, and ends this process; without one, it ends now."""
    _self.terminated = True
    if not _self.busy:
        os._exit(_LEFT)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _leave() -> None:
    logging.shutdown()
    os._exit(_LEFT)
