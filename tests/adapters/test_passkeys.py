"""WebAuthn ceremonies with a software authenticator, right and faulty."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from rebalancer.adapters.security.passkeys import WebAuthnCeremonies
from rebalancer.application.ports.factors import PasskeyCeremonies
from rebalancer.domain.accounts.factors import Passkey
from rebalancer.domain.accounts.origins import RelyingParty
from rebalancer.domain.errors import InvalidRequest, NotAuthenticated, NotFound
from tests.authenticator import ORIGIN, Authenticator, decode, encode
from tests.contracts.stores import NOW, a_passkey

ADA = UUID(int=1)
CHALLENGE = "a challenge of the store"
PARTY = RelyingParty.of([ORIGIN])


@pytest.fixture
def ceremonies() -> PasskeyCeremonies:
    return WebAuthnCeremonies(PARTY)


@pytest.fixture
def authenticator() -> Authenticator:
    return Authenticator()


def creation(ceremonies: PasskeyCeremonies, *exclude: Passkey) -> dict[str, Any]:
    return dict(
        ceremonies.creation_options(
            CHALLENGE, user=ADA, email="ada@example.org", name="Ada", exclude=exclude
        )
    )


def registered(ceremonies: PasskeyCeremonies, authenticator: Authenticator) -> Passkey:
    new = ceremonies.register(authenticator.create(creation(ceremonies)), CHALLENGE)
    return a_passkey(
        ADA, credential=new.id, public_key=new.public_key, sign_count=new.sign_count, created=NOW
    )


def test_options_ask_for_a_discoverable_passkey_of_a_verified_user(ceremonies):
    other = a_passkey(ADA, transports=("internal", "telepathy"))
    options = creation(ceremonies, other)
    assert options["rp"] == {"name": "rebalancer", "id": "localhost"}
    assert options["user"] == {
        "id": encode(ADA.bytes),
        "name": "ada@example.org",
        "displayName": "Ada",
    }
    assert decode(options["challenge"]).decode() == CHALLENGE
    assert [one["alg"] for one in options["pubKeyCredParams"]] == [-7, -8, -257]
    assert options["attestation"] == "none"
    assert options["authenticatorSelection"] == {
        "residentKey": "required",
        "requireResidentKey": True,
        "userVerification": "required",
    }
    assert options["excludeCredentials"] == [
        {"id": encode(other.credential), "type": "public-key", "transports": ["internal"]}
    ]


def test_options_of_a_login_name_no_passkey(ceremonies):
    assert ceremonies.request_options(CHALLENGE) == {
        "challenge": encode(CHALLENGE.encode()),
        "timeout": 300_000,
        "rpId": "localhost",
        "allowCredentials": [],
        "userVerification": "required",
    }


def test_new_passkey_is_verified(ceremonies):
    created = Authenticator(backed_up=True).create(creation(ceremonies))
    shown = ceremonies.read(created)
    assert (shown.challenge, shown.user_handle) == (CHALLENGE, None)
    new = ceremonies.register(created, CHALLENGE)
    assert (new.id, new.sign_count, new.backed_up) == (shown.id, 0, True)
    assert new.transports == ("hybrid", "internal")


@pytest.mark.parametrize(
    "fault",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:8001"},
        {"origin": "http://localhost:8000.evil.example"},
        {"rp": "evil.example"},
        {"challenge": encode(b"another challenge")},
        {"verified": False},
        {"kind": "webauthn.get"},
        {"algorithm": -36},
    ],
    ids="-".join,
)
def test_faulty_new_passkey_is_rejected(ceremonies, authenticator, fault):
    created = authenticator.create(creation(ceremonies), **fault)
    with pytest.raises(InvalidRequest) as refused:
        ceremonies.register(created, CHALLENGE)
    assert (refused.value.code, refused.value.field) == ("passkey_rejected", "credential")


def test_signature_is_verified(ceremonies, authenticator):
    passkey = registered(ceremonies, authenticator)
    signed = authenticator.get(ceremonies.request_options(CHALLENGE))
    shown = ceremonies.read(signed)
    assert (shown.id, shown.challenge, shown.user_handle) == (passkey.credential, CHALLENGE, ADA)
    assert ceremonies.authenticate(signed, CHALLENGE, passkey).sign_count == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"origin": "https://evil.example"},
        {"rp": "evil.example"},
        {"challenge": encode(b"another challenge")},
        {"verified": False},
        {"kind": "webauthn.create"},
        {"key": ec.generate_private_key(ec.SECP256R1())},
        {"count": 4},
        {"count": 5},
    ],
    ids="-".join,
)
def test_faulty_signature_is_rejected(ceremonies, authenticator, fault):
    passkey = attrs.evolve(registered(ceremonies, authenticator), sign_count=5)
    signed = authenticator.get(ceremonies.request_options(CHALLENGE), **({"count": 6} | fault))
    with pytest.raises(NotAuthenticated) as refused:
        ceremonies.authenticate(signed, CHALLENGE, passkey)
    assert refused.value.code == "passkey_rejected"


def test_passkey_without_a_counter_is_accepted_every_time(ceremonies):
    authenticator = Authenticator(counts=False, backed_up=True)
    passkey = registered(ceremonies, authenticator)
    for _ in range(2):
        signed = authenticator.get(ceremonies.request_options(CHALLENGE))
        assert ceremonies.authenticate(signed, CHALLENGE, passkey).sign_count == 0


def test_frame_of_another_site_is_rejected(ceremonies, authenticator):
    created = authenticator.create(creation(ceremonies), cross_origin=True)
    with pytest.raises(InvalidRequest, match="frame of another site"):
        ceremonies.read(created)


def test_android_app_is_an_origin(authenticator):
    app = "android:apk-key-hash:" + "A" * 43
    ceremonies = WebAuthnCeremonies(RelyingParty.of(["https://example.org", app]))
    created = authenticator.create(creation(ceremonies), origin=app)
    assert ceremonies.register(created, CHALLENGE).id


def broken(credential: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a credential with each part missing, or of a wrong type or content."""
    found = []
    junk = [None, 1, "", "?", "%%%", [], {}, "é", *map(encode, (b"{", b"\xff" * 9, b"[" * 9))]
    for value in junk:
        for name in credential:
            found.append(credential | {name: value})
        for name in credential["response"]:
            found.append(credential | {"response": credential["response"] | {name: value}})
    for name in credential:
        found.append({key: value for key, value in credential.items() if key != name})
    return found


