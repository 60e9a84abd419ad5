"""Start SecantusDB with a user, as mongo:8 does; ``start.py check`` tests its health."""

import os
import subprocess
import sys
from typing import Any

import pymongo

SERVER = ["secantusd-py", "--port", "27017", "--storage-path", "/data/db", "--host"]
NAME = os.environ["MONGO_INITDB_ROOT_USERNAME"]
PASSWORD = os.environ["MONGO_INITDB_ROOT_PASSWORD"]
URL = "mongodb://127.0.0.1/?directConnection=true"

if sys.argv[1:] == ["check"]:
    with pymongo.MongoClient[Any](
        URL, username=NAME, password=PASSWORD, serverSelectionTimeoutMS=3000
    ) as client:
        raise SystemExit(not client.admin.command("hello")["isWritablePrimary"])

first = subprocess.Popen([*SERVER, "127.0.0.1"])
with pymongo.MongoClient[Any](URL, serverSelectionTimeoutMS=20000) as client:
    try:
        client.admin.command("createUser", NAME, pwd=PASSWORD, roles=["root"])
    except pymongo.errors.OperationFailure as error:
        print(error)  # it exists after a restart
first.terminate()
first.wait()
os.execvp(SERVER[0], [*SERVER, "0.0.0.0", "--auth"])
