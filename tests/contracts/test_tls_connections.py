"""TLS to real servers, whose certificates are checked."""

from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
import trustme
from sqlalchemy import text

from rebalancer.adapters.mongo import connection as mongo
from rebalancer.adapters.redis.connection import Connection
from rebalancer.adapters.sql.engine import connect, reading
from rebalancer.application.secure_connections import find_plain_connection
from rebalancer.config import Settings
from rebalancer.domain.errors import InvalidRequest, Unavailable
from tests.certificates import tls_proxy, write_certificate

WRONG = {
    "another host": "another host name|not trusted",
    "expired": "expired",
    "unknown authority": "not trusted",
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Return a folder with certificates by what is wrong with each."""
    folder, ca, other = tmp_path_factory.mktemp("tls"), trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    made = {
        "good": write_certificate(ca, folder, "localhost"),
        "another host": write_certificate(ca, folder, "elsewhere.example"),
        "expired": write_certificate(ca, folder, "localhost", expired=True),
    }
    (folder / "other").mkdir()
    made["unknown authority"] = write_certificate(other, folder / "other", "localhost")
    return folder / "ca.pem", made


def ask_postgres(url, port, ca):
    path = urlsplit(url).path
    secure = f"postgresql://postgres@localhost:{port}{path}?sslmode=verify-full&sslrootcert={ca}"
    assert find_plain_connection(secure) is None
    engine = connect(secure, lock_timeout=5)
    try:
        with reading(engine) as connection:
            return connection.execute(text("SELECT 1")).scalar() == 1
    finally:
        engine.dispose()


def ask_redis(url, port, ca):
    secure = f"rediss://localhost:{port}/0?ssl_ca_certs={ca}"
    assert find_plain_connection(secure) is None
    with ExitStack() as stack:
        connection = Connection(secure, timeout=5)
        stack.callback(connection.close)
        connection.check()
    return True


def ask_mongo(url, port, ca):
    options = f"tls=true&tlsCAFile={ca}&directConnection=true"
    secure = f"mongodb://localhost:{port}/rebalancer?{options}"
    assert find_plain_connection(secure) is None
    database = mongo.connect(secure, timeout=1)
    try:
        with mongo.translated():
            return database.command("ping")["ok"] == 1
    finally:
        database.client.close()


@pytest.fixture(params=["postgres", "redis", "mongo"])
def ask(request, authority):
    """Return a function that asks a server through TLS with one of the certificates."""
    ca, made = authority
    url = request.getfixturevalue(f"{request.param}_url")
    how = {"postgres": ask_postgres, "redis": ask_redis, "mongo": ask_mongo}[request.param]

    def through(certificate):
        starts_plain = request.param == "postgres"
        with tls_proxy(urlsplit(url).port, made[certificate], starts_plain=starts_plain) as port:
            return how(url, port, ca)

    return through


def test_server_with_a_valid_certificate_is_used(ask):
    assert ask("good")


@pytest.mark.parametrize("wrong", WRONG)
def test_server_with_an_invalid_certificate_is_refused_with_a_sentence(ask, wrong):
    with pytest.raises(Unavailable, match=r"^the certificate of the \w+ server") as refused:
        ask(wrong)
    assert refused.value.code.endswith("_certificate_invalid")


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("sqlite:///rebalancer.db", False),
        ("postgresql://localhost/x", False),
        ("postgresql://u:p@127.0.0.1:5432/x", False),
        ("postgresql://u@[::1]/x", False),
        ("postgresql:///x?host=/run/postgresql", False),
        ("postgresql://db.example.org/x", True),
        ("postgresql://db.example.org/x?sslmode=require", True),
        ("postgresql://db.example.org/x?sslmode=verify-full", False),
        ("postgresql://localhost/x?host=db.example.org", True),
        ("postgresql://[fd00::1]/x", True),
        ("redis://localhost:6379/0", False),
        ("unix:///run/valkey.sock", False),
        ("redis://:p@cache/0", True),
        ("valkey://cache", True),
        ("rediss://cache", False),
        ("rediss://cache?ssl_cert_reqs=none", True),
        ("rediss://cache?ssl_check_hostname=false", True),
        ("mongodb://localhost,127.0.0.1:27018/x", False),
        ("mongodb://localhost,mongo:27018/x", True),
        ("mongodb://u:p@mongo/x?replicaSet=rs0", True),
        ("mongodb://mongo/x?tls=true", False),
        ("mongodb://mongo/x?ssl=true&tlsInsecure=true", True),
        ("mongodb://mongo/x?tls=true&tlsAllowInvalidHostnames=true", True),
        ("mongodb+srv://mongo.example.org/x", False),
        ("mongodb+srv://mongo.example.org/x?tls=false", True),
    ],
)
def test_plain_connections_to_other_machines_are_found(url, plain):
    assert (find_plain_connection(url) is not None) == plain


def test_production_refuses_plain_connections_unless_they_are_allowed():
    secret = {"REBALANCER_ENVIRONMENT": "production", "REBALANCER_ENCRYPTION": "off"}
    server = {"REBALANCER_DATABASE_URL": "postgresql://u:hidden@db/x"}
    with pytest.raises(InvalidRequest, match="sslmode=verify-full") as refused:
        Settings.read(secret | server).check_connections()
    assert refused.value.field == "REBALANCER_DATABASE_URL" and "hidden" not in str(refused.value)
    Settings.read(secret | server | {"REBALANCER_PLAIN_CONNECTIONS": "allowed"}).check_connections()
    Settings.read(server).check_connections()
    with pytest.raises(InvalidRequest):
        Settings.read(server | {"REBALANCER_PLAIN_CONNECTIONS": "refused"}).check_connections()
