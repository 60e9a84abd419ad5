"""Jobs in child processes: they can be killed, and what they do holds nobody else up."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any, Protocol

import attrs
from pebble import ProcessExpired, ProcessPool

from rebalancer.application.ports.jobs import Job
from rebalancer.domain.errors import Unavailable

log = logging.getLogger("rebalancer.jobs")

_LEFT = 75
"""Exit code of a child that had to go; not 0, which the pool takes for having no job."""


class Perform(Protocol):
    """What a child does; it must be picklable."""

    def __call__(self, job: Job, *, told: Callable[[], bool], leave: Callable[[], None]) -> None:
        """Do a job that has begun, and keep the outcome.

        Args:
            job: As it is kept.
            told: Whether this process has to go.
            leave: Ends this process.
        """


class ChildProcesses:
    """A pool of processes that begin when the first job comes, and are replaced when they die.

    A child ends with its parent, and puts its job back when it gets SIGTERM.
    """

    def __init__(self, perform: Perform, *, at_once: int, limit: float) -> None:
        """Begin with no process.

        Args:
            perform: What a child does.
            at_once: How many jobs run side by side.
            limit: Seconds after which a child is killed, should it not stop by itself.
        """
        self._perform = perform
        self._at_once = at_once
        self._limit = limit
        self._lock = threading.Lock()
        self._pool: Any = None  # a ProcessPool, whose methods have no types
        self._told: Any = None
        self._closed = False

    def __call__(self, job: Job) -> None:
        """See `Hands`."""
        with self._lock:
            future = self._begun().schedule(_do, [self._perform, job], timeout=self._limit)
        try:
            future.result()
        except ProcessExpired as error:
            raise RuntimeError(f"its process ended with code {error.exitcode}") from None
        except CancelledError:
            raise RuntimeError("its process was stopped") from None

    def _begun(self) -> Any:
        if self._closed:
            raise Unavailable("no more jobs are begun here")
        if self._pool is not None and not self._pool.active:  # a child died while it had no job
            self._pool.stop()
            self._pool.join()
            self._pool = None
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            # A plain byte, with no lock that a killed child could hold for ever.
            self._told = context.RawValue(ctypes.c_bool, False)
            self._pool = ProcessPool(
                self._at_once,
                initializer=_begin,
                initargs=[self._told, _formatter(), log.getEffectiveLevel()],
                context=context,
            )
        return self._pool

    def close(self) -> None:
        """Have every child put its job back and end."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            self._told.value = True
            pool.close()
            try:
                pool.join(timeout=_PATIENCE)
            except TimeoutError:
                pool.stop()
                pool.join()


_PATIENCE = 4.0
"""Seconds that children have to put their jobs back."""


def _formatter() -> logging.Formatter | None:
    """How this process writes its log, so that its children write as it does."""
    handlers = [each for each in logging.getLogger().handlers if _plain(each)]
    return handlers[0].formatter if handlers else None


def _plain(handler: logging.Handler) -> bool:
    return type(handler) is logging.StreamHandler


# What follows runs in a child.


@attrs.define
class _Child:
    """What a child knows of itself."""

    busy: bool = False
    terminated: bool = False
    told: Any = None


_child = _Child()


def _begin(told: Any, formatter: logging.Formatter | None, level: int) -> None:
    """Prepare a child, before it imports what computes."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    _child.told = told
    if formatter is not None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(formatter)
        logging.getLogger().addHandler(handler)
    logging.getLogger("rebalancer").setLevel(level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who then tells us
    signal.signal(signal.SIGTERM, _terminate)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _terminate(*_: object) -> None:
    """Whoever watches over the job sees to it, and ends this process; without one, it ends now."""
    _child.terminated = True
    if not _child.busy:
        os._exit(_LEFT)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _do(perform: Perform, job: Job) -> None:
    _child.busy = True
    try:
        perform(job, told=lambda: _child.terminated or _child.told.value, leave=_leave)
    finally:
        _child.busy = False
    if _child.terminated:
        _leave()


def _leave() -> None:
    logging.shutdown()
    os._exit(_LEFT)
