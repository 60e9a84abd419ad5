"""Debian's nginx in front of a service, with the configuration that ships with the service."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import trustme

from tests.servers import Server

SHIPPED = Path(__file__).parents[1] / "deployment" / "nginx" / "rebalancer.conf"

_MAIN = """
{user}
daemon off;
pid nginx.pid;
error_log error.log;
worker_processes 1;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    {folders}
    include rebalancer.conf;
}}
"""


class Nginx(Server):
    """nginx with TLS for the name localhost.

    Args:
        folder: Stores configuration, certificates and logs.
        service: Port of the service on loopback.
    """

    name, variable = "nginx", "NGINX_URL"

    def __init__(self, folder: Path, service: int) -> None:
        super().__init__(folder)
        self._program = find_nginx()
        authority = trustme.CA()
        self.authority = folder / "authority.pem"
        """Certificate of the authority that clients must trust."""
        authority.cert_pem.write_to_path(self.authority)
        issued = authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(folder / "key.pem")
        for number, part in enumerate(issued.cert_chain_pems):
            part.write_to_path(folder / "certificate.pem", append=number > 0)
        _write_configuration(folder, self.port, service)

    def command(self) -> list[str]:
        """Return the command that runs in the foreground with files of the folder only."""
        return [self._program, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]

    def ping(self) -> None:
        """Connect."""
        socket.create_connection(("127.0.0.1", self.port), timeout=2).close()


def _write_configuration(folder: Path, port: int, service: int) -> None:
    """Write the shipped configuration with the lines that it marks as the operator's replaced."""
    text = SHIPPED.read_text(encoding="utf-8")
    for shipped, ours in {
        "server 127.0.0.1:8000;": f"server 127.0.0.1:{service};",
        "listen 443 ssl http2 default_server;": f"listen {port} ssl http2 default_server;",
        "listen 443 ssl http2;": f"listen {port} ssl http2;",
        "server_name rebalancer.example;": "server_name localhost;",
        "/etc/ssl/rebalancer/certificate.pem": str(folder / "certificate.pem"),
        "/etc/ssl/rebalancer/key.pem": str(folder / "key.pem"),
    }.items():
        assert text.count(shipped) == 1, shipped
        text = text.replace(shipped, ours)
    (folder / "rebalancer.conf").write_text(text, encoding="utf-8")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "\n    ".join(f"{kind}_temp_path {folder / kind};" for kind in kinds)
    user = "user root;" if os.geteuid() == 0 else ""
    main = _MAIN.format(user=user, folders=folders)
    (folder / "nginx.conf").write_text(main, encoding="utf-8")


def find_nginx() -> str:
    """Return the program; install it if it is missing and that is possible.

    Raises:
        RuntimeError: it is missing, and only root can install it.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    found = shutil.which("nginx", path=path)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(
            ["apt-get", "install", "--yes", "--no-install-recommends", "nginx-light"],
            check=True,
            capture_output=True,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
        found = shutil.which("nginx", path=path)
    if found is None:
        raise RuntimeError("nginx is not installed; run `apt-get install nginx-light` as root")
    return found
