"""Worker processes for entrypoints and adapters, each at the end of a pipe of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class WorkerDied(Exception):
    """The process at the other end of the pipe has ended; the message states its exit code."""


class WorkerProcess:
    """A child process and the pipe to it; one thread at a time may use it.

    The workers of a `multiprocessing` pool share a queue and its locks: a worker that is killed
    while it holds a lock blocks all others forever. Here a death is an end of file for one caller,
    whenever it happens.

    The child ignores Ctrl-C, which its parent handles, and ends with its parent. Its numeric
    libraries use one thread, so that children do not compete for cores and sums have one order.

    Args:
        target: Called in the child with its end of the pipe and ``args``. Under ``spawn`` it must
            be a picklable, module-level function.
        args: Further arguments of ``target``.
        method: How the child is started; ``fork`` shares the memory of ``args``.
        daemon: Whether Python terminates the child when the parent exits.
        grace: Seconds that the child has to end after its parent.
    """

    def __init__(
        self,
        target: Callable[..., None],
        *args: Any,
        method: Literal["spawn", "fork"] = "spawn",
        daemon: bool = True,
        grace: float = 10.0,
    ) -> None:
        context: Any = multiprocessing.get_context(method)
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_run, args=(target, theirs, grace, *args), name="worker", daemon=daemon
        )
        # Inherited: a spawned child imports numpy before it could set this itself.
        os.environ.update(_ONE_THREAD)
        with _sigint_blocked():
            self._process.start()
        theirs.close()

    def is_alive(self) -> bool:
        """Return whether the process runs."""
        return bool(self._process.is_alive())

    def send(self, message: object) -> None:
        """Send a message; raise WorkerDied if the process has ended."""
        try:
            self.pipe.send(message)
        except OSError:
            raise self._death() from None

    def receive(self, *, timeout: float | None = None) -> Any:
        """Return the next message; a process that sends none within ``timeout`` is killed.

        Raises:
            WorkerDied: the process has ended.
        """
        try:
            if not self.pipe.poll(timeout):
                self.kill()
            return self.pipe.recv()
        except (EOFError, OSError):
            raise self._death() from None

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()

    def terminate(self) -> None:
        """Send SIGTERM and wait for the end of the process."""
        self.pipe.close()
        self._process.terminate()
        self._process.join()

    def close(self, timeout: float) -> None:
        """Hang up and wait for the end of the process; kill it after ``timeout`` seconds."""
        self.pipe.close()
        if not wait([self._process.sentinel], timeout):
            self.kill()
        self._process.join()

    def _death(self) -> WorkerDied:
        self._process.join()
        for _ in range(100):  # another thread may be reaping the process at this moment
            if self._process.exitcode is not None:
                break
            time.sleep(0.001)
        return WorkerDied(f"the worker process ended with exit code {self._process.exitcode}")


@contextmanager
def worker_processes(
    count: int,
    target: Callable[..., None],
    *args: Any,
    method: Literal["spawn", "fork"] = "spawn",
) -> Iterator[list[WorkerProcess]]:
    """Run a number of worker processes while the block runs; see `WorkerProcess`."""
    workers: list[WorkerProcess] = []
    try:
        for _ in range(count):
            workers.append(WorkerProcess(target, *args, method=method))
        yield workers
    finally:
        for worker in workers:
            worker.terminate()


def wait_for_any(workers: Iterable[WorkerProcess]) -> list[WorkerProcess]:
    """Wait until a worker has sent a message or has died; return those that have."""
    pipes: dict[Any, WorkerProcess] = {worker.pipe: worker for worker in workers}
    return [pipes[pipe] for pipe in wait(list(pipes))]


def serve(parent: Connection, answer: Callable[[Any], object]) -> None:
    """Answer messages until the parent hangs up; an exception is sent as the answer."""
    with suppress(EOFError, OSError):
        while True:
            message = parent.recv()
            try:
                reply = answer(message)
            except Exception as error:
                reply = error
            parent.send(reply)


def end_with_parent(grace: float = 10.0) -> None:
    """End this process when its parent ends, even if the parent was killed.

    The process gets SIGTERM, and is ended after ``grace`` seconds: the signal may have come before
    the process handled it.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace)
        os._exit(1)

    threading.Thread(target=follow, name="end-with-parent", daemon=True).start()


def _run(target: Callable[..., None], parent: Connection, grace: float, *args: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(grace)
    target(parent, *args)


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Start a process that never gets Ctrl-C, not even while it begins."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
