"""Which networks owners may have messages sent to."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import attrs

from rebalancer.domain.errors import InvalidRequest

Address = IPv4Address | IPv6Address

_TRANSLATED = ip_network("64:ff9b::/96")
"""IPv4 addresses as NAT64 writes them (RFC 6052)."""


class Unresolved(OSError):
    """No address is known for a host now."""


@attrs.frozen
class Networks:
    """Networks that owners may reach: the public ones, and those that the operator allows.

    Without this, an owner could have this server send requests to machines behind its firewall.

    Attributes:
        allowed: Private networks, such as ``192.168.1.0/24``.
    """

    allowed: tuple[str, ...] = ()

    def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host, to which alone a connection may be made.

        Raises:
            InvalidRequest: the host has an address that owners may not reach.
            Unresolved: the host has no address now.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Unresolved(f"{host} has no address") from error
        addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
        for address in addresses:
            self.check(address)
        if not addresses:
            raise Unresolved(f"{host} has no address")
        return addresses

    def check(self, address: str) -> None:
        """Check an IP address.

        Raises:
            InvalidRequest: owners may not reach it.
        """
        found = ip_address(address)
        if not (self.allows(address) or _is_public(found)):
            raise InvalidRequest(
                "the address leads to a private network; enter one that is reached over the "
                "internet, or ask the operator to allow the network",
                field="address",
                code="address_not_allowed",
            )

    def allows(self, address: str) -> bool:
        """Return whether the operator allows an address, private or not."""
        found = _unwrapped(ip_address(address))
        return any(found in ip_network(one, strict=False) for one in self.allowed)


def _is_public(address: Address) -> bool:
    inner = _unwrapped(address)
    return address.is_global and inner.is_global and not inner.is_multicast


def _unwrapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to; others as they are."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _TRANSLATED:
        return IPv4Address(address.packed[-4:])
    return address
