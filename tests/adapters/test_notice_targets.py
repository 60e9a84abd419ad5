"""Webhooks and push services against real servers, with their faults."""

from __future__ import annotations

import json
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs
import pytest
import trustme

from rebalancer.adapters.webhooks.http import HttpWebhooks
from rebalancer.adapters.webhooks.networks import Networks
from rebalancer.adapters.webhooks.push import FIXED_HOSTS, OWN_HOSTS, AppriseServices
from rebalancer.application.ports.mail import Delivery, Outcome
from rebalancer.domain.errors import InvalidRequest

# Of apprise, which imports a module that Python will remove.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

LOCAL = Networks(("127.0.0.0/8",))


class Receiver(ThreadingHTTPServer):
    """Server that records requests and gives one answer.

    Attributes:
        status: Of the answer; None: it sends one byte and waits.
    """

    status: int | None = 204
    daemon_threads = True

    def __init__(self, context=None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received, self.stopping = [], threading.Event()
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request, client_address):
        """Do nothing: a client that refuses the certificate hangs up."""


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, dict(self.headers), body))
        if self.server.status is None:
            self.wfile.write(b"H")
            self.server.stopping.wait(60)
            return
        self.send_response(self.server.status)
        self.send_header("Location", "http://169.254.169.254/latest")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Do nothing."""


@contextmanager
def serving(context=None):
    server = Receiver(context)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def secured(authority):
    """Return a server whose certificate names localhost alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with serving(context) as server:
        yield server


@pytest.fixture(scope="module")
def plain():
    with serving() as server:
        yield server


def trusting(authority, **others):
    def context():
        made = ssl.create_default_context()
        authority.configure_trust(made)
        return made

    return HttpWebhooks(LOCAL, context, **others)


def post(webhooks, server, *, scheme="http", host="127.0.0.1", path="/hook?a=b"):
    address = f"{scheme}://{host}:{server.server_port}{path}"
    return webhooks.post(address, b'{"a":1}', {"Idempotency-Key": "7"})


def test_message_arrives_over_tls(authority, secured):
    answer = post(trusting(authority), secured, scheme="https", host="localhost")
    assert answer == Delivery(Outcome.SENT)
    path, headers, body = secured.received[-1]
    assert (path, body, headers["Idempotency-Key"]) == ("/hook?a=b", b'{"a":1}', "7")
    assert headers["Host"] == f"localhost:{secured.server_port}"


def test_certificate_is_checked(authority, secured):
    unknown = post(HttpWebhooks(LOCAL), secured, scheme="https", host="localhost")
    assert unknown.outcome is Outcome.DEFERRED and "not trusted" in unknown.reason
    other = post(trusting(authority), secured, scheme="https")
    assert other.outcome is Outcome.DEFERRED and "another host name" in other.reason


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.SENT),
        (302, Outcome.REFUSED),
        (400, Outcome.DEFERRED),
        (410, Outcome.REFUSED),
        (503, Outcome.DEFERRED),
    ],
)
def test_answers_decide_whether_to_try_again(plain, status, outcome):
    plain.status = status
    before = len(plain.received)
    answer = post(HttpWebhooks(LOCAL), plain)
    assert answer.outcome is outcome
    assert answer.reason == "" or str(status) in answer.reason
    assert len(plain.received) == before + 1  # a redirect is not followed


def test_slow_answer_is_cut_off(plain):
    plain.status = None
    for webhooks in (HttpWebhooks(LOCAL, longest=0.1), HttpWebhooks(LOCAL, timeout=0.1)):
        assert post(webhooks, plain) == Delivery(Outcome.DEFERRED, "it did not answer in time")


@attrs.frozen
class TwoAddresses(Networks):
    """Names whose first address does not answer."""

    def resolve(self, host, port):
        return ["127.0.0.9", "127.0.0.1"]


def test_next_address_is_tried_where_the_first_does_not_answer(plain):
    plain.status = 204
    webhooks = HttpWebhooks(TwoAddresses(LOCAL.allowed))
    assert post(webhooks, plain).outcome is Outcome.SENT


