"""Processes on the nodes of a Ray cluster.

Ray places processes and restarts them. It carries functions, small arguments and results; the rows
of portfolios and proposals never pass through it.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex
from socket import create_connection, gethostname
from typing import Any, TypeVar

import attrs

from rebalancer.adapters.ray.address import LOCAL, check_address
from rebalancer.domain.errors import Conflict, Unavailable

log = logging.getLogger("rebalancer.engine")

Task = TypeVar("Task")
Result = TypeVar("Result")

_RETRIES = 3
"""How often a task whose process or node died is called again."""


class RayCluster:
    """Connection to a cluster, of which the machine of this process is a node.

    Nodes need this release of the package, and settings of their own.
    """

    def __init__(self, address: str, *, release: str, poll_interval: float = 1.0) -> None:
        """Connect to a cluster; start one if the address is ``local``.

        Args:
            address: ``local``, or ``HOST:PORT``.
            release: Version of the package.
            poll_interval: Seconds between two looks at running tasks.

        Raises:
            InvalidRequest: see `check_address`.
            Unavailable: Ray is not installed, or the cluster does not answer.
        """
        check_address(address, os.environ, Path.home())
        self._ray = _connect(address)
        self._release = release
        self._poll_interval = poll_interval

    @contextmanager
    def helpers(self, function: Callable[..., None], *args: Any, most: int) -> Iterator[None]:
        if most < 1:
            yield
            return
        ray = self._ray
        # Tasks without a free core wait for one, so that nodes may join later.
        # `_watch` replaces helpers that die. Ray's own retries can crash this process when they are
        # cancelled at the end, and print to standard output.
        remote = ray.remote(num_cpus=1, max_retries=0, scheduling_strategy="SPREAD")(_help)

        def start() -> Any:
            return remote.remote(self._release, function, *args)

        running = [start() for _ in range(most)]
        ended = threading.Event()
        watch = threading.Thread(
            target=self._watch, args=(running, start, ended), name="ray-helpers"
        )
        watch.start()
        try:
            yield
        finally:
            ended.set()
            watch.join()
            self._cancel(running)

    def map(
        self,
        function: Callable[..., Result],
        tasks: Sequence[Task],
        *shared: Any,
        most: int,
        progress: Callable[[Any], None] | None = None,
    ) -> Iterator[tuple[int, Result]]:
        if not tasks:
            return
        ray = self._ray
        call = ray.remote(num_cpus=1, max_retries=_RETRIES, scheduling_strategy="SPREAD")(_call)
        mailbox = None
        if progress is not None:
            mailbox = ray.remote(num_cpus=0, max_restarts=-1)(_Mailbox).remote()
        stored = ray.put(shared)  # once; each node fetches it once
        waiting = list(enumerate(tasks))
        running: dict[Any, int] = {}
        try:
            while waiting or running:
                while waiting and len(running) < most:
                    index, task = waiting.pop(0)
                    running[call.remote(self._release, function, task, mailbox, stored)] = index
                ready, _ = ray.wait(list(running), timeout=self._poll_interval)
                if progress is not None:
                    for value in self._take(mailbox):
                        progress(value)
                for one in ready:
                    yield running.pop(one), self._result(one)
        finally:
            self._cancel(running)
            if mailbox is not None:
                ray.kill(mailbox)

    def close(self) -> None:
        """Leave the cluster, and stop a local one."""
        self._ray.shutdown()

    def _watch(self, running: list[Any], start: Callable[[], Any], ended: threading.Event) -> None:
        """Log failures of helpers, and replace those that died, until the block has ended."""
        logged = set()
        while running and not ended.is_set():
            ready, running[:] = self._ray.wait(list(running), timeout=self._poll_interval)
            for one in ready:
                try:
                    self._ray.get(one)
                except Exception as error:
                    if not isinstance(error, self._ray.exceptions.RayTaskError):
                        running.append(start())
                    reason = _first_line(getattr(error, "cause", None) or error)
                    if reason not in logged:  # the helpers of a node have one reason
                        logged.add(reason)
                        log.warning("a helper stopped: %s", reason)

    def _result(self, ready: Any) -> Any:
        """Return the result of a finished task, or raise its exception."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(ready)
        except errors.RayTaskError as error:
            raise error.cause from None
        except errors.RayError as error:
            raise Unavailable(
                f"the process of a task died too often: {_first_line(error)}",
                code="task_process_died",
            ) from error

    def _take(self, mailbox: Any) -> list[Any]:
        """Return what tasks have reported; nothing while the mailbox restarts on another node."""
        with suppress(self._ray.exceptions.RayError):
            values: list[Any] = self._ray.get(mailbox.take.remote(), timeout=self._poll_interval)
            return values
        return []

    def _cancel(self, running: Iterable[Any]) -> None:
        for one in running:
            with suppress(self._ray.exceptions.RayError):
                self._ray.cancel(one, force=True)


