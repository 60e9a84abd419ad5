"""HTTP endpoint of the metrics of all processes of a server, with a liveness probe."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from rebalancer.domain.errors import InvalidRequest

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Variable from which prometheus_client takes the folder of the files, when it is imported."""

LIVE = "/health/live"
METRICS = "/metrics"

_MEMORY = Path("/dev/shm")  # a file system in memory, where the system has one
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
    """Provide an empty folder for the files of all processes, and name it in the environment.

    An operator's folder is emptied of such files; without one, a temporary folder is deleted at the
    end.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        folder = Path(given)
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob("*.db"):
            file.unlink()
        yield folder
        return
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="rebalancer-metrics-", dir=place))
    os.environ[FOLDER_VARIABLE] = str(folder)
    try:
        yield folder
    finally:
        del os.environ[FOLDER_VARIABLE]
        shutil.rmtree(folder, ignore_errors=True)


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