def test_server_that_is_gone_is_tried_again():
    with serving() as server:
        pass
    assert post(HttpWebhooks(LOCAL), server).outcome is Outcome.DEFERRED


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[fe80::1]", "[fd00::1]"),
        *("[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::]"),
    ],
)
def test_private_addresses_are_refused(host):
    webhooks = HttpWebhooks(Networks())
    with pytest.raises(InvalidRequest) as error:
        webhooks.check(f"https://{host}/hook")
    assert error.value.code == "address_not_allowed"
    assert webhooks.post(f"https://{host}/hook", b"", {}).outcome is Outcome.REFUSED


@pytest.mark.parametrize(
    "address",
    [
        *("", "example.org", "ftp://example.org", "file:///etc/passwd", "https://", "https://:1"),
        *("https://user:secret@8.8.8.8/", "https://8.8.8.8/a b", "https://8.8.8.8\r\nX: y"),
        *("https://8.8.8.8:0/", "https://8.8.8.8:99999/", "https://2130706433/", "https://0x7f.1/"),
        *("https://127.1/", "https://8.8.8.8\\@127.0.0.1/", "https://bücher.example/"),
    ],
)
def test_malformed_addresses_are_refused_without_quoting_them(address):
    with pytest.raises(InvalidRequest) as error:
        HttpWebhooks(Networks()).check(address)
    assert error.value.code == "invalid_address"
    assert "secret" not in str(error.value)


def test_public_addresses_need_encryption():
    webhooks = HttpWebhooks(Networks(("192.168.1.0/24",)))
    for address in ("https://8.8.8.8/", "https://[2001:4860:4860::8888]:8443/x?y=z"):
        webhooks.check(address)
    webhooks.check("http://192.168.1.7/hook")
    for address in ("http://8.8.8.8/", "http://no-such-host.invalid/"):
        with pytest.raises(InvalidRequest, match="https://"):
            webhooks.check(address)


def test_push_service_gets_the_message(plain):
    plain.status = 200
    host = f"127.0.0.1:{plain.server_port}"
    services = AppriseServices(("127.0.0.1",))
    assert services.push(f"json://{host}/a", "Title", "Text") == Delivery(Outcome.SENT)
    content = json.loads(plain.received[-1][2])
    assert (content["title"], content["message"]) == ("Title", "Text")
    plain.status = 500
    answer = services.push(f"json://{host}/a", "Title", "Text")
    assert answer == Delivery(Outcome.DEFERRED, "the service did not take the message")


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("syslog://", "address_not_allowed"),
        ("dbus://", "address_not_allowed"),
        ("file:///etc/passwd", "address_not_allowed"),
        ("exec://id", "address_not_allowed"),
        ("mailtos://user:pass@example.org", "address_not_allowed"),
        ("ntfy", "address_not_allowed"),
        ("ntfys://192.168.1.1/topic", "address_not_allowed"),
        ("json://127.0.0.1/", "address_not_allowed"),
        ("json://ntfy.sh@127.0.0.1/", "address_not_allowed"),
        ("ntfys://ntfy.sh/topic?verify=no", "address_not_allowed"),
        ("tgram://nothing", "invalid_address"),
    ],
)
def test_other_services_and_hosts_are_refused(address, code):
    with pytest.raises(InvalidRequest) as error:
        AppriseServices(("ntfy.sh",)).check(address)
    assert error.value.code == code


def test_allowed_services_are_accepted():
    services = AppriseServices(("ntfy.sh",))
    for address in ("ntfys://ntfy.sh/topic", f"tgram://123456789:{'A' * 35}/12315544/"):
        services.check(address)


def test_listed_services_exist_and_none_runs_programs():
    import apprise

    known = {
        scheme
        for entry in apprise.Apprise().details()["schemas"]
        for scheme in (*(entry["protocols"] or ()), *(entry["secure_protocols"] or ()))
    }
    assert known >= FIXED_HOSTS | OWN_HOSTS
