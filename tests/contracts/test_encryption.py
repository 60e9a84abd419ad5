"""Every store of data keys, and ciphers that use them."""

import io
from uuid import uuid4

import pytest

from rebalancer.adapters.security.envelope import Envelope, KeyCache
from rebalancer.adapters.security.key_encryption import LocalKeys
from rebalancer.adapters.security.sealed_files import CHUNK
from rebalancer.application.encryption import (
    DataErased,
    KeyUnavailable,
    NoEncryption,
    SealBroken,
    erase_key,
    is_sealed,
)
from rebalancer.application.ports.encryption import WrappedKey
from rebalancer.domain.errors import InvalidRequest

OLD, NEW = {"old": b"o" * 32}, {"new": b"n" * 32}
FIELD = "users.name"


@pytest.fixture
def work(make):
    return make()


def seal(work, envelope, owner, text, field=FIELD):
    with work.begin() as tx:
        return envelope.cipher(tx.data_keys, writes=True).seal(owner, field, text)


def opened(work, envelope, owner, sealed, field=FIELD):
    with work.read() as tx:
        return envelope.cipher(tx.data_keys, writes=False).open(owner, field, sealed)


# Data keys.


def test_first_stored_key_wins(work):
    owner, first, second = uuid4(), WrappedKey("a", b"1"), WrappedKey("a", b"2")
    with work.begin() as tx:
        assert tx.data_keys.get(owner) is None
        assert tx.data_keys.add(owner, first) == first
        assert tx.data_keys.add(owner, second) == first
    with work.read() as tx:
        assert tx.data_keys.get(owner) == first


def test_keys_are_counted_and_found_by_their_wrapping(work):
    owners = [uuid4() for _ in range(3)]
    with work.begin() as tx:
        for owner, key in zip(owners, "aab", strict=True):
            tx.data_keys.add(owner, WrappedKey(key, owner.bytes))
    with work.begin() as tx:
        assert tx.data_keys.counts() == {"a": 2, "b": 1}
        found = tx.data_keys.wrapped_by("a", limit=5)
        assert found == {owner: WrappedKey("a", owner.bytes) for owner in owners[:2]}
        assert len(tx.data_keys.wrapped_by("a", limit=1)) == 1
        tx.data_keys.replace(owners[0], WrappedKey("b", b"x"))
        tx.data_keys.erase(owners[1])
        tx.data_keys.replace(owners[1], WrappedKey("b", b"x"))
    with work.read() as tx:
        assert tx.data_keys.get(owners[0]) == WrappedKey("b", b"x")
        assert tx.data_keys.get(owners[1]) is None
        assert tx.data_keys.counts() == {"b": 2}


# Texts.


def test_sealed_text_opens_with_its_owner_and_field_alone(work):
    envelope, ada, bob = Envelope(LocalKeys(OLD)), uuid4(), uuid4()
    sealed, other = seal(work, envelope, ada, "Ada ä 😀"), seal(work, envelope, bob, "Bob")
    assert is_sealed(sealed) and "Ada" not in sealed
    assert seal(work, envelope, ada, "Ada ä 😀") != sealed
    assert opened(work, envelope, ada, sealed) == "Ada ä 😀"
    assert opened(work, Envelope(LocalKeys(OLD)), bob, other) == "Bob"  # without a cache
    for owner, field in ((bob, FIELD), (ada, "users.email")):
        with pytest.raises(SealBroken):
            opened(work, envelope, owner, sealed, field)
    with pytest.raises(SealBroken):
        opened(work, envelope, ada, sealed[:-6] + "AAAAAA")


def test_text_that_was_never_sealed_and_empty_text_pass_through(work):
    envelope, ada = Envelope(LocalKeys(OLD)), uuid4()
    assert seal(work, envelope, ada, "") == ""
    assert opened(work, envelope, ada, "plain") == "plain"
    with work.read() as tx:
        assert tx.data_keys.get(ada) is None


def test_key_of_a_transaction_that_was_rolled_back_is_not_used_again(work):
    envelope, ada = Envelope(LocalKeys(OLD)), uuid4()
    with pytest.raises(ZeroDivisionError), work.begin() as tx:
        envelope.cipher(tx.data_keys, writes=True).seal(ada, FIELD, "lost")
        raise ZeroDivisionError
    sealed = seal(work, envelope, ada, "stored")
    assert opened(work, Envelope(LocalKeys(OLD)), ada, sealed) == "stored"


def test_erased_key_makes_texts_unreadable_once_processes_forget_it(work):
    time = [0.0]
    cache = KeyCache(lifetime=300, clock=lambda: time[0])
    envelope, ada = Envelope(LocalKeys(OLD), cache=cache), uuid4()
    sealed = seal(work, envelope, ada, "Ada")
    assert opened(work, envelope, ada, sealed) == "Ada"
    with work.begin() as tx:
        erase_key(tx, ada)
    time[0] = 301
    for one in (envelope, Envelope(LocalKeys(OLD))):
        with pytest.raises(DataErased):
            opened(work, one, ada, sealed)


