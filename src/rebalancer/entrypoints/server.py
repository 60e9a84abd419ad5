"""The API as a process that runs: granian in front, one line of JSON for whatever happens."""

from __future__ import annotations

import errno
import logging
import logging.config
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from rebalancer.application.worker_processes import end_with_parent
from rebalancer.config import Settings
from rebalancer.domain.errors import InvalidRequest, Unavailable

if TYPE_CHECKING:
    from litestar import Litestar

PATIENCE = 10
"""Seconds that a worker has to finish what it is doing once it is told to stop."""

_ACCESS = "granian.access"


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, process, message, and what a request took.

    Of a request it tells method, path, status and milliseconds: neither the query nor any header or
    body, so that no token and nobody's figures come into a log.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name.strip("_"),
            "process": record.process,
        }
        if record.name == _ACCESS and isinstance(record.args, dict):
            asked = record.args
            line["message"] = "request"
            line |= {key: asked[key] for key in ("method", "path", "status")}
            line["ms"] = round(float(str(asked["dt_ms"])), 1)
        else:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def logs(level: str) -> dict[str, Any]:
    """What `logging.config.dictConfig` takes."""
    said = level.upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": f"{__name__}.{JsonLines.__name__}"}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "json",
            }
        },
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "rebalancer": {"level": said},
            "_granian": {"level": said},
            _ACCESS: {"level": said},
        },
    }


def application() -> Litestar:
    """The API over what the settings name; each worker process makes its own."""
    import scipy.optimize  # noqa: F401  # half a second, which nobody who asks should wait for

    from rebalancer.entrypoints.http.app import application
    from rebalancer.wiring.container import build_async_container
    from rebalancer.wiring.market import Sources

    settings = Settings.read()
    sources = Sources.of(settings)
    embedded = settings.embedded
    wired = build_async_container(sources, settings=settings)
    app = application(wired, embedded=embedded, does_jobs=settings.redis_url is None)
    logging.config.dictConfig(logs(settings.log_level))  # Litestar has set up logs of its own
    end_with_parent(PATIENCE)
    return app


def serve(settings: Settings, started: Callable[[str], None] = lambda _: None) -> None:
    """Answer requests until a signal says to stop.

    Args:
        settings: Where to listen, and with how many processes.
        started: Told the address, such as ``http://127.0.0.1:8000``, once the port is ours.

    Raises:
        InvalidRequest: nobody can listen there; says why.
        Unavailable: a worker process failed.
    """
    from granian.constants import Interfaces
    from granian.log import LogLevels
    from granian.server import Server

    host, port = _free(settings.host, settings.port)
    server = Server(
        f"{__name__}:application",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=settings.workers or 1,
        factory=True,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=PATIENCE,
        log_level=LogLevels(settings.log_level),
        log_dictconfig=logs(settings.log_level),
        log_access=True,
    )
    shown = f"[{host}]" if ":" in host else host
    server.on_startup(lambda: started(f"http://{shown}:{port}"))
    try:
        server.serve()
    except SystemExit:
        raise Unavailable("a worker process failed; its log says why") from None


def _free(host: str, port: int) -> tuple[str, int]:
    """An address and a port that nobody listens on, the port chosen if it is 0.

    Workers share a port, so that granian itself would share it with another server.

    Raises:
        InvalidRequest: the host is no address of this machine, or the port is taken or reserved.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        raise InvalidRequest(f"{host!r} is no address and no known name", field="host") from None
    family, kind, _, _, address = found[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise InvalidRequest(
                    f"{host} is no address of this machine", field="host"
                ) from None
            why = {
                errno.EADDRINUSE: "is taken by another program",
                errno.EACCES: "is reserved for the system",
            }.get(error.errno or 0, f"cannot be listened on ({error.strerror})")
            raise InvalidRequest(
                f"{port} {why}; choose another, or 0 for a free one", field="port"
            ) from None
        bound = probe.getsockname()
    return str(bound[0]), int(bound[1])
