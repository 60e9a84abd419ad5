"""The server's own TLS."""

import signal
import ssl
import subprocess

import httpx
import pytest
import trustme

from tests.e2e.conftest import until
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


def write_pair(ca, folder):
    """Write a new certificate and its key; return the settings that name them."""
    issued = ca.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    with (folder / "certificate.pem").open("wb") as file:
        file.write(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return {
        "REBALANCER_TLS_CERTIFICATE": str(folder / "certificate.pem"),
        "REBALANCER_TLS_KEY": str(folder / "key.pem"),
    }


def certificate_of(port):
    """Return the certificate of a server; None while it does not listen."""
    try:
        return ssl.get_server_certificate(("127.0.0.1", port))
    except OSError:
        return None


def test_server_speaks_tls_and_takes_renewed_files(ca, serve, tmp_path):
    server = serve("--upgrade", env=write_pair(ca, tmp_path))
    assert server.address.startswith("https://")
    port = int(server.address.rpartition(":")[2])
    trusted, unknown = ssl.create_default_context(), ssl.create_default_context()
    ca.configure_trust(trusted)
    with server.client(verify=trusted) as client:
        answer = client.get("/health/live")
    assert answer.status_code == 200
    assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
    with server.client(verify=unknown) as client, pytest.raises(httpx.ConnectError):
        client.get("/health/live")
    with httpx.Client(trust_env=False) as client, pytest.raises(httpx.TransportError):
        client.get(f"http://127.0.0.1:{port}/health/live")

    before = certificate_of(port)
    write_pair(ca, tmp_path)
    server.process.send_signal(signal.SIGHUP)
    until(lambda: certificate_of(port) not in (None, before), server.process)
    assert server.stop() == 0


def test_plain_server_sends_no_transport_policy(serve):
    server = serve("--upgrade")
    with server.client() as client:
        assert "strict-transport-security" not in client.get("/health/live").headers


def test_unusable_files_are_named(ca, tmp_path):
    pair = write_pair(ca, tmp_path)
    (tmp_path / "other").mkdir()
    other = write_pair(ca, tmp_path / "other")
    cases = [
        ({"REBALANCER_TLS_KEY": ""}, "REBALANCER_TLS_KEY: TLS needs a certificate"),
        ({"REBALANCER_TLS_KEY": other["REBALANCER_TLS_KEY"]}, "the key is of another certificate"),
        ({"REBALANCER_TLS_KEY": str(tmp_path / "none")}, "No such file"),
        ({"REBALANCER_TLS_CERTIFICATE": pair["REBALANCER_TLS_KEY"]}, "must be PEM files"),
    ]
    for change, words in cases:
        done = subprocess.run(
            [COMMAND, "serve", "--port", "0", "--upgrade"],
            capture_output=True,
            encoding="utf-8",
            env=ENVIRONMENT | pair | change,
            cwd=tmp_path,
            timeout=120,
        )
        assert done.returncode == 2 and words in done.stderr, done.stderr