def test_fewer_keys_are_remembered_than_used(work):
    cache = KeyCache(size=2)
    envelope, owners = Envelope(LocalKeys(OLD), cache=cache), [uuid4() for _ in range(5)]
    sealed = [seal(work, envelope, owner, owner.hex) for owner in owners]
    for owner, text in zip(owners, sealed, strict=True):
        assert opened(work, envelope, owner, text) == owner.hex
    assert len(cache) == 2


def test_index_is_the_same_for_all_users_and_differs_by_purpose(work):
    envelope = Envelope(LocalKeys(OLD))
    with work.read() as tx:
        assert envelope.cipher(tx.data_keys, writes=False).index("email", "ada") is None
    with work.begin() as tx:
        cipher = envelope.cipher(tx.data_keys, writes=True)
        first = cipher.index("email", "ada")
        assert len({first, cipher.index("email", "bob"), cipher.index("name", "ada")}) == 3
    with work.read() as tx:
        other = Envelope(LocalKeys(OLD)).cipher(tx.data_keys, writes=False)
        assert other.index("email", "ada") == first


def test_rewrapped_key_opens_the_same_texts_without_the_old_key(work):
    both, ada = Envelope(LocalKeys(NEW | OLD)), uuid4()
    sealed = seal(work, Envelope(LocalKeys(OLD)), ada, "Ada")
    with work.begin() as tx:
        tx.data_keys.replace(ada, both.rewrap(ada, tx.data_keys.get(ada)))
        assert tx.data_keys.counts() == {"new": 1}
    assert opened(work, Envelope(LocalKeys(NEW)), ada, sealed) == "Ada"


def test_missing_and_wrong_keys_are_named(work):
    seal(work, Envelope(LocalKeys(OLD)), uuid4(), "Ada")
    with work.read() as tx:
        Envelope(LocalKeys(NEW | OLD)).check(tx.data_keys)
        with pytest.raises(KeyUnavailable, match="'old', which is not configured"):
            Envelope(LocalKeys(NEW)).check(tx.data_keys)
        with pytest.raises(KeyUnavailable, match="'old' is not the one"):
            Envelope(LocalKeys({"old": b"x" * 32})).check(tx.data_keys)
        with pytest.raises(KeyUnavailable, match="no encryption keys are configured"):
            NoEncryption().check(tx.data_keys)


def test_switched_off_encryption_still_opens_texts(work):
    on, off, ada = Envelope(LocalKeys(OLD)), Envelope(LocalKeys(OLD), seals=False), uuid4()
    sealed = seal(work, on, ada, "Ada")
    assert opened(work, off, ada, sealed) == "Ada"
    assert seal(work, off, ada, "Ada") == "Ada"
    with pytest.raises(KeyUnavailable):
        opened(work, NoEncryption(), ada, sealed)


# Files.


def encrypted(content, keys=OLD):
    file = io.BytesIO()
    with Envelope(LocalKeys(keys)).encrypt_file(file) as written:
        for at in range(0, len(content), 50_000):
            written.write(content[at : at + 50_000])
    return file.getvalue()


def decrypted(content, keys=OLD):
    return Envelope(LocalKeys(keys)).decrypt_file(io.BytesIO(content)).read()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_file_decrypts_and_can_be_read_again(size):
    content = bytes(size // 2) + b"x" * (size - size // 2)
    file = Envelope(LocalKeys(OLD)).decrypt_file(io.BytesIO(encrypted(content)))
    assert file.read() == content
    file.seek(0)
    assert file.read() == content


def test_plain_file_is_read_as_it_is():
    assert decrypted(b"plain") == b"plain"


def test_file_that_was_changed_cut_off_or_reordered_is_refused():
    whole = encrypted(bytes(2 * CHUNK + 5))
    start, size = whole.index(b"\n") + 1, CHUNK + 16
    head, one, two, last = (
        whole[:start],
        whole[start : start + size],
        whole[start + size : start + 2 * size],
        whole[start + 2 * size :],
    )
    assert len(decrypted(head + one + two + last)) == 2 * CHUNK + 5
    broken = [
        head,
        head + one,
        head + one + two,
        head + one + two + last[:-1],
        head + two + one + last,
        head + one + last,
        head + one + one + two + last,
        whole + b"x",
        whole[:start] + bytes([whole[start] ^ 1]) + whole[start + 1 :],
    ]
    for content in broken:
        with pytest.raises(ValueError, match="changed or cut off"):
            decrypted(content)


def test_file_with_a_missing_or_wrong_key_is_refused_with_a_sentence():
    content = encrypted(b"secret")
    with pytest.raises(InvalidRequest, match="'old', which is not configured"):
        decrypted(content, NEW)
    with pytest.raises(InvalidRequest, match="'old' is not the one"):
        decrypted(content, {"old": b"x" * 32})
    with pytest.raises(InvalidRequest, match="damaged"):
        decrypted(content[:40] + b"\n")
