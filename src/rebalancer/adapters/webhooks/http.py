"""Messages to webhooks over HTTPS, to public addresses alone."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

import attrs

from rebalancer.adapters.webhooks.networks import Networks, Unresolved
from rebalancer.application.ports.mail import Delivery, Outcome
from rebalancer.application.secure_connections import describe_certificate_fault
from rebalancer.domain.errors import InvalidRequest

TIMEOUT = 10.0
"""Seconds for connecting, and for each part of the answer."""

LONGEST = 20.0
"""Seconds for a whole request, once the connection stands."""

_MOST_ADDRESSES = 2
"""Addresses of a host that are tried."""

_AGENT = "Rebalancer"
_GONE = 410


def _default_context() -> ssl.SSLContext:
    return ssl.create_default_context()


@attrs.frozen
class HttpWebhooks:
    """See `Webhooks`.

    The host is resolved once, all its addresses are checked, and the connection goes to one of
    them, so that a second look-up cannot lead elsewhere. Redirects are not followed, and settings
    of proxies are not read.

    Attributes:
        networks: That may be reached. Plain HTTP is allowed in those of the operator.
        context: Returns what certificates are checked against.
    """

    networks: Networks
    context: Callable[[], ssl.SSLContext] = _default_context
    timeout: float = TIMEOUT
    longest: float = LONGEST

    def check(self, address: str) -> None:
        place = _split(address)
        with suppress(Unresolved):  # the name may get an address later
            addresses = self.networks.resolve(place.hostname or "", _port(place))
            self._check_encryption(place, addresses)
            return
        self._check_encryption(place, [])

    def post(self, address: str, body: bytes, headers: Mapping[str, str]) -> Delivery:
        try:
            place = _split(address)
            addresses = self.networks.resolve(place.hostname or "", _port(place))
            self._check_encryption(place, addresses)
        except InvalidRequest as error:
            return Delivery(Outcome.REFUSED, error.message)
        except Unresolved:
            return Delivery(Outcome.DEFERRED, "the host has no address")
        try:
            return self._post(place, addresses[:_MOST_ADDRESSES], body, headers)
        except ssl.SSLError as error:
            fault = describe_certificate_fault(str(error))
            reason = f"its certificate {fault}" if fault else "no encrypted connection"
            return Delivery(Outcome.DEFERRED, reason)
        except TimeoutError:
            return Delivery(Outcome.DEFERRED, "it did not answer in time")
        except (OSError, http.client.HTTPException, ValueError):
            return Delivery(Outcome.DEFERRED, "no connection, or no valid answer")

    def _post(
        self, place: SplitResult, addresses: list[str], body: bytes, headers: Mapping[str, str]
    ) -> Delivery:
        host, port = place.hostname or "", _port(place)
        connection = http.client.HTTPConnection(host, port, timeout=self.timeout)
        with self._connect(addresses, port) as plain:
            connected = plain
            # Shutting the connection down ends a server that sends its answer byte by byte.
            cut = threading.Event()
            timer = threading.Timer(self.longest, _shut_down, [plain, cut])
            timer.daemon = True
            timer.start()
            try:
                if place.scheme == "https":
                    connected = self.context().wrap_socket(plain, server_hostname=host)
                connection.sock = connected
                path = place.path or "/"
                target = f"{path}?{place.query}" if place.query else path
                stated = {**headers, "User-Agent": _AGENT, "Connection": "close"}
                connection.request("POST", target, body, stated)
                return _delivery(connection.getresponse().status)
            except (OSError, http.client.HTTPException):
                if cut.is_set():
                    raise TimeoutError from None
                raise
            finally:
                timer.cancel()
                connection.close()
                connected.close()

    def _connect(self, addresses: list[str], port: int) -> socket.socket:
        """Connect to the first address that answers."""
        for at, address in enumerate(addresses, 1):
            try:
                return socket.create_connection((address, port), timeout=self.timeout)
            except OSError:
                if at == len(addresses):
                    raise
        raise Unresolved("no address")

    def _check_encryption(self, place: SplitResult, addresses: list[str]) -> None:
        if place.scheme == "https":
            return
        if not addresses or not all(self.networks.allows(one) for one in addresses):
            raise InvalidRequest(
                "a webhook needs an encrypted address; begin it with https://",
                field="address",
                code="address_not_allowed",
            )


def _shut_down(connection: socket.socket, cut: threading.Event) -> None:
    cut.set()
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _delivery(status: int) -> Delivery:
    if 200 <= status < 300:
        return Delivery(Outcome.SENT)
    if 300 <= status < 400:
        return Delivery(
            Outcome.REFUSED, f"it redirects (status {status}); enter the address that it leads to"
        )
    return Delivery(Outcome.REFUSED if status == _GONE else Outcome.DEFERRED, f"status {status}")


def _split(address: str) -> SplitResult:
    """Return the parts of a URL.

    Raises:
        InvalidRequest: it is not one of http or https, or its host cannot be read in one way.
    """
    invalid = InvalidRequest(
        "this is not the address of a webhook; enter one such as https://example.org/hook",
        field="address",
        code="invalid_address",
    )
    if not address.isascii() or not address.isprintable() or " " in address or "\\" in address:
        raise invalid
    try:
        place = urlsplit(address)
        port = place.port
    except ValueError:
        raise invalid from None
    host = place.hostname
    if place.scheme not in ("http", "https") or not host or place.username is not None or port == 0:
        raise invalid
    with suppress(ValueError):
        ip_address(host)
        return place
    last = host.rstrip(".").rpartition(".")[2]
    if last.isdigit() or last.startswith("0x"):  # such as 127.1, which some resolvers accept
        raise invalid
    return place


def _port(place: SplitResult) -> int:
    return place.port or (443 if place.scheme == "https" else 80)
