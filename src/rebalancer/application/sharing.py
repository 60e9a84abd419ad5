"""Sharing of portfolios: invite, accept, leave and withdraw."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.account_notices import notify
from rebalancer.application.accounts import find_by_email, load_account
from rebalancer.application.audit import record
from rebalancer.application.idempotency import ClientRequest
from rebalancer.application.not_found import NOT_FOUND
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.sessions import require_recent
from rebalancer.domain.accounts.mail import MailKind
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.accounts.shares import Right, Share
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import Conflict, InvalidRequest, NotFound
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.portfolio.owner import User, normalize_email

MOST_SHARES = 20
"""Limit of the shares of a portfolio, invitations included."""


@attrs.frozen
class SharePortfolio:
    """Invite another account to a portfolio."""

    work: UnitOfWork

    def __call__(
        self,
        portfolio_id: UUID,
        *,
        email: str,
        right: Right,
        bearer: Bearer,
        request: ClientRequest | None = None,
        id: UUID,
        now: datetime,
    ) -> tuple[Share, bool]:
        """Return the share of an address, and whether the same request has made it before.

        The answer does not depend on whether the address belongs to an account. An address that
        is invited already keeps its share, with the new right.

        Raises:
            InvalidRequest: the address is invalid, or the owner's own.
            NotFound: the portfolio does not exist or belongs to another user.
            NotAllowed: the portfolio is shared with the caller, or the last proof of identity is
                too old.
            Conflict: the portfolio has too many shares, or the key belongs to another request.
        """
        address, owner = normalize_email(email), bearer.owner
        with self.work.begin() as tx:
            require_recent(tx, bearer, now)
            user = load_account(tx, owner)
            portfolio = tx.portfolios.get(portfolio_id, owner=owner)
            if request is not None:
                earlier = request.earlier_result(tx, owner)
                if earlier is not None:
                    return tx.shares.get(earlier, portfolio=portfolio_id), True
            share = self._invite(tx, user, portfolio, address, right, id=id, now=now)
            if request is not None:
                request.store_result(tx, owner, share.id, now)
        return share, False

    def _invite(
        self,
        tx: Transaction,
        owner: User,
        portfolio: ManagedPortfolio,
        address: str,
        right: Right,
        *,
        id: UUID,
        now: datetime,
    ) -> Share:
        recipient = find_by_email(tx, address)
        if address == normalize_email(owner.email):
            raise InvalidRequest(
                "this is your own address; enter that of another person",
                field="email",
                code="own_address",
            )
        shares = tx.shares.of_portfolio(portfolio.id)
        share = next((one for one in shares if one.email == address), None)
        if share is not None:
            share = attrs.evolve(share, right=right)
            tx.shares.save(share)
        elif len(shares) >= MOST_SHARES:
            raise Conflict(
                f"this portfolio is shared with {MOST_SHARES} addresses, the maximum; withdraw "
                "a share first",
                code="too_many_shares",
            )
        else:
            to = None if recipient is None else recipient.id
            share = Share(id, portfolio.id, owner.id, address, right, to, created=now)
            tx.shares.add(share)
        _record(tx, Action.PORTFOLIO_SHARED, share, actor=owner.id, now=now)
        # Not to the recipient as well: the time that it takes would reveal who has an account.
        notify(tx, owner, MailKind.PORTFOLIO_SHARED, now=now)
        return share


@attrs.frozen
class ListShares:
    """List the shares of a portfolio."""

    work: UnitOfWork

    def __call__(self, portfolio_id: UUID, *, owner: UUID) -> list[Share]:
        """Return the shares, oldest first.

        Raises:
            NotFound: the portfolio does not exist or belongs to another user.
            NotAllowed: the portfolio is shared with the caller.
        """
        with self.work.read() as tx:
            tx.portfolios.get(portfolio_id, owner=owner)
            return tx.shares.of_portfolio(portfolio_id)


@attrs.frozen
class WithdrawShare:
    """End the access of another account to a portfolio."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, portfolio_id: UUID, owner: UUID, now: datetime) -> None:
        """Delete the share.

        Raises:
            NotFound: the portfolio or the share does not exist, or belongs to another user.
            NotAllowed: the portfolio is shared with the caller.
        """
        with self.work.begin() as tx:
            tx.portfolios.get(portfolio_id, owner=owner)
            share = tx.shares.get(id, portfolio=portfolio_id)
            tx.shares.delete(id)
            _record(tx, Action.PORTFOLIO_UNSHARED, share, actor=owner, now=now)


@attrs.frozen
class ReceivedShare:
    """A share as its recipient sees it, with the name of the portfolio and the owner."""

    share: Share
    portfolio_name: str
    owner: User


@attrs.frozen
class ReceivedShares:
    """List, accept and leave what others share."""

    work: UnitOfWork

    def all(self, recipient: UUID, *, after: UUID | None = None, limit: int) -> list[ReceivedShare]:
        """Return a page of invitations and accepted shares, oldest first."""
        with self.work.read() as tx:
            found = tx.shares.received(recipient, after=after, limit=limit)
            return [self._describe(tx, share) for share in found]

    def accept(self, id: UUID, *, recipient: UUID, now: datetime) -> ReceivedShare:
        """Return the share, which is accepted afterwards; accepting twice changes nothing.

        Raises:
            NotFound: the share does not exist, or belongs to another user.
        """
        with self.work.begin() as tx:
            share = self._lock(tx, id, recipient)
            if share.accepted is None:
                share = attrs.evolve(share, accepted=now)
                tx.shares.save(share)
                _record(tx, Action.SHARE_ACCEPTED, share, actor=recipient, now=now)
        with self.work.read() as tx:
            return self._describe(tx, share)

    def leave(self, id: UUID, *, recipient: UUID, now: datetime) -> None:
        """Decline an invitation, or give up an accepted share.

        Raises:
            NotFound: the share does not exist, or belongs to another user.
        """
        with self.work.begin() as tx:
            share = self._lock(tx, id, recipient)
            tx.shares.delete(id)
            _record(tx, Action.SHARE_LEFT, share, actor=recipient, now=now)

    def _lock(self, tx: Transaction, id: UUID, recipient: UUID) -> Share:
        """Return a share of an open portfolio, locked after the portfolio, as its owner locks it.

        Raises:
            NotFound: the share does not exist, or belongs to another user.
        """
        with self.work.read() as before:
            known = before.shares.get(id, recipient=recipient)
            if before.users.get(known.owner).disabled is not None:
                raise NOT_FOUND["share"](id)
        try:
            tx.portfolios.get(known.portfolio)
        except NotFound:
            raise NOT_FOUND["share"](id) from None
        return tx.shares.get(id, recipient=recipient)

    def _describe(self, tx: Transaction, share: Share) -> ReceivedShare:
        portfolio = tx.portfolios.get(share.portfolio)
        return ReceivedShare(share, portfolio.mandate.name, tx.users.get(share.owner))


def _record(tx: Transaction, action: Action, share: Share, *, actor: UUID, now: datetime) -> None:
    """Record a change of a share for its owner and, once accepted, for its recipient.

    An invitation is recorded for its owner alone, the same for all addresses.
    """
    subjects = {share.owner, actor}
    if share.accepted is not None and share.recipient is not None:
        subjects.add(share.recipient)
    for subject in sorted(subjects):
        record(
            tx,
            action,
            at=now,
            actor=actor,
            subject=subject,
            target=f"portfolio:{share.portfolio}",
            details={"share": str(share.id), "right": share.right.value},
        )
