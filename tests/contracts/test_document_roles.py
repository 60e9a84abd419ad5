"""The users of `deployment/mongo` suffice for the store of market data, and for nothing more."""

import ast
import re
from contextlib import ExitStack
from pathlib import Path

import pymongo
import pytest
from pymongo.errors import OperationFailure

from rebalancer.adapters.mongo.connection import UNAUTHORIZED, connect
from rebalancer.adapters.mongo.market import MongoMarket
from rebalancer.application.stored_market import StoredMarket
from tests.contracts.test_market_store import some_bars
from tests.servers import Mongo, running

SCRIPT = Path(__file__).parents[2] / "deployment" / "mongo" / "roles.js"


def actions(name):
    """Return a list of actions of the script."""
    (found,) = re.findall(rf"const {name} = (\[.*?\]);", SCRIPT.read_text(encoding="utf-8"))
    return ast.literal_eval(found)


class GuardedMongo(Mongo):
    """A server that asks for passwords once it is asked to."""

    guarded = False

    def command(self):
        return [*super().command(), *(["--auth"] if self.guarded else [])]

    def ping(self):
        with pymongo.MongoClient(self.url, serverSelectionTimeoutMS=2000) as client:
            client.admin.command("hello")


@pytest.fixture(scope="module")
def database_of():
    """Return a function that connects as a user to a server with both users of the script."""
    with running(GuardedMongo) as server, ExitStack() as at_the_end:
        with pymongo.MongoClient(server.url) as client:
            for user, allowed in (
                ("rebalancer_owner", actions("documents") + actions("collections")),
                ("rebalancer_app", actions("documents")),
            ):
                privilege = {"resource": {"db": "books", "collection": ""}, "actions": allowed}
                client.admin.command("createRole", user, privileges=[privilege], roles=[])
                role = {"role": user, "db": "admin"}
                client.admin.command("createUser", user, pwd="secret", roles=[role])
        server.stop()
        server.guarded = True
        server.start()

        def connected(user):
            address = server.url.partition("//")[2]
            database = connect(f"mongodb://{user}:secret@{address}books?authSource=admin")
            at_the_end.callback(database.client.close)
            return database

        yield connected


def test_application_reads_and_writes_what_the_owner_has_prepared(database_of):
    MongoMarket(database_of("rebalancer_owner")).prepare()
    application = database_of("rebalancer_app")
    market = StoredMarket(MongoMarket(application))
    market.save_bars([some_bars("A")])
    market.save_bars([some_bars("B")])
    assert market.symbols() == ("A", "B")
    some = application[min(application.list_collection_names())]
    for refused in (
        some.drop,
        lambda: some.create_index("more"),
        lambda: application.create_collection("more"),
        lambda: application.command("collMod", some.name, validator={}),
        lambda: application.command("createUser", "more", pwd="secret", roles=[]),
        lambda: application.client["others"]["more"].find_one(),
    ):
        with pytest.raises(OperationFailure) as raised:
            refused()
        assert raised.value.code == UNAUTHORIZED
