"""Port of engines, which run functions in further processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs functions in further processes, of this machine or of a cluster.

    Functions are module-level, and their arguments can be pickled and hold no secrets: a process
    reads the settings of the machine that it runs on. Numeric libraries use one thread there. If a
    process dies, its function may be called again, so functions must be repeatable.
    """

    def helpers(
        self, function: Callable[..., None], *args: Any, most: int
    ) -> AbstractContextManager[None]:
        """Call ``function(*args)`` in up to ``most`` further processes while the block runs.

        The block must not depend on them: some may start late or never. They are stopped at its
        end. The failure of a helper is logged as a warning, and affects neither the block nor the
        other helpers.
        """

    def map(
        self,
        function: Callable[..., Result],
        tasks: Sequence[Task],
        *shared: Any,
        most: int,
        progress: Callable[[Any], None] | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """Call ``function(task, report, *shared)`` for each task, and yield its index and result.

        Results are yielded as they complete, in any order. Values that a function gives to
        ``report`` reach ``progress``, in order for each task and before its result; a task that is
        called again may repeat them.

        Args:
            function: What is called.
            tasks: Its first argument in each call.
            shared: Further arguments, equal in all calls; they may be large.
            most: Maximum number of calls in parallel, 1 or more.
            progress: Called in this process; None ignores reports.

        Raises:
            Exception: a function raised it; the remaining tasks are stopped.
            Unavailable: the process of a task died too often.
        """
