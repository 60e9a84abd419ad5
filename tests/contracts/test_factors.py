"""Contract of `Passkeys`, `TotpSecrets` and `RecoveryCodes`, see application/ports."""

from __future__ import annotations

from uuid import uuid4

import attrs
import pytest

from rebalancer.domain.accounts.factors import PasskeyTaken
from rebalancer.domain.errors import NotFound
from tests.contracts.stores import HOUR, NOW, a_passkey, a_totp, race, stored_user

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


@pytest.fixture
def work(make):
    return make()


@pytest.fixture
def ada(work):
    return stored_user(work)


@pytest.fixture
def bob(work):
    return stored_user(work)


def stored(work, *passkeys):
    with work.begin() as tx:
        for passkey in passkeys:
            tx.passkeys.add(passkey)
    return passkeys[0]


def test_passkey_is_found_by_id_by_credential_and_by_owner(work, ada, bob):
    later = a_passkey(ada.id, created=NOW + HOUR, transports=(), used=NOW, backed_up=False)
    first = a_passkey(ada.id, sign_count=2**32 - 1)
    stored(work, later, first, a_passkey(bob.id))
    with work.read() as tx:
        assert tx.passkeys.get(first.id, owner=ada.id) == first
        assert tx.passkeys.by_credential(later.credential) == later
        assert tx.passkeys.by_credential(b"unknown") is None
        assert tx.passkeys.of_owner(ada.id) == [first, later]
        assert tx.passkeys.of_owner(uuid4()) == []


def test_passkey_of_another_user_is_not_found(work, ada, bob):
    passkey = stored(work, a_passkey(ada.id))
    for id, owner in ((passkey.id, bob.id), (uuid4(), ada.id)):
        with pytest.raises(NotFound, match=f"passkey {id}"), work.read() as tx:
            tx.passkeys.get(id, owner=owner)


def test_credential_is_registered_once_among_all_users(work, ada, bob):
    passkey = stored(work, a_passkey(ada.id))
    with pytest.raises(PasskeyTaken):
        stored(work, a_passkey(bob.id, credential=passkey.credential))
    with work.read() as tx:
        assert tx.passkeys.of_owner(bob.id) == []


def test_passkey_is_replaced_and_deleted(work, ada):
    passkey, other = a_passkey(ada.id), a_passkey(ada.id)
    stored(work, passkey, other)
    changed = attrs.evolve(passkey, name="Laptop", sign_count=7, used=NOW + HOUR)
    with work.begin() as tx:
        tx.passkeys.save(changed)
        tx.passkeys.delete(other.id)
        tx.passkeys.delete(other.id)
    with work.read() as tx:
        assert tx.passkeys.of_owner(ada.id) == [changed]
    with pytest.raises(NotFound), work.begin() as tx:
        tx.passkeys.save(other)


def test_all_passkeys_of_a_user_are_deleted(work, ada, bob):
    stored(work, a_passkey(ada.id), a_passkey(ada.id), a_passkey(bob.id))
    with work.begin() as tx:
        tx.passkeys.delete_all(ada.id)
    with work.read() as tx:
        assert tx.passkeys.of_owner(ada.id) == []
        assert len(tx.passkeys.of_owner(bob.id)) == 1


def test_writers_of_one_passkey_run_one_after_the_other(work, ada):
    passkey = stored(work, a_passkey(ada.id))

    def sign(_):
        with work.begin() as tx:
            found = tx.passkeys.by_credential(passkey.credential)
            tx.passkeys.save(attrs.evolve(found, sign_count=found.sign_count + 1))

    assert race(sign) == [None] * 8
    with work.read() as tx:
        assert tx.passkeys.get(passkey.id, owner=ada.id).sign_count == 8


def test_two_passkeys_are_not_both_removed_as_the_second_last(work, ada):
    keys = [a_passkey(ada.id), a_passkey(ada.id)]
    stored(work, *keys)

    def remove(number):
        with work.begin() as tx:
            if len(tx.passkeys.of_owner(ada.id)) > 1:
                tx.passkeys.delete(keys[number].id)

    race(remove, 2)
    with work.read() as tx:
        assert len(tx.passkeys.of_owner(ada.id)) == 1


def test_secret_of_an_authenticator_app_is_added_replaced_and_deleted(work, ada, bob):
    first, other = a_totp(ada.id, confirmed=None, last_step=0), a_totp(bob.id)
    with work.begin() as tx:
        assert tx.totp.get(ada.id) is None
        tx.totp.save(first)
        tx.totp.save(other)
    changed = attrs.evolve(first, confirmed=NOW, last_step=2**40)
    with work.begin() as tx:
        assert tx.totp.get(ada.id) == first
        tx.totp.save(changed)
    with work.begin() as tx:
        assert tx.totp.get(ada.id) == changed
        tx.totp.delete(ada.id)
        tx.totp.delete(ada.id)
    with work.read() as tx:
        assert tx.totp.get(ada.id) is None
        assert tx.totp.get(bob.id) == other


def test_one_of_several_requests_uses_a_time_step(work, ada):
    with work.begin() as tx:
        tx.totp.save(a_totp(ada.id, last_step=1))

    def use(_):
        with work.begin() as tx:
            totp = tx.totp.get(ada.id)
            if totp.last_step >= 2:
                return False
            tx.totp.save(attrs.evolve(totp, last_step=2))
            return True

    assert sorted(race(use)) == [False] * 7 + [True]


def test_recovery_code_is_used_once(work, ada, bob):
    with work.begin() as tx:
        tx.recovery_codes.replace(ada.id, [A, B], NOW)
        tx.recovery_codes.replace(bob.id, [A], NOW)
        assert tx.recovery_codes.use(ada.id, A, NOW)
        assert not tx.recovery_codes.use(ada.id, A, NOW)
        assert not tx.recovery_codes.use(ada.id, C, NOW)
    with work.read() as tx:
        assert (tx.recovery_codes.unused(ada.id), tx.recovery_codes.unused(bob.id)) == (1, 1)


def test_recovery_codes_are_replaced_together(work, ada):
    with work.begin() as tx:
        tx.recovery_codes.replace(ada.id, [A, B], NOW)
    with work.begin() as tx:
        tx.recovery_codes.replace(ada.id, [C], NOW)
        assert not tx.recovery_codes.use(ada.id, A, NOW)
    with work.begin() as tx:
        assert tx.recovery_codes.unused(ada.id) == 1
        tx.recovery_codes.replace(ada.id, [], NOW)
    with work.read() as tx:
        assert tx.recovery_codes.unused(ada.id) == 0


def test_one_of_several_requests_uses_a_recovery_code(work, ada):
    with work.begin() as tx:
        tx.recovery_codes.replace(ada.id, [A], NOW)

    def use(_):
        with work.begin() as tx:
            return tx.recovery_codes.use(ada.id, A, NOW)

    assert sorted(race(use)) == [False] * 7 + [True]
