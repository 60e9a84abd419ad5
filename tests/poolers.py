"""PgBouncer in transaction mode, in front of a Postgres server."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from tests.servers import Server, unprivileged_user


def find_pgbouncer() -> str | None:
    """Return the program, of $PGBOUNCER or of the system; None without one."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    return os.environ.get("PGBOUNCER") or shutil.which("pgbouncer", path=path)


_CONFIGURATION = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = 5
max_client_conn = 200
# Each transaction gets the session that rested longest, so that few have the one before.
server_round_robin = 1
"""


class PgBouncer(Server):
    """A pooler that gives each transaction another session.

    Args:
        folder: Stores configuration and logs.
        server: URL of the Postgres server.
        roles: Roles that may log in.
    """

    name, variable = "pgbouncer", "PGBOUNCER_URL"

    def __init__(self, folder: Path, server: str, roles: tuple[str, ...]) -> None:
        super().__init__(folder)
        self._server = make_url(server)
        users = folder / "users.txt"
        users.write_text("".join(f'"{role}" ""\n' for role in roles))
        self._configuration = folder / "pgbouncer.ini"
        self._configuration.write_text(
            _CONFIGURATION.format(
                host=self._server.host, port=self._server.port, own_port=self.port, users=users
            )
        )
        folder.chmod(0o755)

    def through(self, url: str) -> str:
        """Return the URL of a database that leads through the pooler."""
        parsed = make_url(url).set(host="127.0.0.1", port=self.port)
        return parsed.render_as_string(hide_password=False)

    def command(self) -> list[str]:
        """Return the command that runs in the foreground."""
        program = find_pgbouncer()
        assert program is not None
        return [program, str(self._configuration)]

    def ping(self) -> None:
        """Connect."""
        import psycopg

        psycopg.connect(self.through(str(self._server)), connect_timeout=2).close()

    def user_options(self) -> dict[str, Any]:
        """Return an unprivileged user if we are root, which the program refuses."""
        return unprivileged_user()
