"""A new proof of identity in a session, which sensitive changes need."""

from __future__ import annotations

from datetime import datetime

import attrs

from rebalancer.application.accounts import load_account, password_matches
from rebalancer.application.audit import record, record_refusal
from rebalancer.application.factors import CheckProof, Proof, WrongFactor, second_factors
from rebalancer.application.guessing import CountAttempt, forgive_failures
from rebalancer.application.ports.accounts import Passwords, Tokens
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.accounts.sessions import Bearer, Session, reauthentication_required
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import InvalidRequest


@attrs.frozen
class Reauthenticate:
    """Prove an identity again, by the password or by a passkey.

    A passkey suffices. A password needs a second factor where the account has one. Wrong passwords
    count like those of logins.
    """

    work: UnitOfWork
    passwords: Passwords
    tokens: Tokens
    count_attempt: CountAttempt
    check: CheckProof

    def __call__(
        self, bearer: Bearer, *, password: str | None, proof: Proof | None, now: datetime
    ) -> Session:
        """Return the session, whose proof of identity is recent.

        Raises:
            InvalidRequest: a proof is missing or wrong; the field names it.
            TooManyAttempts: the client must wait, or use a passkey.
            ReauthenticationRequired: the credential belongs to no session, and needs a login.
        """
        if password is None and (proof is None or proof.credential is None):
            raise InvalidRequest(
                "send the password, or the answer of a passkey",
                field="password",
                code="proof_missing",
            )
        answer = None if proof is None else self.check.answer(proof, now)
        with self.work.read() as tx:
            user = load_account(tx, bearer.owner)
            factors = second_factors(tx, user.id)
        if password is not None:
            self.count_attempt(user.id, user.email, now=now)
            if not password_matches(self.passwords, password, user):
                wrong_password = InvalidRequest(
                    "the password is wrong; enter it again", field="password", code="wrong_password"
                )
                raise self._record(wrong_password, bearer, now)
            if factors and proof is None:
                raise InvalidRequest(
                    "the account has a second factor; send its code, a recovery code or the answer "
                    "of a passkey, too",
                    field="code",
                    code="second_factor_required",
                )
        with self.work.begin() as tx:
            load_account(tx, user.id)  # locked before its sessions, as elsewhere
            session = tx.sessions.find(bearer.session)
            if session is None or not session.is_active(now):
                raise reauthentication_required()
            try:
                if proof is not None:
                    self.check.in_transaction(tx, proof, answer, user.id, now)
            except WrongFactor as error:
                wrong = InvalidRequest(error.message, field="code", code="wrong_code")
            else:
                forgive_failures(tx, self.tokens, user.id, now)
                session = attrs.evolve(session, authenticated=now)
                tx.sessions.save(session)
                record(tx, Action.REAUTHENTICATED, at=now, actor=user.id)
                return session
        raise self._record(wrong, bearer, now)

    def _record(self, refusal: InvalidRequest, bearer: Bearer, now: datetime) -> InvalidRequest:
        """Return a refusal that the audit trail has."""
        action = Action.REAUTHENTICATION_REFUSED
        record_refusal(self.work, action, at=now, subject=bearer.owner, reason=refusal.code)
        return refusal
