"""Web origins of the service, for which passkeys are valid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address

import attrs

from rebalancer.domain.errors import InvalidRequest

_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_WEB = re.compile(rf"(https|http)://(?P<host>{_LABEL}(\.{_LABEL})*)(:[1-9][0-9]{{0,4}})?")
_APP = re.compile(r"android:apk-key-hash:[A-Za-z0-9_-]{43}")


@attrs.frozen
class RelyingParty:
    """This service, as passkeys know it (WebAuthn, section 4).

    Attributes:
        id: Domain to which passkeys belong, without a scheme.
        origins: Origins from which they are accepted: pages of that domain, and Android apps.
    """

    id: str
    origins: tuple[str, ...]

    @classmethod
    def of(cls, origins: Sequence[str]) -> RelyingParty:
        """Return the relying party whose domain is the host of the first origin.

        Raises:
            InvalidRequest: an origin is malformed, insecure, or outside that domain.
        """
        hosts = [_host_of(origin) for origin in origins]
        id = hosts[0] if hosts else ""
        if not id:
            raise _invalid("the first origin must be a web page, such as https://app.example.org")
        for origin, host in zip(origins, hosts, strict=True):
            if host and host != id and not host.endswith(f".{id}"):
                raise _invalid(
                    f"{origin} is outside {id}, the domain of the first origin; put the shortest "
                    "domain first, and serve others separately"
                )
        return cls(id, tuple(origins))


def _host_of(origin: str) -> str:
    """Return the host of a web origin; empty for an app."""
    if _APP.fullmatch(origin):
        return ""
    found = _WEB.fullmatch(origin)
    host = found["host"] if found else ""
    if not host or _is_address(host):
        raise _invalid(
            f"{origin!r} is not an origin; write https:// and a domain name in lower case, without "
            "a path"
        )
    if origin.startswith("http:") and host != "localhost":
        raise _invalid(f"{origin} is insecure; browsers offer passkeys only over https")
    return host


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_setting")
