"""One-time passwords against the vectors of RFC 6238, and recovery codes."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from rebalancer.adapters.security.codes import OtpCodes
from rebalancer.domain.accounts.factors import normalize_recovery_code, normalize_totp_code

RFC = base64.b32encode(b"12345678901234567890").decode()
CODES = OtpCodes()


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_of_rfc_6238_appendix_b(seconds, code):
    now = datetime.fromtimestamp(seconds, UTC)
    assert CODES.totp_step(RFC, code, now) == seconds // 30


def test_code_of_a_neighbouring_step_is_accepted_and_older_ones_are_not():
    now = datetime.fromtimestamp(1_111_111_109, UTC)
    for steps, accepted in ((-2, False), (-1, True), (0, True), (1, True), (2, False)):
        found = CODES.totp_step(RFC, "081804", now + timedelta(seconds=30 * steps))
        assert found == (1_111_111_109 // 30 if accepted else None), steps


@pytest.mark.parametrize(
    "code", ["", "28708", "2870820", "abcdef", "٢٨٧٠٨٢", "-1", "é" * 6, "\ud800"]
)
def test_text_that_is_not_a_code_is_wrong(code):
    assert CODES.totp_step(RFC, code, datetime.fromtimestamp(59, UTC)) is None


def test_groups_and_other_digits_are_read_as_typed():
    assert normalize_totp_code(" 287 082 ") == "287082"
    assert normalize_totp_code("287\u00a0082") == "287082"
    assert normalize_totp_code("\uff12\uff18\uff17082") == "287082"


def test_secret_has_160_bits_and_the_uri_names_service_and_account():
    secret = CODES.create_totp_secret()
    assert len(base64.b32decode(secret)) == 20
    assert secret != CODES.create_totp_secret()
    uri = urlsplit(CODES.totp_uri(secret, "ada@example.org"))
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert uri.path == "/rebalancer:ada%40example.org"
    assert parse_qs(uri.query) == {"secret": [secret], "issuer": ["rebalancer"]}


def test_recovery_code_has_120_bits_and_is_read_as_a_person_types_it():
    code = CODES.create_recovery_code()
    bare = code.replace("-", "")
    assert [len(group) for group in code.split("-")] == [6, 6, 6, 6]
    assert set(bare) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
    assert normalize_recovery_code(code) == bare
    assert normalize_recovery_code(f" {code.lower()} ") == bare
    assert normalize_recovery_code("oil0-1") == "01101"