def test_malformed_credential_is_an_error_of_the_client(ceremonies, authenticator):
    created = authenticator.create(creation(ceremonies))
    passkey = registered(ceremonies, authenticator)
    signed = authenticator.get(ceremonies.request_options(CHALLENGE))
    for credential in [{}, {"id": 1}, *broken(created), *broken(signed)]:
        for ceremony in (
            lambda given: ceremonies.read(given),
            lambda given: ceremonies.register(given, CHALLENGE),
            lambda given: ceremonies.authenticate(given, CHALLENGE, passkey),
        ):
            try:
                ceremony(credential)
            except (InvalidRequest, NotAuthenticated) as error:
                assert len(str(error)) < 400


def test_service_without_an_origin_lacks_passkeys(authenticator):
    ceremonies = WebAuthnCeremonies(None)
    for ask in (lambda: creation(ceremonies), lambda: ceremonies.request_options(CHALLENGE)):
        with pytest.raises(NotFound, match="not set up"):
            ask()


@pytest.mark.parametrize(
    ("origins", "id"),
    [
        (["https://example.org"], "example.org"),
        (["https://example.org", "https://app.example.org:8443"], "example.org"),
        (["https://xn--bcher-kva.example"], "xn--bcher-kva.example"),
        (["http://localhost:5173", "http://localhost:8000"], "localhost"),
    ],
)
def test_domain_of_passkeys_is_the_host_of_the_first_origin(origins, id):
    assert RelyingParty.of(origins) == RelyingParty(id, tuple(origins))


@pytest.mark.parametrize(
    ("origins", "message"),
    [
        ([], "first origin"),
        (["android:apk-key-hash:" + "A" * 43], "first origin"),
        (["https://example.org/"], "without a path"),
        (["https://example.org/app"], "without a path"),
        (["example.org"], "not an origin"),
        (["https://Example.org"], "lower case"),
        (["https://127.0.0.1"], "not an origin"),
        (["https://[::1]"], "not an origin"),
        (["http://example.org"], "insecure"),
        (["https://app.example.org", "https://example.org"], "shortest domain first"),
        (["https://example.org", "https://notexample.org"], "outside example.org"),
    ],
)
def test_origin_that_browsers_would_refuse_is_an_error(origins, message):
    with pytest.raises(InvalidRequest, match=message):
        RelyingParty.of(origins)
