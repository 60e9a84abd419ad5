"""Servers behind a network that drops packets: errors within seconds, and in sentences."""

import threading
import time
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy import make_url

from rebalancer.adapters.mongo.connection import connect as connect_to_mongo
from rebalancer.adapters.mongo.connection import translated
from rebalancer.adapters.redis.connection import Connection, RedisAway
from rebalancer.adapters.sql.engine import connect, reading
from rebalancer.domain.errors import Unavailable
from tests.packets import Relay

PATIENCE = 20
"""Seconds; 9 are needed on a machine at rest. Without limits of ours, the system waits minutes."""


@pytest.fixture(scope="module")
def relay(postgres_url):
    with Relay(make_url(postgres_url).port) as relay:
        yield relay


@pytest.fixture
def engine(postgres_url, relay):
    url = make_url(postgres_url).set(port=relay.port)
    engine = connect(url.render_as_string(hide_password=False))
    yield engine
    engine.dispose()


def read(engine, statement="SELECT 1"):
    with reading(engine) as connection:
        return connection.exec_driver_sql(statement).scalar()


def fail(engine, statement="SELECT 1"):
    """Assert that the database does not answer; return the seconds that it took."""
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="did not answer") as failed:
        read(engine, statement)
    assert failed.value.code == "database_unavailable"
    return time.monotonic() - begun


def test_dropped_packets_fail_within_seconds_and_then_it_answers_again(engine, relay):
    assert read(engine) == 1
    with relay.dropping():
        assert fail(engine) < PATIENCE  # its connection is dead, and it finds no other
        assert fail(engine) < PATIENCE  # it has no connection
    assert read(engine) == 1


def test_statement_whose_server_vanishes_fails_within_seconds(engine, relay):
    read(engine)
    cut = threading.Event()

    def drop():
        with relay.dropping():
            cut.wait(60)

    begins = threading.Timer(0.5, drop)
    begins.start()
    try:
        assert fail(engine, "SELECT pg_sleep(60)") < PATIENCE
    finally:
        cut.set()
        begins.join()


def test_long_statement_outlives_the_limits_of_the_network(engine):
    assert read(engine, "SELECT 1 FROM pg_sleep(7)") == 1


def test_database_in_sql_ascii_is_refused_in_a_sentence(postgres_url):
    name = "in_ascii"
    with psycopg.connect(postgres_url, autocommit=True) as operator:
        operator.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII'")
    try:
        engine = connect(make_url(postgres_url).set(database=name).render_as_string(False))
        with pytest.raises(Unavailable, match=r"encoding SQL_ASCII.*ENCODING 'UTF8'") as refused:
            read(engine)
        assert refused.value.code == "database_encoding"
        engine.dispose()
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as operator:
            operator.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_mongo_whose_packets_are_dropped_fails_within_seconds(mongo_url):
    with Relay(urlsplit(mongo_url).port) as relay:
        address = f"mongodb://127.0.0.1:{relay.port}/dropped?directConnection=true"
        database = connect_to_mongo(address)
        database.command("ping")
        with relay.dropping():
            begun = time.monotonic()
            with pytest.raises(Unavailable, match="MongoDB does not answer"), translated():
                database.command("ping")
            assert time.monotonic() - begun < 2 * PATIENCE  # else 60 s, the limit of an operation
        database.client.close()


def test_redis_whose_packets_are_dropped_is_unavailable_at_once(redis_url):
    with Relay(urlsplit(redis_url).port) as relay:
        connection = Connection(f"redis://127.0.0.1:{relay.port}/0")
        connection.check()
        with relay.dropping():
            begun = time.monotonic()
            with pytest.raises(RedisAway):
                connection.check()
            assert time.monotonic() - begun < PATIENCE
        connection.close()
