"""Keep model portfolios, follow them, and publish versions that move their followers.

Models belong to an owner, and only the owner's own portfolios follow them. Each use case raises
NotFound if a model or portfolio does not exist or has another owner.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import attrs

from rebalancer.application.audit import record
from rebalancer.application.corporate_actions import BookActions, BookedPortfolio
from rebalancer.application.idempotency import add_key, find_earlier_result, fingerprint
from rebalancer.application.portfolios import check_targets_of
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.quotas import DEFAULT_QUOTAS, QuotaReached, Quotas
from rebalancer.application.rebalance import (
    BuildContext,
    at_close,
    own_context,
    policy_input,
    read_ledgers,
    with_lots,
)
from rebalancer.application.valuation import ValuedPortfolio, value_committed
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import Conflict, InvalidRequest, RebalancerError
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.symbols import unknown_symbols
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.mandate import (
    ANY_VERSION,
    AcceptedVersions,
    ManagedPortfolio,
    PortfolioChanged,
)
from rebalancer.domain.portfolio.models import (
    MOST_MODELS,
    ModelChanged,
    ModelContent,
    ModelVersion,
    PortfolioModel,
    follow,
)
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.model import Failure, Proposal, RebalanceContext
from rebalancer.domain.rebalancing.proposal import propose_book

_ATTEMPTS = 3
_NO_CASH_FLOW = Decimal(0)
_BYTES_PER_SYMBOL = 60
_MOST_NAMED = 5

Accepted = frozenset[int] | None
"""Versions of a model that a change may replace; None: any."""


@attrs.frozen
class ModelStatus:
    """A model, its versions, and its followers.

    Attributes:
        versions: Latest first.
        followers: Portfolios that follow it, by id.
    """

    model: PortfolioModel
    versions: tuple[ModelVersion, ...]
    followers: tuple[ManagedPortfolio, ...]


@attrs.frozen
class FollowerPreview:
    """What a draft would change for one follower.

    Attributes:
        portfolio: As it is.
        problems: What keeps the draft from being published to it, such as a limit.
        proposal: What it would trade; None if that cannot be computed.
    """

    portfolio: ManagedPortfolio
    problems: tuple[RebalancerError, ...] = ()
    proposal: Proposal | None = None


@attrs.frozen
class CreateModel:
    """Create a model with its first version."""

    work: UnitOfWork
    prices: PriceSource
    quotas: Quotas = DEFAULT_QUOTAS

    def __call__(
        self,
        name: str,
        content: ModelContent,
        *,
        note: str = "",
        key: str | None = None,
        id: UUID,
        owner: UUID,
        now: datetime,
    ) -> tuple[ModelStatus, bool]:
        """Return the model, and whether the request was repeated.

        Raises:
            InvalidRequest: the name is invalid, or a symbol is unknown.
            QuotaReached: the owner has too many models.
            Conflict: the idempotency key belongs to another request.
        """
        request = fingerprint("model", name, note, repr(content))
        check_known_symbols(content, self.prices.closes())
        model = PortfolioModel(id, owner, name, version=1, latest=1, created=now, changed=now)
        first = ModelVersion(id, owner, 1, content, now, note)
        with self.work.begin() as tx:
            done = find_earlier_result(tx, owner, key, request)
            if done is not None:
                return _status(tx, tx.models.get(done, owner=owner)), True
            if tx.models.count(owner) >= MOST_MODELS:
                raise QuotaReached(
                    f"you have the maximum of {MOST_MODELS} models; delete one that has no "
                    "followers"
                )
            tx.models.add(model, [first])
            self.quotas.take_bytes(tx, owner, _size(content), now)
            record(tx, Action.MODEL_CREATED, at=now, subject=owner, target=f"model:{id}")
            add_key(tx, owner=owner, key=key, request=request, result=id, now=now)
        return ModelStatus(model, (first,), ()), False


@attrs.frozen
class ReadModels:
    """Read models of an owner."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, owner: UUID) -> ModelStatus:
        """Return a model with its latest versions and its followers."""
        with self.work.read() as tx:
            return _status(tx, tx.models.get(id, owner=owner))

    def all(self, owner: UUID, *, after: UUID | None = None, limit: int) -> list[PortfolioModel]:
        """Return a page of models, oldest first."""
        with self.work.read() as tx:
            return tx.models.page(owner, after=after, limit=limit)

    def versions(
        self, id: UUID, *, owner: UUID, before: int | None = None, limit: int
    ) -> list[ModelVersion]:
        """Return a page of the versions of a model, latest first."""
        with self.work.read() as tx:
            tx.models.get(id, owner=owner)
            return tx.models.versions(id, before=before, limit=limit)

    def content(self, id: UUID, number: int, *, owner: UUID) -> ModelContent:
        """Return what a version states.

        Raises:
            InvalidRequest: the model has no such version.
        """
        with self.work.read() as tx:
            return _require_version(tx, tx.models.get(id, owner=owner), number).content


