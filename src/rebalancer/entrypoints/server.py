"""The API as a server process: granian, with logs in JSON."""

from __future__ import annotations

import errno
import logging
import logging.config
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import attrs
import msgspec

from rebalancer.application.audit import current_origin, current_user
from rebalancer.application.trace_context import current_trace
from rebalancer.application.worker_processes import end_with_parent
from rebalancer.config import PREFIX, Settings
from rebalancer.domain.accounts.sessions import prefix_of
from rebalancer.domain.errors import InvalidRequest, Unavailable
from rebalancer.entrypoints.connections import BusyConnections, ConnectionGuard, ConnectionLimits

if TYPE_CHECKING:
    from litestar import Litestar
    from litestar.types import ASGIApp

GRACE_PERIOD = 10
"""Seconds that a worker process has for its requests after SIGTERM."""

_ACCESS = "rebalancer.access"


class JsonLines(logging.Formatter):
    """Formats each record as a JSON object: time, level, logger, process and message.

    A request is logged by method, path, status and milliseconds. Query, headers and body are left
    out, so that no token and no user data are logged. Each line of a request carries its id, the
    id of its user, and the network of its address, which is no more than sessions show. The id of
    the trace is also in the lines of the jobs that the request submitted.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name.strip("_"),
            "process": record.process,
        }
        line["message"] = record.getMessage()
        if record.name == _ACCESS:
            line |= {key: getattr(record, key) for key in ("method", "path", "status", "ms")}
        origin, user = current_origin.get(), current_user.get()
        if origin.request is not None:
            line["request"] = origin.request
        if (trace := current_trace.get()) is not None:
            line["trace"] = trace.trace
        if network := prefix_of(origin.address):
            line["network"] = network
        if user is not None:
            line["user"] = str(user)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def log_config(level: str) -> dict[str, Any]:
    """Return the configuration of logging, for `logging.config.dictConfig`."""
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
        "loggers": {name: {"level": level.upper()} for name in ("rebalancer", "_granian")},
    }


def application(
    port: int, limits: ConnectionLimits, guest: tuple[str, str] | None = None
) -> ASGIApp:
    """Create the API, with the web client around it if wanted; each worker process calls this.

    Args:
        port: Port that the server listens on.
        limits: Limits on its connections.
        guest: E-mail address and password of an account that the web client offers to all.
    """
    from rebalancer.entrypoints.http.admission import track_busy

    settings = attrs.evolve(Settings.read(), port=port)  # as bound, which links and passkeys need
    app = create_api(settings)
    end_with_parent(GRACE_PERIOD)
    busy = BusyConnections()
    ConnectionGuard(port, limits, busy).start()
    return track_busy(with_web_client(app, settings, guest) if settings.app else app, busy)


def create_api(settings: Settings) -> Litestar:
    """Create the API and configure logging."""
    import scipy.optimize  # noqa: F401  # takes half a second, which no request should wait for

    from rebalancer.entrypoints.http.app import application
    from rebalancer.wiring.container import build_async_container
    from rebalancer.wiring.market import Sources

    sources = Sources.of(settings)
    wired = build_async_container(sources, settings=settings)
    app = application(
        wired,
        embedded=settings.embedded,
        does_jobs=settings.redis_url is None,
        documented=settings.docs,
        direct_only=settings.has_public_key,
        fetches_assets=sources.stored and bool(settings.providers),
    )
    logging.config.dictConfig(log_config(settings.log_level))  # replaces the logging of Litestar
    return app


def with_web_client(
    app: ASGIApp, settings: Settings, guest: tuple[str, str] | None = None
) -> ASGIApp:
    """Return an application that serves the web client, and passes the rest to the API.

    Raises:
        InvalidRequest: the packages of the web client are not installed.
    """
    try:
        from rebalancer_app.gateway.users import Credentials
        from rebalancer_app.web.server import WebClient
    except ImportError:
        raise InvalidRequest(
            'the web client is not installed; install "rebalancer[app]"',
            field="app",
            code="app_missing",
        ) from None
    secret, file = settings.secret_key.encode(), settings.cache_folder / "web-sessions"
    offered = Credentials(*guest) if guest else None
    # It states its messages less precisely.
    return cast("ASGIApp", WebClient(app, secret, file, offered))


def serve(
    settings: Settings,
    started: Callable[[str, ConnectionLimits], None],
    guest: tuple[str, str] | None = None,
) -> None:
    """Serve requests until SIGTERM or SIGINT.

    Args:
        settings: Address, port, limits and number of processes.
        started: Called with the address, such as ``http://127.0.0.1:8000``, and the limits on
            connections that hold, once the port is bound.
        guest: See `application`.

    Raises:
        InvalidRequest: the address or the port cannot be used; the message gives the reason.
        Unavailable: a worker process failed.
    """
    from granian.constants import HTTPModes, Interfaces, SSLProtocols
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    from rebalancer.entrypoints.supervision import RestartPolicy, SupervisedServer

    certificate = _check_certificate(settings)
    host, port = _check_address(settings.host, settings.port)
    limits = ConnectionLimits.of(settings)
    server = SupervisedServer(
        f"{__name__}:application",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=settings.workers or 1,
        websockets=settings.app,
        http=HTTPModes.auto if settings.http2 else HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=round(limits.idle * 1000)),
        backpressure=limits.accepted,
        restarts=RestartPolicy(),
        workers_kill_timeout=GRACE_PERIOD,
        log_level=LogLevels(settings.log_level),
        log_dictconfig=log_config(settings.log_level),
        ssl_cert=certificate and certificate[0],
        ssl_key=certificate and certificate[1],
        ssl_protocol_min=SSLProtocols.tls12,  # whose suites are all authenticated here
    )
    scheme = "http" if certificate is None else "https"
    url_host = f"[{host}]" if ":" in host else host
    server.on_startup(lambda: started(f"{scheme}://{url_host}:{port}", limits))
    try:
        server.serve(target_loader=partial(application, port, limits, guest), wrap_loader=False)
    except SystemExit:
        raise Unavailable(
            "a server process failed; its log gives the reason", code="server_process_failed"
        ) from None


def _check_certificate(settings: Settings) -> tuple[Path, Path] | None:
    """Return the files of the certificate and of its key; None without TLS.

    Processes read them when they start, so SIGHUP makes the server use renewed files.

    Raises:
        InvalidRequest: a file cannot be read, or the key is of another certificate.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None:
        return None
    try:
        for file in (certificate, key):
            file.open("rb").close()
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, _no_password)
    except ssl.SSLError as error:
        reason = "both must be PEM files, the key without password"
        if "KEY_VALUES_MISMATCH" in str(error):
            reason = "the key is of another certificate"
        raise InvalidRequest(
            f"cannot use {certificate} with {key}: {reason}",
            field=f"{PREFIX}TLS_CERTIFICATE",
            code="tls_certificate_invalid",
        ) from None
    except OSError as error:
        raise InvalidRequest(
            f"cannot read {error.filename}: {error.strerror}",
            field=f"{PREFIX}TLS_CERTIFICATE",
            code="tls_certificate_invalid",
        ) from None
    return certificate, key


def _no_password() -> str:
    """Return no password, so that an encrypted key fails instead of asking for one."""
    return ""


def _check_address(host: str, port: int) -> tuple[str, int]:
    """Return a local address and an unused port, chosen by the system if it is 0.

    Without this check granian, whose workers share a port, would share it with another server.

    Raises:
        InvalidRequest: the address is not local, or the port is in use or reserved.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        raise InvalidRequest(
            f"{host!r} is not an address, and its name cannot be resolved",
            field="host",
            code="unknown_host",
        ) from None
    family, kind, _, _, address = found[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise InvalidRequest(
                    f"cannot bind to {host}: not a local address", field="host", code="unknown_host"
                ) from None
            reason = {
                errno.EADDRINUSE: "another program uses it",
                errno.EACCES: "it is reserved for the system",
            }.get(error.errno or 0, str(error.strerror))
            raise InvalidRequest(
                f"cannot listen on port {port}: {reason}", field="port", code="port_unavailable"
            ) from None
        bound = probe.getsockname()
    return str(bound[0]), int(bound[1])
