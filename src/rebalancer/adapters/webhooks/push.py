"""Messages to push services by apprise, an optional package."""

from __future__ import annotations

import importlib.util
import logging
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs

from rebalancer.application.ports.mail import Delivery, Outcome
from rebalancer.domain.errors import InvalidRequest, Unavailable

FIXED_HOSTS = frozenset(
    {"discord", "gchat", "join", "pbul", "pover", "prowl", "signl4", "slack", "tgram"}
)
"""Services of apprise whose requests go to one public host that the address cannot change."""

OWN_HOSTS = frozenset(
    {
        *("bark", "barks", "gotify", "gotifys", "hassio", "hassios", "json", "jsons"),
        *("matrix", "matrixs", "mmost", "mmosts", "nctalk", "nctalks", "ntfy", "ntfys"),
        *("rocket", "rockets"),
    }
)
"""Services on a host that the address names; the operator must allow the host."""

_TIMEOUT = 10.0

_FORBIDDEN = ("verify", "rto", "cto", "format", "overflow", "redirect")
"""Parameters of an address that would weaken the connection or hold it for long."""


@attrs.frozen
class AppriseServices:
    """See `PushServices`; apprise is imported at the first use.

    Its plug-ins that run programs, write files or use the desktop are not among the services.

    Attributes:
        hosts: Hosts of the operator's own services, in lower case.
    """

    hosts: tuple[str, ...] = ()

    def check(self, address: str) -> None:
        self._open(address)

    def push(self, address: str, title: str, text: str) -> Delivery:
        service = self._open(address)
        try:
            taken = service.notify(body=text, title=title)
        except Exception as error:  # plug-ins raise what their libraries raise
            return Delivery(Outcome.DEFERRED, f"the service cannot be used: {type(error).__name__}")
        if taken:
            return Delivery(Outcome.SENT)
        return Delivery(Outcome.DEFERRED, "the service did not take the message")

    def _open(self, address: str) -> Any:
        """Return the plug-in of a service."""
        if importlib.util.find_spec("apprise") is None:
            raise Unavailable(
                "this installation sends to no push services; install rebalancer[notices]",
                code="package_missing",
            )
        scheme = self._check_place(address)
        import apprise

        # Its messages quote addresses, which hold passwords.
        logging.getLogger("apprise").setLevel(logging.CRITICAL)
        service = apprise.Apprise.instantiate(address, suppress_exceptions=True)
        if service is None:
            raise InvalidRequest(
                f"this is not a complete address of {scheme}; see "
                "https://github.com/caronc/apprise/wiki",
                field="address",
                code="invalid_address",
            )
        service.socket_connect_timeout = service.socket_read_timeout = _TIMEOUT
        return service

    def _check_place(self, address: str) -> str:
        """Return the scheme of an address whose service and host are allowed."""
        scheme, separator, _ = address.partition("://")
        scheme = scheme.lower()
        if not separator or scheme not in FIXED_HOSTS | OWN_HOSTS:
            listed = ", ".join(sorted(FIXED_HOSTS | OWN_HOSTS))
            raise InvalidRequest(
                f"{scheme[:20]!r} is not an allowed push service; choose one of {listed}",
                field="address",
                code="address_not_allowed",
            )
        try:
            place = urlsplit(address)
            host = (place.hostname or "").lower()
            names = {name.lower() for name, _ in parse_qsl(place.query, keep_blank_values=True)}
        except ValueError:
            host, names = "", set()
        for name in sorted(names):
            if name.lstrip("+-:") in _FORBIDDEN:
                raise InvalidRequest(
                    f"the parameter {name} is not allowed in an address; leave it out",
                    field="address",
                    code="address_not_allowed",
                )
        if scheme in OWN_HOSTS and host not in self.hosts:
            raise InvalidRequest(
                f"the host {host[:80]!r} is not allowed; ask the operator to allow it",
                field="address",
                code="address_not_allowed",
            )
        return scheme