@attrs.frozen
class RenameModel:
    """Give a model another name."""

    work: UnitOfWork

    def __call__(
        self, id: UUID, name: str, *, owner: UUID, accepted: Accepted = None, now: datetime
    ) -> ModelStatus:
        """Return the model.

        Raises:
            ModelChanged: its version is not accepted.
        """
        with self.work.begin() as tx:
            stored = tx.models.get(id, owner=owner)
            _check_model(stored, accepted)
            renamed = stored.rename(name, now)
            tx.models.save(renamed)
            record(tx, Action.MODEL_RENAMED, at=now, subject=owner, target=f"model:{id}")
            return _status(tx, renamed)


@attrs.frozen
class DeleteModel:
    """Delete a model that no portfolio follows."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, owner: UUID, accepted: Accepted = None, now: datetime) -> None:
        """Delete the model with its versions.

        Raises:
            Conflict: portfolios follow it.
            ModelChanged: its version is not accepted.
        """
        with self.work.begin() as tx:
            stored = tx.models.get(id, owner=owner)
            _check_model(stored, accepted)
            followers = tx.portfolios.followers(id)
            if followers:
                raise Conflict(
                    f"{len(followers)} portfolios follow the model, such as "
                    f"{followers[0].mandate.name}; let them stop following it first",
                    code="model_has_followers",
                )
            tx.models.delete(id)
            record(tx, Action.MODEL_DELETED, at=now, subject=owner, target=f"model:{id}")


@attrs.frozen
class PreviewModel:
    """Show what a draft of a version would trade; nothing is stored."""

    work: UnitOfWork
    prices: PriceSource
    instruments: InstrumentSource
    build_context: BuildContext
    book: BookActions

    def __call__(
        self,
        id: UUID,
        content: ModelContent,
        *,
        policy_name: str,
        costs: CostModel,
        acknowledged: Collection[UUID] = (),
        owner: UUID,
        now: datetime,
        as_of: date | None = None,
    ) -> tuple[PortfolioModel, list[FollowerPreview]]:
        """Return the model, and what each follower that is not pinned would trade, by id.

        The proposals are those that the followers get after the draft is published. Followers with
        the same base currency are solved together.

        Raises:
            InvalidRequest: a symbol, the policy or the day is unknown.
        """
        latest = self.prices.closes()
        check_known_symbols(content, latest)
        with self.work.read() as tx:
            model = tx.models.get(id, owner=owner)
            followers = [one for one in tx.portfolios.followers(id) if _moves(one)]
            decided = tx.flow_decisions.of_portfolios([one.id for one in followers if one.plan])
        draft = ModelVersion(id, owner, model.latest + 1, content, now)
        found: dict[UUID, FollowerPreview] = {}
        books: list[tuple[RebalanceContext, list[tuple[BookedPortfolio, Portfolio]]]] = []
        current = self.book.many(followers, latest)
        ledgers = read_ledgers(self.work, [one.portfolio for one in current])
        for booked in current:
            portfolio = booked.portfolio
            moved, problem = self._move(portfolio, draft, portfolio.id in acknowledged, now)
            problems = () if problem is None else (problem,)
            found[portfolio.id] = FollowerPreview(portfolio, problems)
            if problem is not None and problem.code != "targets_exceed_limits":
                continue
            try:
                context = self.build_context(
                    policy_name=policy_name,
                    costs=costs,
                    currency=portfolio.mandate.currency.code,
                    as_of=as_of,
                )
                moved = at_close(moved, context, self.work)
                own = own_context(moved, context, self.work)
                snapshot = policy_input(
                    moved,
                    context,
                    _NO_CASH_FLOW,
                    decided=decided.get(moved.id, ()),
                    today=as_of or now.date(),
                )
                booked.check_units(context.market.last_date)
                snapshot = with_lots(snapshot, moved, own, latest, ledgers, now)
            except (InvalidRequest, Conflict) as error:
                found[portfolio.id] = FollowerPreview(portfolio, (*problems, error))
                continue
            row = (booked, snapshot)
            place = next((at for at, (of, _) in enumerate(books) if of is own), len(books))
            if place == len(books):
                books.append((own, []))
            books[place][1].append(row)
        for own, rows in books:
            results = propose_book([snapshot for _, snapshot in rows], own)
            for (booked, _), made in zip(rows, results, strict=True):
                known = found[booked.portfolio.id]
                if isinstance(made, Failure):
                    known = attrs.evolve(known, problems=(*known.problems, made.error))
                else:
                    made = attrs.evolve(made, notes=(*made.notes, *booked.notes))
                    known = attrs.evolve(known, proposal=made)
                found[booked.portfolio.id] = known
        return model, [found[one] for one in sorted(found)]

    def _move(
        self, portfolio: ManagedPortfolio, draft: ModelVersion, acknowledged: bool, now: datetime
    ) -> tuple[ManagedPortfolio, RebalancerError | None]:
        """Return a follower with a draft's targets, and what keeps it from having them."""
        moved = adopt(portfolio, draft, now, pinned=False, acknowledged=acknowledged)
        try:
            check_targets_of(moved.mandate, portfolio, self.prices.closes(), self.instruments)
        except (InvalidRequest, Conflict) as error:
            return moved, error
        return moved, None


