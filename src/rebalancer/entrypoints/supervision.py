"""Restart server processes that end, with growing pauses."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
from granian.log import logger
from granian.server.mp import MPServer

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.define(eq=False, kw_only=True)
class RestartPolicy:
    """Decides when a process that has ended is started again.

    A process that is killed, by an operator or for want of memory, is always started again. One
    that fails by itself soon after its start, as with a faulty configuration, would fail again.

    Args:
        attempts: Failures in a row, each soon after a start, after which to give up.
        settled: Seconds after which a process has started well.
        pause: Seconds before the first restart; each next one doubles them.
        longest_pause: Most seconds before a restart.
    """

    _attempts: int = 5
    _settled: float = 30.0
    _pause: float = 0.1
    _longest_pause: float = 5.0
    _deaths: Counter[int] = attrs.field(factory=Counter, init=False)
    _failures: Counter[int] = attrs.field(factory=Counter, init=False)

    def pause_before_restart(self, worker: int, *, exit_code: int, lived: float) -> float | None:
        """Return seconds to wait before a process is started again; None to give up.

        Args:
            worker: Identifies the process among its siblings, and those that it replaces.
            exit_code: Negative if a signal ended the process.
            lived: Seconds from its start to its end.
        """
        if lived >= self._settled:
            self._deaths[worker] = self._failures[worker] = 0
        self._deaths[worker] += 1
        self._failures[worker] = 0 if exit_code < 0 else self._failures[worker] + 1
        if self._failures[worker] >= self._attempts:
            return None
        doubled: float = self._pause * 2 ** min(self._deaths[worker] - 1, 20)
        return min(doubled, self._longest_pause)


class SupervisedServer(MPServer):
    """A granian server that restarts its processes by a `RestartPolicy`.

    Granian itself gives up when a process ends twice within 5.5 seconds.
    """

    def __init__(self, *arguments: Any, restarts: RestartPolicy, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._restarts = restarts

    def _serve_loop(
        self, spawn_target: Callable[..., None], target_loader: Callable[..., Any]
    ) -> None:
        """Restart processes until a signal ends the server, or the policy gives up."""
        due: dict[int, float] = {}
        while not self.interrupt_signal:
            pause = max(0.0, min(due.values()) - time.monotonic()) if due else None
            self.main_loop_interrupt.wait(pause)
            self.main_loop_interrupt.clear()  # before the lists are read, so that no death is lost
            while self.interrupt_children and not self.interrupt_signal:
                worker = self.interrupt_children[0]
                after = self._pause_before_restart(worker)
                if after is None:
                    return  # `shutdown` exits with an error because of the worker in the list
                due[worker] = time.monotonic() + after
                self.interrupt_children.pop(0)
            if self.interrupt_signal:
                self.interrupt_children.clear()  # the signal may have ended the process, too
            elif self.reload_signal:
                due.clear()
                self._reload(spawn_target, target_loader)  # type: ignore[no-untyped-call]  # of granian
            else:
                ready = [worker for worker, at in due.items() if at <= time.monotonic()]
                for worker in ready:
                    del due[worker]
                self._respawn_workers(ready, spawn_target, target_loader)

    def _pause_before_restart(self, worker: int) -> float | None:
        process = self.wrks[worker]
        exit_code = process.inner.exitcode
        exit_code = 1 if exit_code is None else exit_code
        lived = time.monotonic() - process.birth
        pause = self._restarts.pause_before_restart(worker, exit_code=exit_code, lived=lived)
        if pause is None:
            logger.error(
                "worker-%d failed again and again soon after its start (exit code %d), so the "
                "server stops; the lines above give the reason",
                worker + 1,
                exit_code,
            )
        else:
            logger.warning(
                "worker-%d ended with exit code %d after %.1f s; it restarts in %.1f s",
                worker + 1,
                exit_code,
                lived,
                pause,
            )
        return pause
