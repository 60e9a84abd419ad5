"""Addresses of Ray clusters, and which of them may be used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from rebalancer.application.secure_connections import is_loopback
from rebalancer.domain.errors import InvalidRequest

LOCAL = "local"
"""Address of a cluster that this process starts on its machine, and stops when it ends."""

_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(?P<port>\d{1,5})")


def check_address(address: str, environment: Mapping[str, str], home: Path) -> None:
    """Check that an address is well-formed, and that a cluster on a network requires a token.

    Any process that can reach a cluster without one can run code as its user.

    Args:
        address: ``local``, or ``HOST:PORT``.
        environment: Environment variables, which hold the mode of authentication.
        home: Home folder of the user, where Ray looks for a token.

    Raises:
        InvalidRequest: the address is malformed, or needs a token and there is no token.
    """
    if address == LOCAL:
        return
    found = _HOST_AND_PORT.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65_536:
        raise InvalidRequest(
            f"{address!r} is not an address of a Ray cluster; enter HOST:PORT, as `ray start` "
            "prints it, or local",
            field="address",
            code="invalid_cluster_address",
        )
    if is_loopback(found["host"]):
        return
    if environment.get("RAY_AUTH_MODE", "").lower() != "token":
        raise InvalidRequest(
            f"{address} is on a network, where anyone who reaches a Ray cluster without a token "
            "can run code on it; start all nodes and this command with RAY_AUTH_MODE=token and a "
            "token",
            field="address",
            code="cluster_without_token",
        )
    stated = environment.get("RAY_AUTH_TOKEN") or environment.get("RAY_AUTH_TOKEN_PATH")
    if not stated and not (home / ".ray" / "auth_token").is_file():
        raise InvalidRequest(
            "the token of the cluster is missing; set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to "
            "its file",
            field="address",
            code="cluster_token_missing",
        )
