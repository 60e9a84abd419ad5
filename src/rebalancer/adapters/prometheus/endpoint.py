"""HTTP endpoint of the metrics of all processes of a server, with a liveness probe."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from rebalancer.domain.errors import InvalidRequest

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Variable from which prometheus_client takes the folder of its files when it is imported.

An operator may name a folder in which those of services are created.
"""

LIVE = "/health/live"
METRICS = "/metrics"

_MEMORY = Path("/dev/shm")  # a file system in memory, where the system has one
_PREFIX = "rebalancer-metrics-"
_SETTLED = 60.0
"""Seconds after which a folder that is in use is locked for certain."""

_FILE = re.compile(r"gauge_live[a-z]*_(\d+)\.db")

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


@contextmanager
def open_endpoint(host: str, port: int) -> Iterator[str]:
    """Serve the metrics in a thread while the block runs; yield their address.

    Processes that the block starts share the folder of the files.

    Args:
        host: Address to listen on.
        port: Port; 0: any free port.

    Raises:
        InvalidRequest: the port cannot be used.
    """
    with _shared_folder() as folder:
        try:
            server = make_server(
                host, port, _application(folder), _Server, handler_class=_QuietHandler
            )
        except OSError as error:
            reason = (
                "another program uses it" if error.errno == errno.EADDRINUSE else error.strerror
            )
            raise InvalidRequest(
                f"cannot listen on port {port} of {host}: {reason}; choose another port",
                code="metrics_port_unavailable",
            ) from None
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        shown = f"[{host}]" if ":" in host else host
        try:
            yield f"http://{shown}:{server.server_port}{METRICS}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@contextmanager
def _shared_folder() -> Iterator[Path]:
    """Provide a new folder for the files of all processes, and name it in the environment.

    It is deleted at the end. One whose service was killed is deleted by the next service.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    place = Path(given or (_MEMORY if os.access(_MEMORY, os.W_OK) else tempfile.gettempdir()))
    place.mkdir(parents=True, exist_ok=True)
    _delete_abandoned(place)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    lock = os.open(folder, os.O_RDONLY)  # it is held until this process and its children end
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.environ[FOLDER_VARIABLE] = str(folder)
        yield folder
    finally:
        if given is None:
            del os.environ[FOLDER_VARIABLE]
        else:
            os.environ[FOLDER_VARIABLE] = given
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _delete_abandoned(place: Path) -> None:
    """Delete folders of services that were killed: nothing holds their locks."""
    for folder in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # of another user, locked, or deleted by another service
            if folder.is_symlink() or time.time() - folder.stat().st_mtime < _SETTLED:
                continue
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)


def _application(folder: Path) -> Application:
    """Return a WSGI application that answers with the metrics, and that this process lives."""
    from prometheus_client import CollectorRegistry, make_wsgi_app
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]  # of the library
    metrics: Application = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path, method = environ.get("PATH_INFO", ""), environ.get("REQUEST_METHOD")
        if method not in ("GET", "HEAD"):
            return _reply(start_response, "405 Method Not Allowed", b"")
        if path == LIVE:
            return _reply(start_response, "200 OK", b'{"status":"ok"}')
        if path != METRICS:
            return _reply(start_response, "404 Not Found", b"")
        _forget_ended_processes(folder)
        return metrics(environ, start_response)

    return answer


def _reply(start_response: StartResponse, status: str, body: bytes) -> Iterable[bytes]:
    start_response(
        status, [("Content-Type", "application/json"), ("Content-Length", f"{len(body)}")]
    )
    return [body]


def _forget_ended_processes(folder: Path) -> None:
    """Delete the current values of processes that have ended; what they counted still counts."""
    for file in folder.glob("gauge_live*.db"):
        found = _FILE.fullmatch(file.name)
        if found is None:
            continue
        try:
            os.kill(int(found[1]), 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):
                file.unlink()
        except PermissionError:
            pass


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread, so that a slow client holds up no other."""

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    """Drops connections that stay silent, and logs nothing."""

    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a request every few seconds is no event."""