@attrs.frozen
class PublishModel:
    """Publish a version of a model, and move its followers, all in one transaction."""

    work: UnitOfWork
    prices: PriceSource
    instruments: InstrumentSource
    quotas: Quotas = DEFAULT_QUOTAS

    def __call__(
        self,
        id: UUID,
        content: ModelContent,
        *,
        note: str = "",
        acknowledged: Collection[UUID] = (),
        accepted: Accepted = None,
        key: str | None = None,
        owner: UUID,
        now: datetime,
    ) -> tuple[ModelStatus, tuple[UUID, ...], bool]:
        """Return the model, the followers that moved, and whether the request was repeated.

        Followers that are not pinned get the targets of the version, and the version of each
        portfolio rises. A content that equals an earlier one is a version of its own.

        Args:
            id: The model.
            content: What the version states.
            note: Why.
            acknowledged: Followers whose targets may exceed the limits of their profiles.
            accepted: Versions of the model that may be changed.
            key: Idempotency key.
            owner: Owner of the model.
            now: Current time.

        Raises:
            InvalidRequest: a symbol is unknown, or the targets exceed limits of followers that are
                not acknowledged; then nothing is published.
            ModelChanged: the version of the model is not accepted.
            PortfolioChanged: other requests change a follower again and again.
            Conflict: the idempotency key belongs to another request.
        """
        request = fingerprint("publish model", id, note, repr(content), *sorted(acknowledged))
        market = self.prices.closes()
        check_known_symbols(content, market)
        for _ in range(_ATTEMPTS):
            with self.work.read() as tx:
                model = tx.models.get(id, owner=owner)
                followers = [one for one in tx.portfolios.followers(id) if _moves(one)]
            published, version = model.publish(content, note, now)
            moved = [
                adopt(one, version, now, pinned=False, acknowledged=one.id in acknowledged)
                for one in followers
            ]
            problem = self._find_problem(followers, moved, market)
            with self.work.begin() as tx:
                stored = tx.models.get(id, owner=owner)
                done = find_earlier_result(tx, owner, key, request)
                if done is not None:
                    return _status(tx, stored), (), True
                _check_model(stored, accepted)
                if problem is not None:
                    raise problem
                if stored.version != model.version or not self._is_current(tx, id, followers):
                    continue
                tx.models.save(published, version)
                for portfolio in moved:
                    tx.portfolios.save(portfolio)
                    _record_move(tx, Action.PORTFOLIO_CHANGED, portfolio, version, now)
                self.quotas.take_bytes(tx, owner, _size(content), now)
                details = {"version": str(version.number), "followers": str(len(moved))}
                target = f"model:{id}"
                record(
                    tx,
                    Action.MODEL_PUBLISHED,
                    at=now,
                    subject=owner,
                    target=target,
                    details=details,
                )
                add_key(tx, owner=owner, key=key, request=request, result=id, now=now)
                return _status(tx, published), tuple(one.id for one in moved), False
        raise PortfolioChanged("a follower has just been changed; read the model again")

    def _is_current(self, tx: Transaction, id: UUID, followers: Sequence[ManagedPortfolio]) -> bool:
        """Return whether the followers are as they were read; they are locked from then on."""
        known = {one.id: one.version for one in followers}
        for one in sorted(known):
            if tx.portfolios.get(one).version != known[one]:
                return False
        return {one.id for one in tx.portfolios.followers(id) if _moves(one)} == known.keys()

    def _find_problem(
        self,
        followers: Sequence[ManagedPortfolio],
        moved: Sequence[ManagedPortfolio],
        market: PriceHistory,
    ) -> InvalidRequest | None:
        """Return what keeps the version from being published; None if nothing does."""
        exceeding: list[ManagedPortfolio] = []
        for before, after in zip(followers, moved, strict=True):
            try:
                check_targets_of(after.mandate, before, market, self.instruments)
            except InvalidRequest as error:
                if error.code != "targets_exceed_limits":
                    return InvalidRequest(
                        f"{before.mandate.name}: {error.message}",
                        field=error.field,
                        code=error.code,
                    )
                exceeding.append(before)
        if not exceeding:
            return None
        named = ", ".join(f"{one.mandate.name} ({one.id})" for one in exceeding[:_MOST_NAMED])
        more = len(exceeding) - _MOST_NAMED
        return InvalidRequest(
            f"the targets exceed the limits of the risk profiles of {named}"
            f"{f' and {more} more' if more > 0 else ''}; acknowledge that for each of them, let "
            "them stop following, or lower the targets",
            field="acknowledge",
            code="targets_exceed_limits",
        )


