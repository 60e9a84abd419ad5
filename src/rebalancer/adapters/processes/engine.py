"""Further processes of this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import attrs

from rebalancer.application.worker_processes import (
    WorkerDied,
    WorkerProcess,
    serve,
    wait_for_any,
    worker_processes,
)
from rebalancer.domain.errors import RebalancerError, Unavailable

log = logging.getLogger("rebalancer.engine")

Task = TypeVar("Task")
Result = TypeVar("Result")


class LocalProcesses:
    @contextmanager
    def helpers(self, function: Callable[..., None], *args: Any, most: int) -> Iterator[None]:
        with worker_processes(most, _help, function, args):
            yield

    def map(
        self,
        function: Callable[..., Result],
        tasks: Sequence[Task],
        *shared: Any,
        most: int,
        progress: Callable[[Any], None] | None = None,
    ) -> Iterator[tuple[int, Result]]:
        count = min(most, len(tasks))
        if count < 2:
            for index, task in enumerate(tasks):
                yield index, function(task, progress or _ignore, *shared)
            return
        waiting = list(range(len(tasks)))
        # Forked processes inherit what is shared, which may be too large to send.
        with worker_processes(count, _serve_tasks, function, shared, method="fork") as workers:
            busy: dict[WorkerProcess, int] = {}
            try:
                while waiting or busy:
                    for worker in workers:
                        if waiting and worker not in busy:
                            busy[worker] = waiting.pop(0)
                            worker.send(tasks[busy[worker]])
                    for worker in wait_for_any(busy):
                        message = worker.receive()
                        if isinstance(message, _Report):
                            if progress is not None:
                                progress(message.value)
                        elif isinstance(message, Exception):
                            raise message
                        else:
                            yield busy.pop(worker), message
            except WorkerDied as death:
                raise Unavailable(
                    f"{death}; use fewer --workers if memory is short", code="task_process_died"
                ) from None


@attrs.frozen
class _Report:
    """A value that a task reports."""

    value: Any


def _ignore(_: Any) -> None:
    pass


def _help(_: Connection, function: Callable[..., None], args: tuple[Any, ...]) -> None:
    """Call a function in a child process."""
    try:
        function(*args)
    except RebalancerError as error:
        log.warning("a helper stopped: %s", error)


def _serve_tasks(parent: Connection, function: Callable[..., Any], shared: tuple[Any, ...]) -> None:
    """Call a function with each task that arrives, in a child process."""
    serve(parent, lambda task: function(task, lambda value: parent.send(_Report(value)), *shared))
