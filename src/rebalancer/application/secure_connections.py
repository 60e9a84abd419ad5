"""TLS to servers: which URLs do without it, and what is wrong with a certificate."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_UNVERIFIED = re.compile(
    "certificate.verify.failed|does not match host name|doesn't match|root certificate file",
    re.IGNORECASE,
)
_REASONS = (
    (
        re.compile("mismatch|does not match|doesn't match|not valid for", re.IGNORECASE),
        "is for another host name; connect by a name that it lists",
    ),
    (
        re.compile("expired|not yet valid", re.IGNORECASE),
        "has expired or is not valid yet; renew it, or set the clock",
    ),
    (
        re.compile("self.signed|local issuer|unknown ca", re.IGNORECASE),
        "is of an authority that is not trusted; name the authority's certificate in the URL",
    ),
    (
        re.compile("root certificate file", re.IGNORECASE),
        "cannot be checked, since the file with the authority's certificate cannot be read",
    ),
)

_YES = ("true", "1", "yes", "on")

REMEDIES = {
    "postgresql": "end the URL with ?sslmode=verify-full&sslrootcert=/path/to/ca.pem",
    "redis": "write rediss:// instead of redis://, and ?ssl_ca_certs=/path/to/ca.pem at its end",
    "mongodb": "add tls=true&tlsCAFile=/path/to/ca.pem to the options of the URL",
}
"""How to connect with TLS, by kind of server."""


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def find_plain_connection(url: str) -> str | None:
    """Return the remedy if a URL leads to another machine and does not verify its certificate.

    Files and sockets of this machine need no TLS.
    """
    parts = urlsplit(url)
    kind = parts.scheme.partition("+")[0]
    kind = {"postgres": "postgresql", "rediss": "redis", "valkey": "redis", "valkeys": "redis"}.get(
        kind, kind
    )
    options = [(name, value.lower()) for name, value in parse_qsl(parts.query)]
    if kind not in REMEDIES or _is_verified(parts, kind, dict(options)):
        return None
    named = [value for name, value in options if name == "host"]
    remote = [host for host in _hosts(parts, named) if not is_loopback(host)]
    return REMEDIES[kind] if remote else None


def describe_certificate_fault(error: str) -> str | None:
    """Return what is wrong with a server's certificate by the text of a client's error.

    None: the error is another one.
    """
    if not _UNVERIFIED.search(error):
        return None
    for pattern, reason in _REASONS:
        if pattern.search(error):
            return reason
    return "has expired, or is of an authority that is not trusted; see the options of the URL"


def _hosts(parts: SplitResult, named: Sequence[str]) -> Iterator[str]:
    """Yield the hosts of a URL; those of its options replace the others, as in libpq."""
    location = ",".join(named) or parts.netloc.rpartition("@")[2]
    for host in unquote(location).split(","):
        name = host if host.startswith("/") else host.rpartition("]")[0] or host.split(":")[0]
        if name and not name.startswith("/"):  # a folder of sockets
            yield name


def _is_verified(parts: SplitResult, kind: str, options: dict[str, str]) -> bool:
    """Return whether the client checks certificate and name of the server."""
    if kind == "postgresql":
        return options.get("sslmode") == "verify-full"
    if kind == "redis":
        unchecked = options.get("ssl_cert_reqs") in ("none", "optional")
        unnamed = options.get("ssl_check_hostname", "true") not in _YES
        return parts.scheme in ("rediss", "valkeys") and not unchecked and not unnamed
    lower = {name.lower(): value for name, value in options.items()}
    srv = parts.scheme.endswith("+srv")
    encrypted = lower.get("tls", lower.get("ssl", "true" if srv else "false")) in _YES
    careless = ("tlsinsecure", "tlsallowinvalidcertificates", "tlsallowinvalidhostnames")
    return encrypted and not any(lower.get(name) in _YES for name in careless)
