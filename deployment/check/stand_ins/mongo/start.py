"""Start SecantusDB with a user, as mongo:8 does; ``start.py check`` tests its health."""

import os
import socket
import subprocess
import sys
from typing import Any

import pymongo
from secantus import cli  # type: ignore[import-untyped]  # it ships no types

SERVER = ["secantusd-py", "--storage-path", "/data/db"]
NAME = os.environ["MONGO_INITDB_ROOT_USERNAME"]
PASSWORD = os.environ["MONGO_INITDB_ROOT_PASSWORD"]

if sys.argv[1:] == ["check"]:
    with pymongo.MongoClient[Any](
        "mongodb://127.0.0.1:27017/?directConnection=true",
        username=NAME,
        password=PASSWORD,
        serverSelectionTimeoutMS=3000,
    ) as client:
        raise SystemExit(not client.admin.command("hello")["isWritablePrimary"])

# On another port, so that the health check fails until the server has its user.
first = subprocess.Popen([*SERVER, "--host", "127.0.0.1", "--port", "27018"])
with pymongo.MongoClient[Any](
    "mongodb://127.0.0.1:27018/?directConnection=true", serverSelectionTimeoutMS=20000
) as client:
    try:
        client.admin.command("createUser", NAME, pwd=PASSWORD, roles=["root"])
    except pymongo.errors.OperationFailure as error:
        print(error)  # it exists after a restart
first.terminate()
try:
    first.wait(10)
except subprocess.TimeoutExpired:
    first.kill()
    first.wait()


class Server(cli.SecantusDBServer):  # type: ignore[misc]  # of an untyped package
    """A server whose listening thread ends at once; it would wait 2 s for a further connection."""

    def stop(self) -> None:
        """Stop listening, then stop the server."""
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RDWR)
        super().stop()


cli.SecantusDBServer = Server
sys.exit(cli.main([*SERVER[1:], "--host", "0.0.0.0", "--port", "27017", "--auth"]))
