"""Certificates for tests, and a proxy that puts TLS in front of a real server."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""What a client of Postgres sends first to ask for TLS."""


def write_certificate(ca: trustme.CA, folder: Path, host: str, *, expired: bool = False) -> Path:
    """Write a certificate with its key into one file; return its path."""
    ends = datetime.now(UTC) - timedelta(days=1) if expired else None
    starts = datetime.now(UTC) - timedelta(days=2) if expired else None
    issued = ca.issue_cert(host, not_after=ends, not_before=starts)
    path = folder / f"{host}-{'old' if expired else 'new'}.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(path)
    return path


@contextmanager
def tls_proxy(port: int, certificate: Path, *, starts_plain: bool = False) -> Iterator[int]:
    """Yield the port of a proxy that ends TLS and passes everything to a server on a port.

    Args:
        port: Of the real server, on the loopback address.
        certificate: File with the certificate and its key.
        starts_plain: Whether clients ask for TLS first, as those of Postgres do.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    open_sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []
    stopped = threading.Event()

    def start(target: Callable[..., None], *args: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, daemon=True)
        threads.append(thread)
        thread.start()
        return thread

    def serve(client: socket.socket) -> None:
        with suppress(OSError), client:
            if starts_plain:
                assert client.recv(8, socket.MSG_WAITALL) == SSL_REQUEST
                client.sendall(b"S")
            with (
                context.wrap_socket(client, server_side=True) as secured,
                socket.create_connection(("127.0.0.1", port)) as server,
            ):
                open_sockets.extend((secured, server))
                if not stopped.is_set():
                    back = start(_copy, server, secured)
                    _copy(secured, server)
                    back.join()

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                open_sockets.append(client)
                start(serve, client)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        start(accept)
        try:
            yield int(listener.getsockname()[1])
        finally:
            stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            for one in open_sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(10)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
