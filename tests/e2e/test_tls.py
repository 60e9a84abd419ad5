"""The server's own TLS."""

import signal
import ssl

import httpx
import pytest
import trustme

from tests.e2e.conftest import until


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