@attrs.frozen
class FollowModel:
    """Let a portfolio follow a model, or stop it."""

    work: UnitOfWork
    prices: PriceSource
    instruments: InstrumentSource

    def __call__(
        self,
        portfolio_id: UUID,
        model_id: UUID,
        *,
        number: int | None = None,
        acknowledged: bool = False,
        owner: UUID,
        accepted: AcceptedVersions = ANY_VERSION,
        now: datetime,
    ) -> ValuedPortfolio:
        """Return the portfolio with the targets of the model.

        Args:
            portfolio_id: The portfolio; a model that it followed before gives way.
            model_id: The model.
            number: Version to stay with; None: the latest one, and each later one.
            acknowledged: Whether the targets may exceed the limits of its risk profile.
            owner: Owner of both.
            accepted: Versions of the portfolio that may be changed.
            now: Current time.

        Raises:
            InvalidRequest: the model has no such version, its symbols cannot be priced in the
                portfolio's currency, or the targets exceed limits that are not acknowledged.
            PortfolioChanged: the version of the portfolio is not accepted.
        """
        market = self.prices.closes()
        with self.work.read() as tx:
            stored = tx.portfolios.get(portfolio_id, owner=owner)
            model = tx.models.get(model_id, owner=owner)
            version = _require_version(tx, model, model.latest if number is None else number)
        accepted.check(stored)
        moved = adopt(stored, version, now, pinned=number is not None, acknowledged=acknowledged)
        check_targets_of(moved.mandate, stored, market, self.instruments)
        with self.work.begin() as tx:
            current = tx.models.get(model_id, owner=owner)
            if number is None and current.latest != model.latest:
                raise ModelChanged("the model has just been changed; read it again")
            tx.portfolios.get(portfolio_id, owner=owner).check_version(stored.version)
            tx.portfolios.save(moved)
            _record_move(tx, Action.MODEL_FOLLOWED, moved, version, now)
        return value_committed(moved, lambda: market, self.work)

    def stop(
        self,
        portfolio_id: UUID,
        *,
        owner: UUID,
        accepted: AcceptedVersions = ANY_VERSION,
        now: datetime,
    ) -> ValuedPortfolio:
        """Return the portfolio, which states its own targets from now on; they stay as they are.

        A portfolio that follows no model stays as it is.

        Raises:
            PortfolioChanged: its version is not accepted.
        """
        market = self.prices.closes()
        with self.work.begin() as tx:
            stored = tx.portfolios.get(portfolio_id, owner=owner)
            accepted.check(stored)
            if stored.following is not None:
                mandate = stored.following.release(stored.mandate)
                details = {"model": str(stored.following.model)}
                stored = stored.adopt(mandate, None, now)
                tx.portfolios.save(stored)
                record(
                    tx,
                    Action.MODEL_UNFOLLOWED,
                    at=now,
                    subject=owner,
                    target=f"portfolio:{portfolio_id}",
                    details=details,
                )
        return value_committed(stored, lambda: market, self.work)