def _connect(address: str) -> Any:
    """Return the library, connected to a cluster; see `RayCluster`."""
    # Read while Ray is imported. It reports its use to its makers unless told not to.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address == LOCAL:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        if not os.environ.get("RAY_AUTH_TOKEN_PATH"):
            os.environ.setdefault("RAY_AUTH_TOKEN", token_hex(32))
    try:
        import ray
    except ImportError:
        raise Unavailable(
            "the engine ray needs further packages: pip install 'rebalancer[ray]'",
            code="package_missing",
        ) from None
    options = {"include_dashboard": False} if address == LOCAL else {}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address != LOCAL:
            _probe(address)
        ray.init(
            address,
            configure_logging=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **options,
        )
    except (ray.exceptions.RayError, OSError, RuntimeError, ValueError) as error:
        raise Unavailable(
            f"the Ray cluster at {address} cannot be joined: {_first_line(error)}",
            code="cluster_unavailable",
        ) from error
    # Ray prints deaths of processes to standard output, where commands print results, and has no
    # option against it.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray's ends the process by `SystemExit`
    return ray


def _probe(address: str) -> None:
    """Connect to the head node, since Ray would try for minutes; raise OSError if it is away."""
    host, _, port = address.rpartition(":")
    with create_connection((host.strip("[]"), int(port)), timeout=10):
        pass


def _first_line(error: object) -> str:
    return str(error).strip().partition("\n")[0]


# The rest runs on the nodes.


@attrs.define
class _Mailbox:
    """What tasks have reported and the driver has not taken; an actor."""

    values: list[Any] = attrs.field(factory=list)

    def put(self, value: Any) -> None:
        """Add a value."""
        self.values.append(value)

    def take(self) -> list[Any]:
        """Return the values, and forget them."""
        values, self.values = self.values, []
        return values


def _help(release: str, function: Callable[..., None], *args: Any) -> None:
    """Call the function of a helper."""
    _check_release(release)
    function(*args)


def _call(
    release: str,
    function: Callable[..., Result],
    task: Task,
    mailbox: Any,
    shared: tuple[Any, ...],
) -> Result:
    """Call the function of a task."""
    import ray

    _check_release(release)
    sent: list[Any] = []

    def report(value: Any) -> None:
        if mailbox is not None:
            sent[:] = [mailbox.put.remote(value)]

    result = function(task, report, *shared)
    with suppress(ray.exceptions.RayError):  # reports are best effort, and come before the result
        ray.get(sent, timeout=10)
    return result


def _check_release(release: str) -> None:
    """Check that this node has the release of the driver.

    Raises:
        Conflict: it has another one.
    """
    here = version("rebalancer")
    if here != release:
        raise Conflict(
            f"node {gethostname()} has release {here} of rebalancer, and this command is "
            f"{release}; install one release on all nodes",
            code="node_release_differs",
        )
