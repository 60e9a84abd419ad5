"""`rebalancer serve` refuses a setup that it cannot serve; `tests.e2e` starts it."""

import socket
import sqlite3

import pytest
import trustme

from tests.e2e.test_tls import write_pair

KEY = "q8Zt-4mWc_R7yBn2Kd9sLx0PvGh6Ue3JfA1oTi5Ha"


@pytest.fixture
def refused(quickly):
    def run(*options, env=None):
        done = quickly("serve", *options, env=env)
        assert done.refused()
        (line,) = done.stderr.splitlines()
        return line

    return run


def test_database_without_current_schema_is_refused(refused, quickly, tmp_path):
    remedy = "Run `rebalancer db upgrade`, or `rebalancer serve --upgrade`."
    line = refused("--port", "0")
    assert "has no tables" in line and remedy in line
    assert quickly("db", "upgrade").code == 0
    with sqlite3.connect(tmp_path / "rebalancer.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    connection.close()
    line = refused("--port", "0")
    assert "is at revision 0000" in line and remedy in line
    assert "does not know" in refused("--port", "0", "--upgrade")


@pytest.mark.parametrize("shared", [False, True])  # as the processes of a server share theirs
def test_port_in_use_is_refused(refused, database, shared):
    with socket.create_server(("127.0.0.1", 0), reuse_port=shared) as other:
        port = str(other.getsockname()[1])
        assert f"port: cannot listen on port {port}: another program" in refused("--port", port)


@pytest.mark.parametrize(
    ("options", "env", "fragment"),
    [
        (
            ["--host", "0.0.0.0"],
            {},
            "a secret key is required to listen on 0.0.0.0",
        ),
        ([], {"ENVIRONMENT": "production"}, "a secret key is required outside development"),
        (
            ["--demo"],
            {
                "ENVIRONMENT": "production",
                "SECRET_KEY": KEY,
                "ENCRYPTION": "off",
            },
            "demo: the demo account has a public password",
        ),
        (["--demo"], {"PRICES": "prices.csv"}, "demo: the demo account needs the sample prices"),
        ([], {"PRICES": "missing.csv"}, "missing.csv"),
        ([], {"DATABASE_URL": "mysql://host/db"}, "database: the URL names no database"),
        (
            ["--host", "unknown.invalid", "--upgrade"],
            {"SECRET_KEY": KEY},
            "host: 'unknown.invalid' is not an address, and its name cannot be resolved",
        ),
        (
            ["--host", "192.0.2.1", "--upgrade"],
            {"SECRET_KEY": KEY},
            "host: cannot bind to 192.0.2.1: not a local address",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list | dict) else "",
)
def test_invalid_setup_is_refused(refused, options, env, fragment):
    assert fragment in refused(*options, env={f"REBALANCER_{k}": v for k, v in env.items()})


def test_unusable_files_are_named(refused, tmp_path):
    ca = trustme.CA()
    pair = write_pair(ca, tmp_path)
    (tmp_path / "other").mkdir()
    other = write_pair(ca, tmp_path / "other")
    for change, words in (
        ({"REBALANCER_TLS_KEY": ""}, "REBALANCER_TLS_KEY: TLS needs a certificate"),
        ({"REBALANCER_TLS_KEY": other["REBALANCER_TLS_KEY"]}, "the key is of another certificate"),
        ({"REBALANCER_TLS_KEY": str(tmp_path / "none")}, "No such file"),
        ({"REBALANCER_TLS_CERTIFICATE": pair["REBALANCER_TLS_KEY"]}, "must be PEM files"),
    ):
        assert words in refused("--port", "0", "--upgrade", env=pair | change)