def adopt(
    portfolio: ManagedPortfolio,
    version: ModelVersion,
    now: datetime,
    *,
    pinned: bool,
    acknowledged: bool,
) -> ManagedPortfolio:
    """Return a portfolio with the targets of a version."""
    before = portfolio.following
    mandate = version.content.apply_to(portfolio.mandate, before, acknowledged=acknowledged)
    following = follow(version, portfolio.mandate, before, pinned=pinned)
    return portfolio.adopt(mandate, following, now)


def check_known_symbols(content: ModelContent, market: PriceHistory) -> None:
    """Check that the market knows each symbol.

    Raises:
        InvalidRequest: it does not; the message names similar symbols.
    """
    unknown = [symbol for symbol in sorted(content.targets) if symbol not in market.columns]
    if unknown:
        raise unknown_symbols(unknown, market.symbols, field="targets")


def _moves(portfolio: ManagedPortfolio) -> bool:
    following = portfolio.following
    return following is not None and not following.pinned


def _status(tx: Transaction, model: PortfolioModel) -> ModelStatus:
    versions = tx.models.versions(model.id, limit=100)
    return ModelStatus(model, tuple(versions), tuple(tx.portfolios.followers(model.id)))


def _require_version(tx: Transaction, model: PortfolioModel, number: int) -> ModelVersion:
    found = tx.models.version(model.id, number)
    if found is None:
        raise InvalidRequest(
            f"the model has no version {number}; choose 1 to {model.latest}",
            field="version",
            code="model_version_not_found",
        )
    return found


def _check_model(model: PortfolioModel, accepted: Accepted) -> None:
    if accepted is not None and model.version not in accepted:
        expected = " or ".join(map(str, sorted(accepted))) or "the given one"
        raise ModelChanged(
            f"model {model.id} is at version {model.version}, not {expected}; read it again"
        )


def _size(content: ModelContent) -> int:
    return _BYTES_PER_SYMBOL * (2 + len(content.targets))


def _record_move(
    tx: Transaction,
    action: Action,
    portfolio: ManagedPortfolio,
    version: ModelVersion,
    now: datetime,
) -> None:
    record(
        tx,
        action,
        at=now,
        subject=portfolio.owner,
        target=f"portfolio:{portfolio.id}",
        details={"model": str(version.model), "model_version": str(version.number)},
    )
